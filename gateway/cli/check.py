"""`gateway check`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import DEFAULT_CONFIG, AsJson, ConfigPath, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import DestinationSettings, Settings

PUBLIC_GRAPH = "graph.facebook.com"
VERSION_ENDS = {
    16: "2025-05-14",
    17: "2025-09-12",
    18: "2026-01-26",
    19: "2026-05-21",
    20: "2026-09-24",
    21: "2027-01-21",
    22: "2027-05-20",
    23: "2027-10-08",
    24: "2028-02-18",
    25: "2028-07-29",
}
"""Until when a Graph version is served (Meta: Graph API versions)."""
SOON_DAYS = 60


def check(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
    deny_warnings: Annotated[bool, typer.Option(help="Exit status 1 when there are warnings.")] = False,
) -> None:
    """Validate the settings, show where every event goes, and warn of what would never arrive.

    Exit status 78 when the settings cannot be used. Never prints a secret.
    """
    settings = settings_or_exit(config)
    from datetime import UTC, datetime

    warnings = [*warnings_of(settings, datetime.now(UTC).date().isoformat()), *_orphans(settings)]
    routes = {name: list(_routes(one)) for name, one in settings.destinations.items()}
    if as_json:
        typer.echo(json.dumps({"ok": True, "routes": routes, "warnings": warnings}, indent=2))
    else:
        _print(settings, routes, warnings)
    raise SystemExit(1 if warnings and deny_warnings else 0)


def _routes(destination: DestinationSettings) -> Iterator[dict[str, Any]]:
    from gateway.mapping import routes_of

    for event, routes in routes_of(destination).items():
        for route in routes:
            if route.configured or route.event_sets:
                yield {
                    "event": event,
                    "standard": route.standard,
                    "event_sets": list(route.event_sets),
                    "configured": route.configured,
                }


def _print(settings: Settings, routes: dict[str, list[dict[str, Any]]], warnings: list[str]) -> None:
    for name, source in settings.sources.items():
        typer.echo(f"source {name} -> {', '.join(source.destinations)} (write key from {source.write_key.origin})")
    for name, destination in settings.destinations.items():
        upload = destination.upload
        typer.echo(f"destination {name}: {destination.api} at {upload.graph_url}/{upload.graph_version}")
        for route in routes[name]:
            event = "any other name" if route["event"] == "Other" and not route["configured"] else route["event"]
            where = ", ".join(route["event_sets"]) or "nowhere"
            typer.echo(f"  {event} -> {route['standard']} -> {where}")
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo("the settings can be used" + (f", with {len(warnings)} warnings" if warnings else ""))


def warnings_of(settings: Settings, today: str) -> Iterator[str]:
    """What is allowed and would hardly be meant. `today` as YYYY-MM-DD."""
    if settings.spool.engine == "memory":
        yield "spool.engine is memory: what waits is lost when the process ends"
    used = {one for source in settings.sources.values() for one in source.destinations}
    for name, destination in settings.destinations.items():
        if name not in used:
            yield f"destinations.{name} gets events of no source"
        yield from (f"destinations.{name}.{text}" for text in _of_destination(destination, today))


def _orphans(settings: Settings) -> Iterator[str]:
    """What waits in the spool for nobody. A gateway that runs has the spool to itself, and says it in /status."""
    from gateway.model import GatewayError
    from gateway.spool import spool_file, spool_file_numbers

    numbers = spool_file_numbers(settings.spool)
    if settings.spool.engine != "sqlite" or not numbers:
        return
    from gateway.spool.sqlite import backlogs

    try:
        waiting = [one for number in numbers for one in backlogs(spool_file(settings.spool, number))]
    except GatewayError:
        return
    for backlog in waiting:
        if backlog.lane.destination not in settings.destinations:
            yield (
                f"{backlog.events} events wait for {backlog.lane}, whose destination is not in the settings: they are "
                "kept (`gateway spool export` and `discard`)"
            )


def _of_destination(destination: DestinationSettings, today: str) -> Iterator[str]:
    from gateway.mapping.routes import BUILT_IN, similar_name
    from gateway.model import Dialect

    sets = destination.standard_to_event_sets
    for event, standards in destination.events_to_standard.items():
        for standard in standards:
            if standard not in sets:
                yield f"events_to_standard: {event} becomes {standard}, which has no event set: it never arrives there"
        if close := similar_name(event, list(BUILT_IN)):
            yield f"events_to_standard: {event!r} differs from the built-in {close!r} only in case or spaces"
    for standard, numbers in sets.items():
        for number in numbers:
            if not (number.isascii() and number.isdecimal()):
                yield f"standard_to_event_sets: {standard} has {number!r}, which is no event set ID: those are digits"
    upload = destination.upload
    public = PUBLIC_GRAPH in upload.graph_url
    if destination.api is Dialect.OFFLINE and public:
        yield "api is offline, which Meta ended in May 2025: nothing arrives at the public Graph API"
    if upload.graph_url.startswith("http://") and public:
        yield "upload.graph_url is http: the access token would travel unencrypted"
    if destination.test_event_code is not None:
        yield "test_event_code is on: its events show under Test Events and still count"
    if public and destination.api is Dialect.CONVERSIONS:
        yield from _of_version(upload.graph_version, today)


def _of_version(version: str, today: str) -> Iterator[str]:
    from datetime import date

    ends = VERSION_ENDS.get(int(version[1:].partition(".")[0]))
    if ends is None:
        return
    left = (date.fromisoformat(ends) - date.fromisoformat(today)).days
    if left < 0:
        yield f"upload.graph_version is {version}, which Meta stopped serving on {ends}"
    elif left <= SOON_DAYS:
        yield f"upload.graph_version is {version}, which Meta serves until {ends} only"
