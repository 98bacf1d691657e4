"""`gateway check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import DEFAULT_CONFIG, AsJson, ConfigPath, fail, print_json, print_line, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import DestinationSettings, Settings
    from gateway.delivery.live_check import Finding

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
MIN_SIMILAR_DIGITS = 10
"""Digits of an event set ID from which on one that differs in one digit is probably mistyped. Meta's IDs have 15."""
WARNING_DAYS = 60
"""Days before the end of a version from which on there is a warning."""


def check(
    config: ConfigPath = DEFAULT_CONFIG,
    as_json: AsJson = False,
    deny_warnings: Annotated[
        bool, typer.Option("--deny-warnings", help="Exit with status 1 if there are warnings.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Also ask Meta about the token, its permissions and each dataset.")
    ] = False,
    test_event_code: Annotated[
        str | None,
        typer.Option(
            help="With --live, send one test event with this code of Meta's Events Manager; needs --event-set."
        ),
    ] = None,
    destination: Annotated[str | None, typer.Option(help="With --live, check only this destination.")] = None,
    event_set: Annotated[str | None, typer.Option(help="With --live, check only this event set (ID).")] = None,
) -> None:
    """Validate the settings and show where events are sent.

    Prints the event sets to which each event is uploaded, the events that go nowhere, whether consent is looked at, and
    the rate of rejected events from which on there is an alert, and whether the native extension maps events.
    Does not start anything, and never prints a secret. Exit status 78 if the settings cannot be used, 1 if a standard
    event is misspelt or an event is mapped to one without an event set.

    With --live, Meta is asked whether uploads can succeed; each finding says what to do. Nothing is uploaded but the
    test event, if its code is given. Exit status 1 if Meta says that uploads cannot work.
    """
    if not live and (test_event_code or destination or event_set):
        fail("--test-event-code, --destination and --event-set need --live", 2)
    settings = settings_or_exit(config)
    from datetime import UTC, datetime

    warnings = [*warnings_of(settings, datetime.now(UTC).date().isoformat()), *_orphan_warnings(settings)]
    errors = [
        f"destinations.{name}.{text}"
        for name, each in settings.destinations.items()
        for text in _destination_errors(each)
    ]
    routes = {name: list(_routes(each)) for name, each in settings.destinations.items()}
    from gateway.mapping.native import describe

    python = _mapped_by_python(settings)
    findings: list[Finding] = []
    if live:
        from gateway.cli.check_live import ask_meta

        findings = ask_meta(settings, destination, event_set, test_event_code)
    if as_json:
        consent = {name: _consent(each) for name, each in settings.destinations.items()}
        report = {
            "ok": not errors,
            "mapping": describe(),
            "mapped_by_python": python,
            "routes": routes,
            "consent": consent,
            "errors": errors,
            "warnings": warnings,
        }
        if live:
            from dataclasses import asdict

            report["live"] = [asdict(finding) for finding in findings]
        print_json(report, indent=2)
    else:
        print_line(f"mapping: {describe()}")
        _print(settings, routes, python, errors, warnings)
        if live:
            from gateway.cli.check_live import print_findings

            print_findings(findings)
    levels = {finding.level.value for finding in findings}
    is_warned = warnings or "warning" in levels
    raise SystemExit(1 if errors or "error" in levels or (is_warned and deny_warnings) else 0)


def _mapped_by_python(settings: Settings) -> dict[str, str]:
    """Destinations whose settings the native extension does not support, with the reason; empty without it."""
    from gateway.mapping import compile_mapper
    from gateway.mapping.native import load

    if load() is None:
        return {}
    mappers = [compile_mapper(name, destination) for name, destination in settings.destinations.items()]
    return {mapper.name: mapper.path for mapper in mappers if mapper.native is None}


def _consent(destination: DestinationSettings) -> dict[str, Any] | None:
    """The consent that a destination needs; None if consent is not looked at."""
    return destination.consent.model_dump() if destination.consent is not None else None


def _routes(destination: DestinationSettings) -> Iterator[dict[str, Any]]:
    from gateway.mapping import routes_of

    for event, routes in routes_of(destination).items():
        for route in routes:
            yield {
                "event": event,
                "standard": route.standard,
                "event_sets": list(route.event_sets),
                "configured": route.configured,
            }


