"""`gateway dead-letters`: the dead letters of a running gateway or, when none is running, of its spool."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Url,
    Yes,
    call_admin,
    confirm,
    fail,
    print_json,
    print_line,
    settings_or_exit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.config import Settings

app = typer.Typer(
    help="List, replay or discard undeliverable events.\n\n"
    "An event becomes a dead letter when the mapping rejects it, when Meta refuses it, or when it is too old to "
    "upload. The commands use the running gateway or, if none is running, its spool files.",
    no_args_is_help=True,
)

Number = Annotated[int, typer.Argument(help="Number of the dead letter, as shown by `list`.", min=1)]
Code = Annotated[str | None, typer.Option(help="Only dead letters with this code, such as unmapped_event.")]
Destination = Annotated[str | None, typer.Option(help="Only dead letters of this destination.")]
EventSet = Annotated[str | None, typer.Option(help="Only dead letters of this event set (ID).")]
Since = Annotated[
    str | None, typer.Option(help="Only dead letters from this time on (ISO 8601, UTC unless it has an offset).")
]
Until = Annotated[
    str | None, typer.Option(help="Only dead letters before this time (ISO 8601, UTC unless it has an offset).")
]
MessageId = Annotated[
    str | None,
    typer.Option(help="Only dead letters with this message ID; of uploaded events, with this event_id."),
]
OrderId = Annotated[str | None, typer.Option(help="Only dead letters with this order ID.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters; required if no filter is given.")]

PAGE_SIZE = 500
MAX_SHOWN_CODES = 20
MAX_PREVIEW = 10_000
"""Dead letters that are counted before a deletion."""


@app.command("list")
def list_dead_letters(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    code: Code = None,
    destination: Destination = None,
    event_set: EventSet = None,
    since: Since = None,
    until: Until = None,
    message_id: MessageId = None,
    order_id: OrderId = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters without their events.

    One line each: number, time, stage, code, destination, event set or source, order ID and message ID (`-` if there
    is none).
    """
    query = _query(code, destination, event_set, since, until, message_id, order_id)
    for letter in _read_matching(config, url, query):
        if as_json:
            print_json({key: value for key, value in letter.items() if key != "event"})
        else:
            names = f"{letter['destination']} {letter['event_set'] or letter['source'] or '-'}"
            ids = f"{letter['order_id'] or '-'} {letter['message_id'] or '-'}"
            print_line(
                f"{letter['number']:>8}  {_time(letter['at'])}  {letter['stage']:<8} {letter['code']:<28} {names} {ids}"
            )


@app.command("show")
def show(number: Number, config: ConfigPath = DEFAULT_CONFIG, url: Url = None) -> None:
    """Print one dead letter with its event as JSON."""
    letter = next(_read_all(config, url, {"after": str(number - 1)}, limit=1), None)
    if letter is None or letter["number"] != number:
        fail(f"there is no dead letter {number}; `gateway dead-letters list` shows the numbers")
    print_json(letter, indent=2)


@app.command("export")
def export(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    code: Code = None,
    destination: Destination = None,
    event_set: EventSet = None,
    since: Since = None,
    until: Until = None,
    message_id: MessageId = None,
    order_id: OrderId = None,
) -> None:
    """Print dead letters with their events, one JSON object per line."""
    query = _query(code, destination, event_set, since, until, message_id, order_id)
    for letter in _read_matching(config, url, query):
        print_json(letter)


@app.command("replay")
def replay(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    code: Code = None,
    destination: Destination = None,
    event_set: EventSet = None,
    since: Since = None,
    until: Until = None,
    message_id: MessageId = None,
    order_id: OrderId = None,
    all_: All = False,
) -> None:
    """Process the events of dead letters again.

    Rejected events are mapped with the current settings, others are queued for upload again. A dead letter whose event
    still cannot be mapped or uploaded is kept; the output counts these by reason, and the exit status is then 1. An
    interrupted replay neither loses nor duplicates an event.
    """
    query = _query(code, destination, event_set, since, until, message_id, order_id)
    _require_filter(query, all_)
    result = _call(config, url, "POST", "/replay", query)
    kept = sum(result["kept"].values())
    if not result["letters"] and not kept:
        _print_no_match(config, url, query)
    print_line(f"replayed {result['letters']} dead letters as {result['events']} events; {kept} not replayed")
    for reason, count in result["kept"].items():
        print_line(f"  {reason}: {count}")
    raise SystemExit(1 if kept else 0)


@app.command("discard")
def discard(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    code: Code = None,
    destination: Destination = None,
    event_set: EventSet = None,
    since: Since = None,
    until: Until = None,
    message_id: MessageId = None,
    order_id: OrderId = None,
    all_: All = False,
    yes: Yes = False,
) -> None:
    """Delete dead letters permanently.

    Shows how many there are of each code and asks first; without a terminal, --yes is required.
    """
    query = _query(code, destination, event_set, since, until, message_id, order_id)
    _require_filter(query, all_)
    _confirm_discard(config, url, query, yes=yes)
    discarded = _call(config, url, "POST", "/discard", query)["letters"]
    if not discarded:
        _print_no_match(config, url, query)
    print_line(f"discarded {discarded} dead letters")


def _confirm_discard(config: Path, url: str | None, query: dict[str, str], *, yes: bool) -> None:
    """Show what a deletion would delete, and ask for a confirmation. Nothing is asked if nothing matches.

    Limits `query` to what is shown: dead letters that are written later are not deleted.
    """
    if yes:
        return
    import time
    from collections import Counter
    from itertools import islice

    shown = {"until": f"{time.time():.3f}", **query}
    letters = islice(_read_all(config, url, shown), MAX_PREVIEW + 1)
    codes = Counter(str(letter["code"]) for letter in letters)
    if not codes:
        return
    for code, count in codes.most_common():
        print_line(f"{count:>8,} {code}", error=True)
    total = codes.total()
    number = f"more than {MAX_PREVIEW:,}" if total > MAX_PREVIEW else f"{total:,}"
    confirm(f"Delete {number} dead letters permanently?", yes=yes)
    query.update(shown)


