"""`gateway spool`: the spool of a gateway that is stopped."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import DEFAULT_CONFIG, AsJson, ConfigPath, fail, settings_or_exit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from gateway.config import Settings
    from gateway.model import Lane
    from gateway.spool import StorageEngine

    Work = Callable[[StorageEngine, list[Lane]], Coroutine[Any, Any, None]]

app = typer.Typer(
    help="Look at, mend and empty the spool of a gateway that is stopped. A running one has it to itself.",
    no_args_is_help=True,
)

Destination = Annotated[str, typer.Option(help="Only this destination, in the settings or not.")]
EventSet = Annotated[str | None, typer.Option(help="Only this event set.")]
READ_EVENTS = 2000
READ_BYTES = 8 * 2**20


@app.command("verify")
def verify(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Look at every row, however long it takes. Exit status 1 when something is damaged."""
    damaged = False
    for path, found in _of_files(config, "verify"):
        damaged = damaged or bool(found.faults)
        if as_json:
            told = {"file": path.name, "events": found.events, "dead_letters": found.dead_letters}
            typer.echo(json.dumps({**told, "faults": list(found.faults)}))
        else:
            typer.echo(f"{path.name}: {found.events} events wait, {found.dead_letters} dead letters are kept, intact")
            for fault in found.faults:
                typer.echo(f"damaged: {fault}")
    raise SystemExit(1 if damaged else 0)


@app.command("recover")
def recover(config: ConfigPath = DEFAULT_CONFIG) -> None:
    """Set the file aside under a new name and go on with what is readable of it."""
    for path, found in _of_files(config, "recover_file"):
        typer.echo(
            f"{path.name}: rescued {found.events} events and {found.dead_letters} dead letters; the old file is now "
            f"{found.aside}"
        )


@app.command("lanes")
def lanes(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """What waits, by lane; those whose destination is not in the settings are marked."""
    settings = settings_or_exit(config)
    for backlog in (one for _, found in _of_files(config, "backlogs") for one in found):
        known = backlog.lane.destination in settings.destinations
        if as_json:
            row = {**backlog.lane._asdict(), "events": backlog.events, "bytes": backlog.bytes, "in_settings": known}
            typer.echo(json.dumps(row))
        else:
            note = "" if known else "  (not in the settings)"
            typer.echo(f"{backlog.events:>10} events {backlog.bytes:>12} bytes  {backlog.lane}{note}")


@app.command("export")
def export(destination: Destination, config: ConfigPath = DEFAULT_CONFIG, event_set: EventSet = None) -> None:
    """Print what waits for a destination as one JSON object a line. It goes on waiting."""

    async def work(spool: StorageEngine, meant: list[Lane]) -> None:
        async for lane, _, events in _chunks(spool, meant):
            head = json.dumps({**lane._asdict(), "event": None})[: -len("null}")].encode()
            for event in events:
                sys.stdout.buffer.write(head + event + b"}\n")

    _on_lanes(config, destination, event_set, work)
    sys.stdout.flush()


@app.command("discard")
def discard(
    destination: Destination,
    config: ConfigPath = DEFAULT_CONFIG,
    event_set: EventSet = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Let what waits for a destination go for good."""
    if not yes:
        typer.confirm(f"Let everything go that waits for {destination}?", abort=True)
    gone = 0

    async def work(spool: StorageEngine, meant: list[Lane]) -> None:
        nonlocal gone
        async for lane, number, events in _chunks(spool, meant):
            await spool.acknowledge(lane, [number])
            gone += len(events)

    _on_lanes(config, destination, event_set, work)
    typer.echo(f"discarded {gone} events")


async def _chunks(spool: StorageEngine, meant: list[Lane]) -> AsyncIterator[tuple[Lane, Any, list[bytes]]]:
    from gateway.model import ChunkId, split_events

    for lane in meant:
        after = ChunkId(0)
        while stored := await spool.read(lane, after, READ_EVENTS, READ_BYTES):
            for one in stored:
                yield lane, one.id, split_events(one.chunk.payload)
            after = stored[-1].id


def _on_lanes(config: Path, destination: str, event_set: str | None, work: Work) -> None:
    settings = settings_or_exit(config)
    from gateway.model import GatewayError

    try:
        asyncio.run(_opened(settings, destination, event_set, work))
    except GatewayError as error:
        fail(str(error))


async def _opened(
    settings: Settings,
    destination: str,
    event_set: str | None,
    work: Work,
) -> None:
    import time

    from gateway.spool import create_spool, spool_file_numbers

    for number in spool_file_numbers(settings.spool) or [0]:
        spool = create_spool(settings.spool, time.time, number)
        backlogs = await spool.open()
        try:
            lanes = [one.lane for one in backlogs if one.lane.destination == destination]
            await work(spool, [lane for lane in lanes if event_set in {None, lane.event_set}])
        finally:
            await spool.close()


def _of_files(config: Path, what: str) -> list[tuple[Path, Any]]:
    """What the sqlite engine's own tools say of the file of each process."""
    settings = settings_or_exit(config)
    if settings.spool.engine != "sqlite":
        fail(f"spool.engine is {settings.spool.engine}: only sqlite has a file")
    from gateway.model import GatewayError
    from gateway.spool import spool_file, spool_file_numbers, sqlite

    paths = [spool_file(settings.spool, number) for number in spool_file_numbers(settings.spool) or [0]]
    try:
        return [(path, getattr(sqlite, what)(path)) for path in paths]
    except GatewayError as error:
        fail(str(error))
