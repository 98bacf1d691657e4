"""`gateway spool`: inspect and repair the spool files of a stopped gateway."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.cli.common import (
    DEFAULT_CONFIG,
    AsJson,
    ConfigPath,
    Yes,
    confirm,
    fail,
    print_json,
    print_line,
    settings_or_exit,
)
from gateway.escaping import ascii_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from pathlib import Path

    from gateway.config import Settings
    from gateway.model import ChunkId, Lane
    from gateway.spool import StorageEngine

    LaneTask = Callable[[StorageEngine, Sequence[Lane]], Coroutine[Any, Any, None]]

app = typer.Typer(
    help="Inspect and repair the spool of a stopped gateway.\n\n"
    "The spool holds accepted events until they are uploaded. A running gateway keeps its spool locked.",
    no_args_is_help=True,
)

Destination = Annotated[str, typer.Option(help="Name of the destination; it need not be in the settings any more.")]
EventSet = Annotated[str | None, typer.Option(help="Only events for this event set (ID).")]
READ_EVENTS = 2000
READ_BYTES = 8 * 2**20


@app.command("verify")
def verify(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Check every row of the spool files for damage. Large files take a while.

    Exit status 1 if a file is damaged.
    """
    damaged = False
    for path, result in _for_each_file(config, "verify"):
        damaged = damaged or bool(result.faults)
        if as_json:
            report = {"file": path.name, "events": result.events, "dead_letters": result.dead_letters}
            print_json({**report, "faults": list(result.faults)})
        else:
            print_line(f"{path.name}: {result.events} waiting events and {result.dead_letters} dead letters are intact")
            for fault in result.faults:
                print_line(f"damaged: {fault}")
    raise SystemExit(1 if damaged else 0)


@app.command("recover")
def recover(config: ConfigPath = DEFAULT_CONFIG, yes: Yes = False) -> None:
    """Rebuild the spool files from their readable data.

    Replaces each file by a new one. The original files are kept under another name. Shows what is damaged and asks
    first; without a terminal, --yes is required.
    """
    if not yes:
        for path, result in _for_each_file(config, "verify"):
            state = f"{len(result.faults)} faults" if result.faults else "no damage found"
            intact = f"{result.events:,} waiting events and {result.dead_letters:,} dead letters are intact"
            print_line(f"{path.name}: {state}; {intact}", error=True)
        confirm("Rebuild these files?", yes=yes)
    for path, result in _for_each_file(config, "recover_file"):
        print_line(
            f"{path.name}: recovered {result.events} events and {result.dead_letters} dead letters; the original file "
            f"is now {result.aside}"
        )


@app.command("lanes")
def lanes(config: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show how many events are waiting for upload.

    One line for each destination, event set and upload tag, with the lane's name in the log: a hash stands for the
    tag. Destinations that are not in the settings are marked.
    """
    settings = settings_or_exit(config)
    for backlog in (backlog for _, backlogs in _for_each_file(config, "backlogs") for backlog in backlogs):
        in_settings = backlog.lane.destination in settings.destinations
        if as_json:
            row = {
                "lane": str(backlog.lane),
                **backlog.lane._asdict(),
                "events": backlog.events,
                "bytes": backlog.bytes,
                "in_settings": in_settings,
            }
            print_json(row)
        else:
            note = "" if in_settings else "  (not in the settings)"
            lane = f'{backlog.lane}  upload tag "{backlog.lane.upload_tag}"'
            print_line(f"{backlog.events:>10} events {backlog.bytes:>12} bytes  {lane}{note}")


@app.command("export")
def export(destination: Destination, config: ConfigPath = DEFAULT_CONFIG, event_set: EventSet = None) -> None:
    """Print the waiting events of a destination.

    One JSON object per line. The events stay in the spool.
    """

    async def print_events(spool: StorageEngine, lanes: Sequence[Lane]) -> None:
        async for lane, _, events in _chunks(spool, lanes):
            head = json.dumps({**lane._asdict(), "event": None})[: -len("null}")].encode()
            for event in events:
                sys.stdout.buffer.write(ascii_json(head + event + b"}") + b"\n")

    _run_on_lanes(config, destination, event_set, print_events)
    sys.stdout.flush()


@app.command("discard")
def discard(
    destination: Destination,
    config: ConfigPath = DEFAULT_CONFIG,
    event_set: EventSet = None,
    yes: Yes = False,
) -> None:
    """Delete the waiting events of a destination permanently."""
    which = f"destination {destination}" + (f", event set {event_set}" if event_set else "")
    confirm(f"Delete all waiting events of {which}?", yes=yes)
    discarded = 0

    async def delete_events(spool: StorageEngine, lanes: Sequence[Lane]) -> None:
        nonlocal discarded
        async for lane, chunk_id, events in _chunks(spool, lanes):
            await spool.acknowledge(lane, [chunk_id])
            discarded += len(events)

    _run_on_lanes(config, destination, event_set, delete_events)
    print_line(f"discarded {discarded} events")


async def _chunks(spool: StorageEngine, lanes: Sequence[Lane]) -> AsyncIterator[tuple[Lane, ChunkId, list[bytes]]]:
    """All chunks of the lanes, with their events."""
    from gateway.model import ChunkId, split_events

    for lane in lanes:
        after = ChunkId(0)
        while chunks := await spool.read(lane, after, READ_EVENTS, READ_BYTES):
            for stored in chunks:
                yield lane, stored.id, split_events(stored.chunk.payload)
            after = chunks[-1].id


def _run_on_lanes(config: Path, destination: str, event_set: str | None, task: LaneTask) -> None:
    """Run `task` with the matching lanes of each spool file."""
    settings = settings_or_exit(config)
    from gateway.model import GatewayError

    try:
        asyncio.run(_open_and_run(settings, destination, event_set, task))
    except GatewayError as error:
        fail(str(error))


async def _open_and_run(settings: Settings, destination: str, event_set: str | None, task: LaneTask) -> None:
    import time

    from gateway.spool import create_spool, spool_file_numbers

    for number in spool_file_numbers(settings.spool) or [0]:
        spool = create_spool(settings.spool, time.time, number)
        backlogs = await spool.open()
        try:
            lanes = [backlog.lane for backlog in backlogs if backlog.lane.destination == destination]
            await task(spool, [lane for lane in lanes if event_set in {None, lane.event_set}])
        finally:
            await spool.close()


def _for_each_file(config: Path, function: str) -> list[tuple[Path, Any]]:
    """Call a function of `gateway.spool.sqlite` with each spool file; the files and the results."""
    settings = settings_or_exit(config)
    if settings.spool.engine != "sqlite":
        fail(f"spool.engine is {settings.spool.engine}; only the engine sqlite has files")
    from gateway.model import GatewayError
    from gateway.spool import spool_file, spool_file_numbers, sqlite

    paths = [spool_file(settings.spool, number) for number in spool_file_numbers(settings.spool) or [0]]
    try:
        return [(path, getattr(sqlite, function)(path)) for path in paths]
    except GatewayError as error:
        fail(str(error))
