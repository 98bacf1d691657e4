"""`gateway serve`."""

from __future__ import annotations

from gateway.cli.common import DEFAULT_CONFIG, ConfigPath, settings_or_exit


def serve(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Run the gateway until a signal stops it.

    The first SIGTERM or Ctrl-C stops in order: what was accepted is uploaded first. A second one ends at once, and what
    waits stays in the spool.
    """
    settings = settings_or_exit(config)
    from gateway.service import serve as run

    raise SystemExit(run(settings))
