"""`gateway resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.common import DEFAULT_CONFIG, ConfigPath, Url, call_admin, fail, print_line, settings_or_exit


def resume(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    destination: Annotated[str | None, typer.Option(help="Only lanes of this destination.")] = None,
    event_set: Annotated[str | None, typer.Option(help="Only lanes of this event set (ID).")] = None,
) -> None:
    """Retry the blocked and rate-limited uploads of a running gateway now.

    A lane (destination, event set and upload tag) is blocked while its calls to Meta cannot succeed, for example
    because the token has expired; it is retried at growing intervals. This command sends one call for each blocked lane
    at once. If the call succeeds, uploads are resumed; otherwise the lane stays blocked.

    It also ends the waits for Meta's rate limits. If Meta still limits the rate, its next response starts a new wait.
    """
    settings = settings_or_exit(config) if url is None else None
    filters = {"destination": destination, "event_set": event_set}
    query = {name: value for name, value in filters.items() if value is not None}
    response = call_admin(settings, url, "POST", "/lanes/resume", query)
    if response is None:
        fail("cannot connect to the admin port; is the gateway running?")
    print_line(f"retrying {response['lanes']} blocked or rate-limited lanes")
