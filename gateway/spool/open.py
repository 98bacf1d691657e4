"""From the settings to an engine. An engine is imported when it is chosen, and no sooner."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, assert_never

from gateway.config import SpoolEngine, SpoolSettings
from gateway.spool.letters import DeadLetters
from gateway.spool.protocol import Spool


class Engine(DeadLetters, Spool, Protocol):
    """What every engine keeps: the promise for what waits, and the one for what will not be delivered."""


def make_spool(settings: SpoolSettings, wall: Callable[[], float]) -> Engine:
    """A spool that is not open yet. `wall` gives unix seconds."""
    match settings.engine:
        case SpoolEngine.SQLITE:
            from gateway.spool.sqlite import SqliteSpool  # noqa: PLC0415 (the database loads for this engine only)

            return SqliteSpool(spool_file(settings), max_bytes=settings.max_bytes, wall=wall)
        case SpoolEngine.MEMORY:
            from gateway.spool.memory import MemorySpool  # noqa: PLC0415

            return MemorySpool(max_bytes=settings.max_bytes, wall=wall)
    assert_never(settings.engine)


def spool_file(settings: SpoolSettings) -> Path:
    """Where the sqlite engine keeps its database."""
    return Path(settings.path) / "spool.sqlite"