def _print(
    settings: Settings,
    routes: dict[str, list[dict[str, Any]]],
    python: dict[str, str],
    errors: list[str],
    warnings: list[str],
) -> None:
    for name, source in settings.sources.items():
        print_line(f"source {name} -> {', '.join(source.destinations)} (write key from {source.write_key.origin})")
    for name, destination in settings.destinations.items():
        upload = destination.upload
        print_line(f"destination {name}: {destination.api} at {upload.graph_url}/{upload.graph_version}")
        if name in python:
            print_line(f"  mapping: {python[name]}")
        if destination.consent is None:
            print_line("  consent: not looked at; every event is sent")
        else:
            needed = destination.consent
            of = f" of {needed.provider}" if needed.provider else ""
            rule = {"or": "one that is not denied is enough", "and": "none may be denied"}.get(
                needed.resolution or "", "the event says whether one is enough"
            )
            print_line(f"  consent: {', '.join(needed.categories)}{of}; {rule}")
        for route in routes[name]:
            event = "any other event" if route["event"] == "Other" and not route["configured"] else route["event"]
            event_sets = ", ".join(route["event_sets"]) or f"goes nowhere: {route['standard']} has no event set"
            print_line(f"  {event} -> {route['standard']} -> {event_sets}")
    print_line(f"alerts: {_alerts(settings)}")
    for error in errors:
        print_line(f"error: {error}", error=True)
    for warning in warnings:
        print_line(f"warning: {warning}", error=True)
    count = f" ({len(warnings)} warning{'s' if len(warnings) > 1 else ''})" if warnings else ""
    print_line(f"the settings have errors{count}" if errors else f"the settings are valid{count}")


def _alerts(settings: Settings) -> str:
    """When there is an alert about rejected events, and where alerts go."""
    alerts = settings.alerts
    where = f"webhook from {alerts.webhook.origin}" if alerts.webhook else "log only, since alerts.webhook is not set"
    if alerts.rejection_rate >= 1:
        return f"none about rejected events; {where}"
    rate = f"more than {alerts.rejection_rate:.4g} of {alerts.rejection_min_events} or more events of a source"
    return f"{rate} rejected in 5 minutes; {where}"


def warnings_of(settings: Settings, today: str) -> Iterator[str]:
    """Warnings about valid settings that are probably mistakes. `today` as YYYY-MM-DD."""
    if settings.spool.engine == "memory":
        yield "spool.engine is memory: waiting events are lost when the process ends"
    yield from _size_warnings(settings)
    yield from _similar_event_sets(settings)
    used = {destination for source in settings.sources.values() for destination in source.destinations}
    for name, destination in settings.destinations.items():
        if name not in used:
            yield f"destinations.{name}: no source sends events to this destination"
        yield from (f"destinations.{name}.{text}" for text in _destination_warnings(destination, today))


def _similar_event_sets(settings: Settings) -> Iterator[str]:
    """Warnings about event set IDs that differ from another one in one digit: datasets of one business do not."""
    from collections import Counter

    uses = Counter(
        event_set
        for destination in settings.destinations.values()
        for event_sets in destination.standard_to_event_sets.values()
        for event_set in event_sets
    )
    by_pattern: dict[str, str] = {}  # by an ID with one digit replaced by a question mark
    for event_set, _ in uses.most_common():
        patterns = [f"{event_set[:at]}?{event_set[at + 1 :]}" for at in range(len(event_set))]
        similar = {by_pattern[pattern] for pattern in patterns if pattern in by_pattern}
        if similar and len(event_set) >= MIN_SIMILAR_DIGITS:
            yield (
                f"standard_to_event_sets: the ID {event_set} differs in one digit from {', '.join(sorted(similar))}; "
                "check that it is not mistyped"
            )
        for pattern in patterns:
            by_pattern.setdefault(pattern, event_set)


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


def _destination_errors(destination: DestinationSettings) -> Iterator[str]:
    """Standard events that are misspelt, and names that are mapped to one without an event set."""
    from gateway.mapping.routes import STANDARD_EVENTS, misspelt_standard_event
    from gateway.model import Dialect

    sets = destination.standard_to_event_sets
    rows = destination.events_to_standard.items()
    mapped = [(event, standard) for event, standards in rows for standard in standards]
    named = [(f"events_to_standard: {event!r} is mapped to {name!r}, which", name) for event, name in mapped]
    named += [(f"standard_to_event_sets: {standard!r}", standard) for standard in sets]
    if not destination.crm:  # the stages of a CRM have names of their own
        for subject, standard in named:
            if close := misspelt_standard_event(standard):
                yield f"{subject} is no standard event of Meta; did you mean {close!r}?"
            elif destination.api is Dialect.OFFLINE and standard not in STANDARD_EVENTS:
                yield f"{subject} is no standard event of Meta; expected one of {', '.join(STANDARD_EVENTS)}"
    for event, standard in mapped:
        if standard not in sets:
            yield (
                f"events_to_standard: {event!r} is mapped to {standard}, but standard_to_event_sets lists no event set "
                f"for {standard}; it goes nowhere"
            )


def _destination_warnings(destination: DestinationSettings, today: str) -> Iterator[str]:
    from gateway.mapping.personal import is_identity_name
    from gateway.mapping.routes import BUILT_IN, similar_name
    from gateway.model import Dialect

    for event in destination.events_to_standard:
        if close := similar_name(event, list(BUILT_IN)):
            yield f"events_to_standard: {event!r} differs from the built-in {close!r} only in case or spaces"
    for name in destination.allow_properties:
        if is_identity_name(name):
            yield f"allow_properties: {name!r} is the name of an identity and is never sent in custom_data; remove it"
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
