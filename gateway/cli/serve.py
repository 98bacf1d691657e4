"""`gateway serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigPath, settings_or_exit


def serve(
    config: ConfigPath = DEFAULT_CONFIG,
    watch: Annotated[bool, typer.Option("--watch", help="Reload the settings when the file changes.")] = False,
) -> None:
    """Run the gateway in the foreground until it is stopped.

    The first SIGTERM or Ctrl-C stops it in order: it uploads the accepted events first. A second one stops it at once;
    events that are not uploaded yet stay in the spool. SIGHUP reloads the settings file: sources, destinations and
    alerts change at once. If the file has an error, the previous settings stay in force.
    """
    settings = settings_or_exit(config)
    from gateway.app import serve as run

    raise SystemExit(run(settings, config, watch=watch))
