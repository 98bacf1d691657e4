"""`gateway serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigPath, settings_or_exit


def serve(
    config: ConfigPath = DEFAULT_CONFIG,
    watch: Annotated[bool, typer.Option("--watch", help="Read the settings again when their file changes.")] = False,
) -> None:
    """Run the gateway until a signal stops it.

    The first SIGTERM or Ctrl-C stops in order: what was accepted is uploaded first. A second one ends at once, and what
    waits stays in the spool. SIGHUP reads the settings again: sources, destinations and alerts change at once; a file
    that cannot be used is refused whole, and the old settings stay.
    """
    settings = settings_or_exit(config)
    from gateway.app import serve as run

    raise SystemExit(run(settings, config, watch=watch))
