"""The data of the console that one process keeps for the whole gateway: history, ended traces, Dataset Quality.

It belongs to the process that serves the admin port. `create_trace` makes the event trace, which each process has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

from gateway.config import Settings, SpoolEngine
from gateway.delivery import QualityReader
from gateway.history import History, HistoryPage, HistoryQuery, HistoryUnavailable
from gateway.meta import DatasetQuality
from gateway.model import UnixSeconds
from gateway.telemetry import Snapshot
from gateway.trace import TraceRecorder, TraceResult, find_in_ended, trace_file, without_ids

log = logging.getLogger("gateway.runtime")

DAY = 86_400.0
MEMORY_BYTES = 16 * 2**20
"""Maximum size of the event trace where the spool, and so the trace, is in memory."""


class ConsoleRecords:
    """History, traces of ended processes, and Dataset Quality of one gateway."""

    def __init__(
        self,
        settings: Settings,
        snapshot: Callable[[], Awaitable[Snapshot]],
        clock: Callable[[], UnixSeconds] = time.time,
    ) -> None:
        """`snapshot`: the counts and states of all processes."""
        self._settings = settings.console
        self._clock = clock
        self._folder = _folder(settings)
        path = self._folder / "history.sqlite" if self._folder else None
        self._history = History(path, snapshot, clock) if settings.console.enabled else None
        self._quality = QualityReader(settings.destinations, clock=clock) if settings.console.quality else None

    async def run(self) -> None:
        """Record the history until cancelled."""
        if self._history is not None:
            await self._history.run()

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Counts over time. Raises `HistoryUnavailable`."""
        if self._history is None:
            raise HistoryUnavailable("the history is turned off (console.enabled)")
        return await self._history.query(query)

    async def ended_traces(self, running: Collection[int], identifier: str) -> Sequence[TraceResult]:
        """What processes traced that this gateway does not have any more. `running`: the numbers of those it has."""
        folder, since = self._folder, self._clock() - self._settings.trace_days * DAY
        if folder is None:
            return []
        results = await asyncio.to_thread(lambda: list(find_in_ended(folder, running, since, identifier)))
        return results if self._settings.show_ids else [without_ids(result) for result in results]

    async def quality(self) -> Sequence[DatasetQuality]:
        """What Meta says about each dataset; empty if `console.quality` is off."""
        return await self._quality.read() if self._quality is not None else []

    async def reload(self, settings: Settings) -> None:
        """Ask about the datasets of other settings from now on."""
        if self._quality is not None:
            await self._quality.reload(settings.destinations)

    async def close(self) -> None:
        """Record the last values of the history, and end all calls."""
        try:
            if self._history is not None:
                await self._history.close()
            if self._quality is not None:
                await self._quality.close()
        except Exception:
            log.exception("the last values of the history were not recorded")


def create_trace(
    settings: Settings, number: int, size_share: float, clock: Callable[[], UnixSeconds]
) -> TraceRecorder | None:
    """The event trace of process `number`, with `size_share` (0 to 1) of `console.trace_max_bytes`; None: it is off."""
    console = settings.console
    if not console.enabled or not console.trace_days:
        return None
    path = trace_path(settings, number)
    return TraceRecorder(
        path, days=console.trace_days, max_bytes=int(console.trace_max_bytes * size_share), clock=clock
    )


def trace_path(settings: Settings, number: int) -> Path | None:
    """The file of the event trace of process `number`; None: it is in memory."""
    folder = _folder(settings)
    return trace_file(folder, number) if folder is not None else None


def _folder(settings: Settings) -> Path | None:
    return Path(settings.spool.path) if settings.spool.engine is SpoolEngine.SQLITE else None
