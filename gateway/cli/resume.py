"""`gateway resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigPath, Url, ask, fail, settings_or_exit


def resume(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    destination: Annotated[str | None, typer.Option(help="Only lanes of this destination.")] = None,
    event_set: Annotated[str | None, typer.Option(help="Only lanes of this event set.")] = None,
) -> None:
    """Let blocked lanes try at once, instead of when their next probe is due.

    Asks the running gateway. A lane goes on if its call succeeds, and stays blocked if not.
    """
    settings = settings_or_exit(config) if url is None else None
    given = {"destination": destination, "event_set": event_set}
    query = {key: value for key, value in given.items() if value is not None}
    answer = ask(settings, url, "POST", "/lanes/resume", query)
    if answer is None:
        fail("no gateway answers; is it running?")
    typer.echo(f"{answer['lanes']} blocked lanes try now")
