"""Records the history once a minute, and answers queries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from gateway.history import store
from gateway.history.model import HOUR, MINUTE, HistoryPage, HistoryQuery, HistoryUnavailable
from gateway.history.samples import NO_TOTALS, sample, totals_of
from gateway.model import UnixSeconds
from gateway.record_file import RecordFile, RecordsUnavailable
from gateway.telemetry import Snapshot

log = logging.getLogger("gateway.history")

LATE_SECONDS = 5
"""Seconds after the end of a minute in which its values may still be recorded."""


class History:
    """The history of one gateway."""

    def __init__(
        self,
        path: Path | None,
        snapshot: Callable[[], Awaitable[Snapshot]],
        clock: Callable[[], UnixSeconds] = time.time,
    ) -> None:
        """`path` None: it is kept in memory. `snapshot`: the counts and states of all processes."""
        self._file = RecordFile(path, store.SCHEMA, max_bytes=store.MAX_BYTES)
        self._snapshot = snapshot
        self._clock = clock
        # Only the loop's thread changes these.
        self._recorded = NO_TOTALS  # up to which the values were written
        self._pruned_at = 0.0
        self._is_full = False  # whether series are left out, which was logged

    async def run(self) -> None:
        """Record at the end of each minute, until cancelled."""
        while True:
            await asyncio.sleep(MINUTE - self._clock() % MINUTE)
            await self.record()

    async def record(self) -> None:
        """Record the values since the last time. If that fails, they are part of the next ones."""
        snapshot = await self._snapshot()
        now = self._clock()
        totals = totals_of(snapshot)
        values = sample(self._recorded, totals, snapshot, now)
        minute = int(now - LATE_SECONDS) // MINUTE * MINUTE
        try:
            left_out = await self._file.run(partial(store.write, at=minute, values=values))
            self._recorded = totals
            if now - self._pruned_at >= HOUR:
                await self._file.run(partial(store.prune, now=int(now)))
                self._pruned_at = now
        except RecordsUnavailable:
            return  # the file has logged it
        if left_out and not self._is_full:
            log.warning(
                "the history has %d series, which is its maximum; new ones are not recorded", store.MAX_STORED_SERIES
            )
        self._is_full = left_out > 0

    async def query(self, query: HistoryQuery) -> HistoryPage:
        """The answer to a query. Raises `HistoryUnavailable`."""
        try:
            return await self._file.run(partial(store.read, query=query, now=self._clock()))
        except RecordsUnavailable as error:
            raise HistoryUnavailable(f"the history cannot be read: {error}") from error

    async def close(self) -> None:
        """Record the last values, and close the file."""
        await self.record()
        await self._file.close()
