"""`gateway tap`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Url,
    fail,
    print_json,
    print_line,
    read_admin,
    reading_answer,
    settings_or_exit,
)

if TYPE_CHECKING:
    from gateway.config import Settings
    from gateway.model import JsonObject

INTERVAL = 1.0
"""Seconds between two polls. Events are captured for a few seconds after each."""

Source = Annotated[str | None, typer.Option(help="Only events of this source.")]
Event = Annotated[
    str | None,
    typer.Option(help="Only events with this in their name: Meta's name of an accepted event, else its own."),
]
Outcome = Annotated[
    str | None,
    typer.Option(
        help="Only events with this outcome: accepted, rejected, ignored, deduplicated or consent_denied. Of rejected "
        "ones also a code, such as unmapped_event."
    ),
]


def tap(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    source: Source = None,
    event: Event = None,
    outcome: Outcome = None,
    as_json: AsJson = False,
) -> None:
    """Show events as they pass, one line each, until Ctrl-C.

    A line has the time, source, outcome, event, destination/dataset, IDs, and the match keys that are present with the
    first digits of their hashes; no personal value. A worker shows up to 50 events a second; how many were skipped is
    said on standard error. Nothing is captured while nobody looks.
    """
    settings = settings_or_exit(config) if url is None else None
    follow(settings, url, _matcher(source, event, outcome), as_json=as_json)


def _matcher(source: str | None, event: str | None, outcome: str | None) -> Callable[[JsonObject], bool]:
    """Decides whether an entry is shown. Exits with status 2 for an outcome that does not exist."""
    from gateway.mapping import REJECTIONS
    from gateway.tap import TapOutcome

    if outcome is not None and outcome not in set(TapOutcome) and outcome not in REJECTIONS:
        fail(f"--outcome: invalid value {outcome!r}; expected {', '.join(TapOutcome)}, or the code of a rejection", 2)
    part = (event or "").lower()

    def matches(entry: JsonObject) -> bool:
        return (
            source in {None, entry["source"]}
            and part in entry["event"].lower()
            and outcome in {None, entry["outcome"], entry["code"]}
        )

    return matches


def follow(
    settings: Settings | None,
    url: str | None,
    matches: Callable[[JsonObject], bool],
    *,
    as_json: bool,
) -> None:
    """Print events until Ctrl-C, then how many there were. Exits when the gateway cannot be reached."""
    cursor, shown, skipped = "", 0, 0
    try:
        while True:
            page = read_admin(settings, url, "/tap", {"cursor": cursor} if cursor else {})
            with reading_answer():
                cursor = page["cursor"]
                entries = [entry for entry in page["entries"] if matches(entry)]
                for entry in entries:
                    if as_json:
                        print_json(entry)
                    else:
                        print_line(line_of(entry))
                if page["skipped"]:
                    print_line(f"skipped {page['skipped']:,} events: more than can be shown", error=True)
                shown, skipped = shown + len(entries), skipped + page["skipped"]
            time.sleep(INTERVAL)
    except KeyboardInterrupt:
        print_line(f"showed {shown:,} events; skipped {skipped:,}", error=True)


def line_of(entry: JsonObject) -> str:
    """One entry as a line: columns first, then what only some entries have."""
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(entry["at"], UTC)
    outcome = entry["code"] or entry["outcome"]
    count = f" x{entry['count']}" if entry["count"] > 1 else ""
    columns = f"{at:%H:%M:%S} {entry['source']:<12} {outcome:<16} {entry['event'] or '-'}{count}"
    targets = "/".join(",".join(names) for names in (entry["destinations"], entry["event_sets"]) if names)
    extras = [f"-> {targets}" if targets else "", *(_named(name, entry[name]) for name in ("order_id", "message_id"))]
    extras.append(" ".join(f"{key}={digits or 'yes'}" for key, digits in entry["keys"].items()))
    extras.append(f"+{entry['properties']} properties" if entry["properties"] else "")
    return "  ".join([columns, *(extra for extra in extras if extra)])


def _named(name: str, value: Any) -> str:
    return "" if value is None else f"{name}={value}"
