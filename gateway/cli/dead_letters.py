"""`gateway dead-letters`: what could not be delivered, of a running gateway or, when none runs, of its spool."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gateway.cli.common import DEFAULT_CONFIG, AsJson, ConfigPath, Url, ask, fail, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.config import Settings

T = TypeVar("T")

app = typer.Typer(
    help="Look at what could not be delivered, send it once more, or let it go. Asks the running gateway; when none "
    "runs, works on its spool.",
    no_args_is_help=True,
)

Code = Annotated[str | None, typer.Option(help="Only this code.")]
Destination = Annotated[str | None, typer.Option(help="Only this destination.")]
EventSet = Annotated[str | None, typer.Option(help="Only this event set.")]
Since = Annotated[str | None, typer.Option(help="Not before this time (ISO 8601, UTC).")]
Until = Annotated[str | None, typer.Option(help="Before this time (ISO 8601, UTC).")]
Every = Annotated[bool, typer.Option("--all", help="All of them: needed when nothing else says which.")]

PAGE_SIZE = 500


@app.command("list")
def list_letters(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    code: Code = None,
    destination: Destination = None,
    event_set: EventSet = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
) -> None:
    """One line for each: number, time, stage, code, destination, event set or source."""
    for letter in _letters(config, url, _query(code, destination, event_set, since, until)):
        if as_json:
            typer.echo(json.dumps({key: value for key, value in letter.items() if key != "event"}))
        else:
            at = datetime.fromtimestamp(letter["at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
            lane = letter["event_set"] or letter["source"] or ""
            typer.echo(
                f"{letter['number']:>8}  {at}  {letter['stage']:<8} {letter['code']:<28} {letter['destination']} {lane}"
            )


@app.command("show")
def show(number: int, config: ConfigPath = DEFAULT_CONFIG, url: Url = None) -> None:
    """Everything about one of them, its event included."""
    found = next(_letters(config, url, {"after": str(number - 1)}, limit=1), None)
    if found is None or found["number"] != number:
        fail(f"there is no dead letter {number}")
    typer.echo(json.dumps(found, indent=2))


@app.command("export")
def export(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    code: Code = None,
    destination: Destination = None,
    event_set: EventSet = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Those that match, one JSON object a line, their events included."""
    for letter in _letters(config, url, _query(code, destination, event_set, since, until)):
        typer.echo(json.dumps(letter))


@app.command("replay")
def replay(
    config: ConfigPath = DEFAULT_CONFIG,
    url: Url = None,
    code: Code = None,
    destination: Destination = None,
    event_set: EventSet = None,
    since: Since = None,
    until: Until = None,
    every: Every = False,
) -> None:
    """Send them once more, the normal way. What still cannot go stays, and is counted by its reason.

    An interruption can neither lose nor double one. Exit status 1 when some stay.
    """
    query = _query(code, destination, event_set, since, until)
    _need_a_choice(query, every)
    done = _act(config, url, "replay", query)
    kept = sum(done["kept"].values())
    typer.echo(f"replayed {done['letters']} dead letters as {done['events']} events; {kept} stay")
    for reason, count in done["kept"].items():
        typer.echo(f"  {reason}: {count}")
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
    every: Every = False,
) -> None:
    """Let them go for good."""
    query = _query(code, destination, event_set, since, until)
    _need_a_choice(query, every)
    typer.echo(f"discarded {_act(config, url, 'discard', query)['letters']} dead letters")


def _query(*given: str | None) -> dict[str, str]:
    names = ("code", "destination", "event_set", "since", "until")
    query = {name: value for name, value in zip(names, given, strict=True) if value is not None}
    for name in ("since", "until"):
        if name in query:
            query[name] = str(_unix_seconds(query[name], f"--{name}"))
    return query


def _unix_seconds(text: str, option: str) -> float:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        fail(f"{option} has {text!r}; it may be a time such as 2026-03-01T12:00:00", 2)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _need_a_choice(query: dict[str, str], every: bool) -> None:
    if not query and not every:
        fail("say which ones are meant, with --code, --destination, ..., or --all", 2)


def _letters(config: Path, url: str | None, query: dict[str, str], limit: int = PAGE_SIZE) -> Iterator[dict[str, Any]]:
    """All that match, page by page."""
    query = {"after": "0", **query, "limit": str(limit)}
    while True:
        found = _asked(config, url, "GET", "", query)["dead_letters"]
        yield from found
        if len(found) < limit or limit == 1:
            return
        query["after"] = str(found[-1]["number"])


def _act(config: Path, url: str | None, what: str, query: dict[str, str]) -> dict[str, Any]:
    return _asked(config, url, "POST", f"/{what}", query)


def _asked(config: Path, url: str | None, method: str, path: str, query: dict[str, str]) -> dict[str, Any]:
    """What the running gateway answers; when the settings' gateway does not run, what its spool gives."""
    settings = settings_or_exit(config) if url is None else None
    found = ask(settings, url, method, f"/dead-letters{path}", query)
    if found is not None:
        return found
    if settings is None:
        fail(f"{url} does not answer; is the gateway running?")
    return _from_spool(settings, path, query)


def _from_spool(settings: Settings, path: str, query: dict[str, str]) -> dict[str, Any]:
    from gateway.model import GatewayError

    try:
        return asyncio.run(_on_spool(settings, path, query))
    except GatewayError as error:
        fail(str(error))


async def _on_spool(settings: Settings, path: str, query: dict[str, str]) -> dict[str, Any]:
    """On every file that a process of the gateway has left."""
    import time
    from contextlib import AsyncExitStack

    from gateway.admin.dead_letters import act_on, listed, where_of
    from gateway.dead_letters import AggregatedDeadLetters, DeadLetterService
    from gateway.mapping import compile_mapper
    from gateway.spool import create_spool, spool_file_numbers

    mappers = {
        name: compile_mapper(name, one, settings.server.max_event_bytes) for name, one in settings.destinations.items()
    }
    services = {}
    async with AsyncExitStack() as stack:
        for number in spool_file_numbers(settings.spool) or [0]:
            spool = create_spool(settings.spool, time.time, number)
            await spool.open()
            stack.push_async_callback(spool.close)
            services[number] = DeadLetterService(
                spool, settings.destinations, mappers, stored=lambda _: None, clock=time.time
            )
        dead_letters = AggregatedDeadLetters(services) if services.keys() != {0} else services[0]
        if path:
            return await act_on(dead_letters, path.removeprefix("/"), where_of(query))
        return await listed(dead_letters, query)
