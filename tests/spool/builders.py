"""Builders of chunks, dead letters and spools with defaults, so that a test sets only the values that it checks."""

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
    """A clock in unix seconds that only a test advances."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def chunk(*bodies: bytes, lane: Lane = LANE, expires_at: int = 1_700_600_000) -> Chunk:
    """Return a chunk of these events, or of one default event."""
    events = bodies or (b'{"event_name":"Purchase"}',)
    return Chunk(lane, len(events), expires_at, join_events(events))


def bulk(events: int = 10, size: int = 600, lane: Lane = LANE) -> Chunk:
    """Return a chunk of `events` events of `size` bytes each."""
    return chunk(*[b'{"n":"' + b"x" * (size - 8) + b'"}'] * events, lane=lane)


def letter(number: int = 0, **changes: object) -> DeadLetter:
    """Return a dead letter of an event that Meta rejected."""
    fields: dict[str, object] = {
        "stage": Stage.UPLOAD,
        "code": "event_refused",
        "message": "Meta rejected the event's user data. Send an email or a phone number.",
        "destination": "store",
        "source": None,
        "lane": LANE,
        "at": 1_700_000_000.0,
        "attempts": 1,
        "fault": MetaFault(100, 2804050, "AbCdEf"),
        "event": b'{"n":%d}' % number,
        "message_id": f"m{number}",
        "order_id": f"order {number} \u00e9",
        **changes,
    }
    return DeadLetter(**fields)  # type: ignore[arg-type] # the keys are the names of the fields


def sqlite(
    folder: Path, clock: Callable[[], float] = time.time, max_bytes: int = 64 * MIB, letter_bytes: int = 2**63
) -> SqliteSpool:
    """Return an sqlite spool in this directory."""
    return SqliteSpool(
        folder / NAME, max_bytes=max_bytes, letter_bytes=letter_bytes, clock=clock, free_disk=lambda _: 2**60
    )


def engine(
    name: str,
    folder: Path,
    clock: Callable[[], float] = time.time,
    max_bytes: int = 64 * MIB,
    letter_bytes: int = 2**63,
) -> StorageEngine:
    """Return a spool of the named engine."""
    if name == "sqlite":
        return sqlite(folder, clock, max_bytes, letter_bytes)
    return MemorySpool(max_bytes=max_bytes, letter_bytes=letter_bytes, clock=clock)


async def fill(spool: StorageEngine) -> list[StoredChunk]:
    """Append chunks until the spool is full, and return them."""
    stored: list[StoredChunk] = []
    try:
        while True:
            stored += await spool.append([bulk(100, 600)], [])
    except SpoolFull:
        return stored


async def read_all(spool: StorageEngine, lane: Lane = LANE) -> list[StoredChunk]:
    """Return all chunks of a lane, read page by page with a cursor, as delivery reads them."""
    chunks: list[StoredChunk] = []
    while page := await spool.read(lane, chunks[-1].id if chunks else START, 3, 2000):
        chunks += page
    return chunks


def payloads(stored: Sequence[StoredChunk]) -> list[bytes]:
    """Return the payloads of stored chunks."""
    return [item.chunk.payload for item in stored]


def copy_files(folder: Path, into: Path) -> Path:
    """Copy the files in their current state, which is the state after a kill of the process, and return the copy."""
    into.mkdir()
    for path in folder.iterdir():
        if path.is_file():
            shutil.copy(path, into)
    return into
