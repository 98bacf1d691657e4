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
from gateway.spool import SpoolUnavailable, StorageEngine, dead_letter_limit
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
        spool: StorageEngine,
        ledger: Ledger,
        clock: Callable[[], UnixSeconds] = time.time,
        number: int = 0,
        size_share: float = 1.0,
    ) -> None:
        """`number`: of the process. Each process has its own windows, in its own files.

        `size_share` (0 to 1): of the spool that this process has.
        """
        self._settings = settings.spool
        self._spool = spool
        self._max_letter_bytes = dead_letter_limit(settings.spool, size_share)
        self._counted = self._logged = 0  # dead letters that the spool had deleted when they were last counted, logged
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
        if self._settings.engine is SpoolEngine.SQLITE:
            prefix = f"worker-{self._number}-" if self._number else ""
            path = Path(self._settings.path) / f"{prefix}dedup-{destination}"
        return DedupWindow(self._dedup.events, self._dedup.age, self._clock(), path)

    async def run_saves(self) -> None:
        """Save at its interval until cancelled."""
        while True:
            await self.save()
            await asyncio.sleep(SAVE_INTERVAL)

    async def run_purges(self) -> None:
        """Purge at its interval until cancelled."""
        while True:
            await self.purge()
            await asyncio.sleep(PURGE_INTERVAL)

    async def save(self) -> None:
        """Write the new message IDs of all windows on a thread, so that a slow disk does not stall the event loop."""
        saves = [save for window in self.dedup.values() if (save := window.to_save())]
        if saves:
            await asyncio.to_thread(write_all, saves)

    async def purge(self) -> None:
        """Delete dead letters older than `spool.dead_letter_days`, and those beyond their maximum size."""
        since = self._clock() - self._settings.dead_letter_days * DAY
        try:
            await self._spool.purge(since, self._max_letter_bytes)
        except SpoolUnavailable as error:
            log.warning(
                "old dead letters were not deleted, since the spool is unavailable: %s; trying again in %g s",
                error,
                PURGE_INTERVAL,
            )
            return
        self.count_purged()
        if purged := self._counted - self._logged:
            self._logged = self._counted
            log.warning(
                "%d dead letters were deleted: older than spool.dead_letter_days, beyond spool.dead_letter_bytes or "
                "spool.dead_letter_share, or because waiting events needed their space. If they are to be kept longer, "
                "export or replay them earlier, or raise the setting",
                purged,
            )

    def count_purged(self) -> None:
        """Add the dead letters that the spool deleted since the last call to the ledger."""
        purged = self._spool.statistics().purged
        self._ledger.purged += purged - self._counted
        self._counted = purged
