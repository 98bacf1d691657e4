"""`gateway resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    NO_CONNECTION,
    ConfigPath,
    Url,
    call_admin,
    fail,
    print_line,
    read_admin,
    settings_or_exit,
)

DEFAULT_TIMEOUT = 40.0
"""Seconds; a call to Meta takes up to 30 by default (`upload.timeout`)."""


def resume(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    destination: Annotated[str | None, typer.Option(help="Only lanes of this destination.")] = None,
    event_set: Annotated[str | None, typer.Option(help="Only lanes of this event set (ID).")] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds to wait for the outcome of the calls; 0 does not wait.", min=0, max=3600)
    ] = DEFAULT_TIMEOUT,
) -> None:
    """Retry the blocked and rate-limited uploads of a running gateway now.

    A lane (destination, event set and upload tag) is blocked while its calls to Meta cannot succeed, for example
    because the token has expired; it is retried at growing intervals. This command sends one call for each blocked lane
    at once. If the call succeeds, uploads are resumed; otherwise the lane stays blocked.

    It also ends the waits for Meta's rate limits. If Meta still limits the rate, its next response starts a new wait.

    Prints the outcome for each dataset. Exit status 1 if uploads to one of them are still stopped, or if the outcome is
    not known before --timeout.
    """
    settings = settings_or_exit(config) if url is None else None
    filters = {"destination": destination, "event_set": event_set}
    query = {name: value for name, value in filters.items() if value is not None}
    before = read_admin(settings, url, "/status", {}) if timeout else None
    response = call_admin(settings, url, "POST", "/lanes/resume", query)
    if response is None:
        fail(NO_CONNECTION)
    print_line(f"retrying {response['lanes']} blocked or rate-limited lanes")
    if before is not None and response["lanes"]:
        from gateway.cli.resume_outcome import report_outcome

        raise SystemExit(report_outcome(settings, url, before, query, timeout))
