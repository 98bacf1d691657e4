"""Periodic tasks of one process: saving the deduplication windows, and deleting dead letters after their retention."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from gateway.config import Settings, SpoolEngine
from gateway.ingest import DedupWindow
from gateway.ingest.dedup import write_all
from gateway.model import UnixSeconds
from gateway.spool import DeadLetterStore, SpoolUnavailable
from gateway.telemetry import Ledger

log = logging.getLogger("gateway.runtime")

SAVE_INTERVAL = 1.0
"""Seconds between two saves of the deduplication windows. A killed process loses the message IDs of this time."""
PURGE_INTERVAL = 60.0
"""Seconds between two checks of the retention of dead letters."""
DAY = 86_400.0


class MaintenanceTasks:
    """Owns the deduplication window of each destination, and applies the retention of dead letters."""

    def __init__(
        self,
        settings: Settings,
        dead_letters: DeadLetterStore,
        ledger: Ledger,
        clock: Callable[[], UnixSeconds] = time.time,
        number: int = 0,
    ) -> None:
        """`number`: of the process. Each process has its own windows, in its own files."""
        self._spool = settings.spool
        self._dead_letters = dead_letters
        self._ledger = ledger
        self._clock = clock
        self._dedup = settings.dedup
        self._number = number
        self.dedup: dict[str, DedupWindow] = {}
        """By destination; empty when `dedup.events` is 0."""
        if settings.dedup.events:
            self.dedup = {name: self._window(name) for name in settings.destinations}

    def start(self) -> None:
        """Load the saved windows. The spool must be open: its directory exists and is locked for this process."""
        for window in self.dedup.values():
            window.load(self._clock())

    async def reload(self, settings: Settings) -> None:
        """Create the windows of new destinations. A destination that was removed and added again keeps its window."""
        if self._dedup.events:
            for name in settings.destinations.keys() - self.dedup.keys():
                window = self._window(name)
                await asyncio.to_thread(window.load, self._clock())
                self.dedup[name] = window

    def _window(self, destination: str) -> DedupWindow:
        path = None
        if self._spool.engine is SpoolEngine.SQLITE:
            prefix = f"worker-{self._number}-" if self._number else ""
            path = Path(self._spool.path) / f"{prefix}dedup-{destination}"
        return DedupWindow(self._dedup.events, self._dedup.age, self._clock(), path)

    async def run(self) -> None:
        """Run both tasks at their intervals until cancelled."""
        purged_at = -PURGE_INTERVAL
        loop = asyncio.get_running_loop()
        while True:
            await self.save()
            if loop.time() - purged_at >= PURGE_INTERVAL:
                purged_at = loop.time()
                await self.purge()
            await asyncio.sleep(SAVE_INTERVAL)

    async def save(self) -> None:
        """Write the new message IDs of all windows on a thread, so that a slow disk does not stall the event loop."""
        saves = [save for window in self.dedup.values() if (save := window.to_save())]
        if saves:
            await asyncio.to_thread(write_all, saves)

    async def purge(self) -> None:
        """Delete dead letters older than `spool.dead_letter_days`, and the oldest beyond `spool.dead_letter_bytes`."""
        since = self._clock() - self._spool.dead_letter_days * DAY
        try:
            purged = await self._dead_letters.purge(since, self._spool.dead_letter_bytes)
        except SpoolUnavailable as error:
            log.warning(
                "old dead letters were not deleted, since the spool is unavailable: %s; trying again in %g s",
                error,
                PURGE_INTERVAL,
            )
            return
        if purged:
            self._ledger.purged += purged
            log.warning(
                "%d dead letters deleted: older than spool.dead_letter_days, or beyond spool.dead_letter_bytes", purged
            )
