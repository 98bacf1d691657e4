"""From the settings to an engine. An engine is imported when it is chosen, and no sooner."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, assert_never

from gateway.config import SpoolEngine, SpoolSettings
from gateway.spool.dead_letter_store import DeadLetterStore
from gateway.spool.protocol import Spool


class StorageEngine(DeadLetterStore, Spool, Protocol):
    """What every engine keeps: the promise for what waits, and the one for what will not be delivered."""


def create_spool(
    settings: SpoolSettings, clock: Callable[[], float], number: int = 0, share: float = 1.0
) -> StorageEngine:
    """The spool of one process, with its share of the room, not open yet. `wall` gives unix seconds."""
    max_bytes = int(settings.max_bytes * share)
    match settings.engine:
        case SpoolEngine.SQLITE:
            from gateway.spool.sqlite import SqliteSpool  # noqa: PLC0415 (the database loads for this engine only)

            return SqliteSpool(spool_file(settings, number), max_bytes=max_bytes, clock=clock)
        case SpoolEngine.MEMORY:
            from gateway.spool.memory import MemorySpool  # noqa: PLC0415

            return MemorySpool(max_bytes=max_bytes, clock=clock)
    assert_never(settings.engine)


def spool_file(settings: SpoolSettings, number: int = 0) -> Path:
    """Where the sqlite engine keeps the database of a process."""
    return Path(settings.path) / (f"spool-{number}.sqlite" if number else "spool.sqlite")


def spool_file_numbers(settings: SpoolSettings) -> Sequence[int]:
    """The processes that have left a database, whether they still run or not; in order."""
    found = {
        int(match[1] or 0)
        for path in Path(settings.path).glob("spool*.sqlite")
        if (match := re.fullmatch(r"spool(?:-([1-9]\d{0,3}))?\.sqlite", path.name))
    }
    return sorted(found)


def delete_spool(settings: SpoolSettings, number: int) -> None:
    """Remove the database of a process that has ended and left nothing in it."""
    path = spool_file(settings, number)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