def _query(
    code: str | None,
    destination: str | None,
    event_set: str | None,
    since: str | None,
    until: str | None,
    message_id: str | None,
    order_id: str | None,
) -> dict[str, str]:
    """The filters as the query string of the admin port."""
    filters = {"code": code, "destination": destination, "event_set": event_set, "since": since, "until": until}
    filters |= {"message_id": message_id, "order_id": order_id}
    query = {name: value for name, value in filters.items() if value is not None}
    for name in ("since", "until"):
        if name in query:
            query[name] = _unix_seconds(query[name], f"--{name}")
    return query


def _unix_seconds(text: str, option: str) -> str:
    """A time as the admin port expects it."""
    try:
        at = datetime.fromisoformat(text)
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        seconds = -1.0
    if seconds < 0:
        fail(f"{option}: invalid value {text!r}; expected a time from 1970 on, such as 2026-03-01T12:00:00", 2)
    return f"{seconds:.6f}"


def _time(at: Any) -> str:
    """Unix seconds as a time for the list; `-` for a damaged value."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (TypeError, ValueError, OverflowError, OSError):
        return f"{'-':<19}"


def _require_filter(query: dict[str, str], all_: bool) -> None:
    if not query and not all_:
        options = "--code, --destination, --event-set, --since, --until, --message-id or --order-id"
        fail(f"no filter given; use {options}, or --all for all of them", 2)


def _read_matching(config: Path, url: str | None, query: dict[str, str]) -> Iterator[dict[str, Any]]:
    """All matching dead letters; if there are none, a line on standard error says so."""
    letters = _read_all(config, url, query)
    first = next(letters, None)
    if first is None:
        _print_no_match(config, url, query)
        return
    yield first
    yield from letters


def _print_no_match(config: Path, url: str | None, query: dict[str, str]) -> None:
    """Print that nothing matches and, if no dead letter has the code of the filter, the codes that exist."""
    if not query:
        print_line("there are no dead letters", error=True)
        return
    print_line("no dead letters match", error=True)
    codes = _call(config, url, "GET", "/codes", {})["codes"] if "code" in query else {}
    if codes and query["code"] not in codes:
        existing = ", ".join(f"{code} ({count})" for code, count in list(codes.items())[:MAX_SHOWN_CODES])
        print_line(f"no dead letter has the code {query['code']!r}; existing codes: {existing}", error=True)


def _read_all(config: Path, url: str | None, query: dict[str, str], limit: int = PAGE_SIZE) -> Iterator[dict[str, Any]]:
    """All matching dead letters, read page by page; at most one if `limit` is 1."""
    query = {"after": "0", **query, "limit": str(limit)}
    while True:
        page = _call(config, url, "GET", "", query)
        yield from page["dead_letters"]
        if page["next"] is None or limit == 1:
            return
        query["after"] = str(page["next"])


def _call(config: Path, url: str | None, method: str, path: str, query: dict[str, str]) -> dict[str, Any]:
    """Call `/dead-letters` of the running gateway; if none is running, do the same on its spool."""
    settings = settings_or_exit(config) if url is None else None
    response = call_admin(settings, url, method, f"/dead-letters{path}", query)
    if response is not None:
        return response
    if settings is None:
        fail(f"cannot connect to {url}; is the gateway running?")
    return _from_spool(settings, path, query)


def _from_spool(settings: Settings, path: str, query: dict[str, str]) -> dict[str, Any]:
    from gateway.admin.dead_letters import BadQuery
    from gateway.model import GatewayError

    try:
        return asyncio.run(_run_on_spool(settings, path, query))
    except BadQuery as error:
        fail(str(error), 2)
    except GatewayError as error:
        fail(str(error))


async def _run_on_spool(settings: Settings, path: str, query: dict[str, str]) -> dict[str, Any]:
    """Do it on the spool files of all processes of a stopped gateway."""
    import time
    from contextlib import AsyncExitStack

    from gateway.admin.dead_letters import count_codes, list_page, parse_filter, run_action
    from gateway.app import worker_count
    from gateway.dead_letters import AggregatedDeadLetters, DeadLetterService, LaneAdmission
    from gateway.mapping import compile_mapper
    from gateway.spool import create_spool, spool_file_numbers

    mappers = {
        name: compile_mapper(name, destination, settings.server.max_event_bytes)
        for name, destination in settings.destinations.items()
    }
    services = {}
    max_lanes = max(1, settings.spool.max_lanes // worker_count(settings))
    async with AsyncExitStack() as stack:
        for number in spool_file_numbers(settings.spool) or [0]:
            spool = create_spool(settings.spool, time.time, number)
            backlogs = await spool.open()
            stack.push_async_callback(spool.close)
            lanes = [backlog.lane for backlog in backlogs if backlog.events]
            admission = LaneAdmission(settings.destinations, lanes, max_lanes)
            services[number] = DeadLetterService(
                spool, settings.destinations, mappers, stored=lambda _: None, clock=time.time, admit=admission.admit
            )
        dead_letters = AggregatedDeadLetters(services) if services.keys() != {0} else services[0]
        if path == "/codes":
            return await count_codes(dead_letters, query)
        if path:
            return await run_action(dead_letters, path.removeprefix("/"), parse_filter(query))
        return await list_page(dead_letters, query)
