"""`gateway check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import DEFAULT_CONFIG, AsJson, ConfigPath, print_json, print_line, settings_or_exit

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
"""Last day on which Meta serves a version of the Graph API (Meta: Graph API versions)."""
WARNING_DAYS = 60
"""Days before the end of a version from which on there is a warning."""


def check(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
    deny_warnings: Annotated[
        bool, typer.Option("--deny-warnings", help="Exit with status 1 if there are warnings.")
    ] = False,
) -> None:
    """Validate the settings and show where events are sent.

    Prints the event sets to which each event is uploaded, and warns about events that would never reach Meta. Does not
    start anything, and never prints a secret. Exit status 78 if the settings cannot be used.
    """
    settings = settings_or_exit(config)
    from datetime import UTC, datetime

    warnings = [*warnings_of(settings, datetime.now(UTC).date().isoformat()), *_orphan_warnings(settings)]
    routes = {name: list(_routes(destination)) for name, destination in settings.destinations.items()}
    if as_json:
        print_json({"ok": True, "routes": routes, "warnings": warnings}, indent=2)
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
        print_line(f"source {name} -> {', '.join(source.destinations)} (write key from {source.write_key.origin})")
    for name, destination in settings.destinations.items():
        upload = destination.upload
        print_line(f"destination {name}: {destination.api} at {upload.graph_url}/{upload.graph_version}")
        for route in routes[name]:
            event = "any other event" if route["event"] == "Other" and not route["configured"] else route["event"]
            event_sets = ", ".join(route["event_sets"]) or "no event set"
            print_line(f"  {event} -> {route['standard']} -> {event_sets}")
    for warning in warnings:
        print_line(f"warning: {warning}", error=True)
    count = f" ({len(warnings)} warning{'s' if len(warnings) > 1 else ''})" if warnings else ""
    print_line(f"the settings are valid{count}")


def warnings_of(settings: Settings, today: str) -> Iterator[str]:
    """Warnings about valid settings that are probably mistakes. `today` as YYYY-MM-DD."""
    if settings.spool.engine == "memory":
        yield "spool.engine is memory: waiting events are lost when the process ends"
    yield from _size_warnings(settings)
    used = {destination for source in settings.sources.values() for destination in source.destinations}
    for name, destination in settings.destinations.items():
        if name not in used:
            yield f"destinations.{name}: no source sends events to this destination"
        yield from (f"destinations.{name}.{text}" for text in _destination_warnings(destination, today))


def _size_warnings(settings: Settings) -> Iterator[str]:
    """Warnings about spool sizes that do not fit each other. Each worker has an equal share of every size."""
    import os

    from gateway.spool import dead_letter_limit

    spool, workers = settings.spool, settings.server.workers
    processes = len(os.sched_getaffinity(0)) if workers == "auto" else workers
    limit = dead_letter_limit(spool)
    if spool.dead_letter_bytes > limit:
        yield (
            f"spool.dead_letter_bytes is {spool.dead_letter_bytes}, but dead letters take at most {limit} bytes: "
            f"spool.dead_letter_share ({spool.dead_letter_share:g}) of spool.max_bytes ({spool.max_bytes}). Beyond it "
            "old ones are deleted. Lower dead_letter_bytes, or raise one of the others"
        )
    file_bytes, letter_bytes = spool.max_bytes // processes, limit // processes
    needed = settings.server.max_request_bytes
    if file_bytes - letter_bytes < needed:
        enough = needed * processes * spool.max_bytes // max(1, spool.max_bytes - limit) + processes
        each = f"each of the {processes} workers has a spool file of" if processes > 1 else "the spool file has"
        yield (
            f"spool.max_bytes: {each} {file_bytes} bytes, of which dead letters may take {letter_bytes}. The rest is "
            f"less than a request may have (server.max_request_bytes, {needed}), so that large requests may never be "
            f"stored. Raise spool.max_bytes to {enough}, or use fewer workers"
        )


def _orphan_warnings(settings: Settings) -> Iterator[str]:
    """Warnings about events in the spool whose destination is not in the settings.

    Empty while a gateway is running: it has the spool locked. It lists these events as `orphans` in `/status`.
    """
    from gateway.model import GatewayError
    from gateway.spool import spool_file, spool_file_numbers

    numbers = spool_file_numbers(settings.spool)
    if settings.spool.engine != "sqlite" or not numbers:
        return
    from gateway.spool.sqlite import backlogs

    try:
        waiting = [backlog for number in numbers for backlog in backlogs(spool_file(settings.spool, number))]
    except GatewayError:
        return
    for backlog in waiting:
        if backlog.lane.destination not in settings.destinations:
            yield (
                f"{backlog.events} events wait for {backlog.lane}, but its destination is not in the settings. They "
                "are kept: add the destination again, or use `gateway spool export` and `gateway spool discard`"
            )


def _destination_warnings(destination: DestinationSettings, today: str) -> Iterator[str]:
    from gateway.mapping.routes import BUILT_IN, similar_name
    from gateway.model import Dialect

    sets = destination.standard_to_event_sets
    for event, standards in destination.events_to_standard.items():
        for standard in standards:
            if standard not in sets:
                yield (
                    f"events_to_standard: {event!r} is mapped to {standard}, but standard_to_event_sets lists no event "
                    f"set for {standard}; it is not uploaded as {standard}"
                )
        if close := similar_name(event, list(BUILT_IN)):
            yield f"events_to_standard: {event!r} differs from the built-in {close!r} only in case or spaces"
    for standard, ids in sets.items():
        for event_set in ids:
            if not (event_set.isascii() and event_set.isdecimal()):
                yield f"standard_to_event_sets: {standard} has the invalid event set ID {event_set!r}; expected digits"
    upload = destination.upload
    public = PUBLIC_GRAPH in upload.graph_url
    if destination.api is Dialect.OFFLINE and public:
        yield "api is offline, which Meta shut down in May 2025; use conversions"
    if upload.graph_url.startswith("http://") and public:
        yield "upload.graph_url is http: the access token would be sent unencrypted; use https"
    if destination.test_event_code is not None:
        yield "test_event_code is set: events are shown under Test Events in Events Manager, and still count"
    if public and destination.api is Dialect.CONVERSIONS:
        yield from _version_warnings(upload.graph_version, today)


def _version_warnings(version: str, today: str) -> Iterator[str]:
    from datetime import date

    ends = VERSION_ENDS.get(int(version[1:].partition(".")[0]))
    if ends is None:
        return
    days_left = (date.fromisoformat(ends) - date.fromisoformat(today)).days
    if days_left < 0:
        yield f"upload.graph_version is {version}, which Meta stopped serving on {ends}; use a newer version"
    elif days_left <= WARNING_DAYS:
        yield f"upload.graph_version is {version}, which Meta serves only until {ends}; use a newer version"
