"""Creates the engine that the settings name. The module of an engine is imported only when that engine is used."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, assert_never

from gateway.config import SpoolEngine, SpoolSettings
from gateway.spool.dead_letter_store import DeadLetterStore
from gateway.spool.protocol import Spool


class StorageEngine(DeadLetterStore, Spool, Protocol):
    """The interface of every engine: the spool of waiting events and the store of dead letters."""


def create_spool(
    settings: SpoolSettings, clock: Callable[[], float], number: int = 0, share: float = 1.0
) -> StorageEngine:
    """Return the spool of process `number`, not open yet. Its size limit is `share` (0 to 1) of `max_bytes`.

    `clock` returns unix seconds.
    """
    max_bytes = int(settings.max_bytes * share)
    letter_bytes = dead_letter_limit(settings, share)
    match settings.engine:
        case SpoolEngine.SQLITE:
            from gateway.spool.sqlite import SqliteSpool  # noqa: PLC0415 (the database loads for this engine only)

            path = spool_file(settings, number)
            return SqliteSpool(path, max_bytes=max_bytes, letter_bytes=letter_bytes, clock=clock)
        case SpoolEngine.MEMORY:
            from gateway.spool.memory import MemorySpool  # noqa: PLC0415

            return MemorySpool(max_bytes=max_bytes, letter_bytes=letter_bytes, clock=clock)
    assert_never(settings.engine)


def dead_letter_limit(settings: SpoolSettings, share: float = 1.0) -> int:
    """Return the bytes of dead letters that a process may keep which has `share` (0 to 1) of the spool."""
    return int(share * min(settings.dead_letter_bytes, settings.max_bytes * settings.dead_letter_share))


def spool_file(settings: SpoolSettings, number: int = 0) -> Path:
    """Return the path of the sqlite engine's database for process `number`."""
    return Path(settings.path) / (f"spool-{number}.sqlite" if number else "spool.sqlite")


def spool_file_numbers(settings: SpoolSettings) -> Sequence[int]:
    """Return the numbers of the processes that have a database, running or not, in ascending order.

    A database whose file was deleted, or is being recovered, has at least one of its other files.
    """
    numbers = {
        int(match[1] or 0)
        for path in Path(settings.path).glob("spool*.sqlite*")
        if (match := re.fullmatch(r"spool(?:-([1-9]\d{0,3}))?\.sqlite(?:-wal|\.recovered)?", path.name))
    }
    return sorted(numbers)


def delete_spool(settings: SpoolSettings, number: int) -> None:
    """Delete the database of a process that has ended and whose spool is empty."""
    path = spool_file(settings, number)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
