"""Chunks, dead letters and spools with defaults, so that a test shows what it is about and no more."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from gateway.model import Chunk, ChunkId, DeadLetter, Lane, MetaFault, Stage, StoredChunk, join_events
from gateway.spool import SpoolFull, StorageEngine
from gateway.spool.memory import MemorySpool
from gateway.spool.sqlite import SqliteSpool

LANE: Final = Lane("store", "1148872185708962", "rudderstack")
OTHER: Final = Lane("store", "1024592094903800", "rudderstack")
START: Final = ChunkId(0)
ALL: Final = 10**9
MIB: Final = 2**20

NAME: Final = "spool.sqlite"


class Clock:
    """Unix seconds that pass when a test says so."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def chunk(*bodies: bytes, lane: Lane = LANE, expires_at: int = 1_700_600_000) -> Chunk:
    """A chunk of these events, or of one."""
    events = bodies or (b'{"event_name":"Purchase"}',)
    return Chunk(lane, len(events), expires_at, join_events(events))


def bulk(events: int = 10, size: int = 600, lane: Lane = LANE) -> Chunk:
    """A chunk of a given size."""
    return chunk(*[b'{"n":"' + b"x" * (size - 8) + b'"}'] * events, lane=lane)


def letter(number: int = 0, **changes: object) -> DeadLetter:
    """A dead letter of an event that Meta refused."""
    given: dict[str, object] = {
        "stage": Stage.UPLOAD,
        "code": "event_refused",
        "message": "Meta refuses the event's user data. Send an email or a phone number.",
        "destination": "store",
        "source": None,
        "lane": LANE,
        "at": 1_700_000_000.0,
        "attempts": 1,
        "fault": MetaFault(100, 2804050, "AbCdEf"),
        "event": b'{"n":%d}' % number,
        **changes,
    }
    return DeadLetter(**given)  # type: ignore[arg-type] # the names are the fields


def sqlite(folder: Path, clock: Callable[[], float] = time.time, max_bytes: int = 64 * MIB) -> SqliteSpool:
    """A spool in a file of this folder."""
    return SqliteSpool(folder / NAME, max_bytes=max_bytes, clock=clock, free_disk=lambda _: 2**60)


def engine(name: str, folder: Path, clock: Callable[[], float] = time.time, max_bytes: int = 64 * MIB) -> StorageEngine:
    """A spool of either engine."""
    return sqlite(folder, clock, max_bytes) if name == "sqlite" else MemorySpool(max_bytes=max_bytes, clock=clock)


async def fill(spool: StorageEngine) -> list[StoredChunk]:
    """Append until it is full."""
    taken: list[StoredChunk] = []
    try:
        while True:
            taken += await spool.append([bulk(100, 600)], [])
    except SpoolFull:
        return taken


async def everything(spool: StorageEngine, lane: Lane = LANE) -> list[StoredChunk]:
    """All chunks of a lane, read as a lane reads them: by cursor."""
    found: list[StoredChunk] = []
    while step := await spool.read(lane, found[-1].id if found else START, 3, 2000):
        found += step
    return found


def payloads(stored: Sequence[StoredChunk]) -> list[bytes]:
    return [one.chunk.payload for one in stored]


def crash(folder: Path, into: Path) -> Path:
    """The files as they are at this instant, as a process that is killed leaves them."""
    into.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, into)
    return into
