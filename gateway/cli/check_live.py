"""The part of `gateway check --live` that asks Meta."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from gateway.cli.common import destination_or_exit, fail, print_line
from gateway.config import DestinationSettings, Settings
from gateway.delivery.live_check import Finding, Level, check_destination


def ask_meta(
    settings: Settings, destination: str | None, event_set: str | None, test_event_code: str | None
) -> list[Finding]:
    """The findings about all destinations, or one; exits with status 2 if the options do not fit the settings."""
    chosen = dict([destination_or_exit(settings, destination)]) if destination else settings.destinations
    event_sets = {name: _event_sets(each) for name, each in chosen.items()}
    if event_set is not None:
        event_sets = {name: [event_set] for name, known in event_sets.items() if event_set in known}
        if not event_sets:
            fail(f"--event-set: no destination has the event set {event_set!r}", 2)
    if test_event_code is not None and sum(map(len, event_sets.values())) > 1:
        # The code belongs to one dataset. To any other, the event would be a real one.
        choices = ", ".join(dict.fromkeys(each for known in event_sets.values() for each in known))
        fail(f"--test-event-code: it belongs to one event set; add --event-set (and --destination): {choices}", 2)
    return asyncio.run(_check_all(settings.destinations, event_sets, test_event_code))


def _event_sets(destination: DestinationSettings) -> Sequence[str]:
    return list(dict.fromkeys(each for sets in destination.standard_to_event_sets.values() for each in sets))


async def _check_all(
    destinations: Mapping[str, DestinationSettings], event_sets: Mapping[str, Sequence[str]], code: str | None
) -> list[Finding]:
    return [
        finding
        for name, of_destination in event_sets.items()
        for finding in await check_destination(name, destinations[name], of_destination, code)
    ]


def print_findings(findings: Sequence[Finding]) -> None:
    """Print each finding, with what to do, and a sum."""
    for each in findings:
        print_line(f"{each.level.value:<8} {each.destination}, {each.subject}: {each.message}")
        if each.action:
            print_line(f"{'':<8} {each.action}")
    errors = sum(each.level is Level.ERROR for each in findings)
    warnings = sum(each.level is Level.WARNING for each in findings)
    result = "uploads cannot work" if errors else "Meta accepts the settings"
    print_line(f"{result} ({errors} errors, {warnings} warnings of {len(findings)} checks)")
