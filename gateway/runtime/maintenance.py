"""What is done now and then beside the events' way: repeats are saved, dead letters beyond their time are let go."""

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

log = logging.getLogger("gateway.runtime.maintenance")

SAVE_SECONDS = 1.0
"""Between two saves of the repeats: what a process that is killed forgets."""
RETAIN_SECONDS = 60.0
DAY = 86_400.0


class MaintenanceTasks:
    """The windows of repeats, by destination, and the retention of dead letters."""

    def __init__(
        self,
        settings: Settings,
        letters: DeadLetterStore,
        ledger: Ledger,
        clock: Callable[[], UnixSeconds] = time.time,
        number: int = 0,
    ) -> None:
        """`number`: of the process, whose windows are its own."""
        self._spool = settings.spool
        self._letters = letters
        self._ledger = ledger
        self._clock = clock
        self._dedup = settings.dedup
        self._number = number
        self.dedup: dict[str, DedupWindow] = {}
        if settings.dedup.events:
            self.dedup = {name: self._window(name) for name in settings.destinations}

    def start(self) -> None:
        """Remember what an earlier process saved. The spool is open, and so its folder is there and ours."""
        for window in self.dedup.values():
            window.load(self._clock())

    async def reload(self, settings: Settings) -> None:
        """Windows for destinations that are new; one that was there before goes on with what it saved."""
        if self._dedup.events:
            for name in settings.destinations.keys() - self.dedup.keys():
                window = self._window(name)
                await asyncio.to_thread(window.load, self._clock())
                self.dedup[name] = window

    def _window(self, destination: str) -> DedupWindow:
        path = None
        if self._spool.engine is SpoolEngine.SQLITE:
            mark = f"worker-{self._number}-" if self._number else ""
            path = Path(self._spool.path) / f"{mark}repeats-{destination}"
        return DedupWindow(self._dedup.events, self._dedup.age, self._clock(), path)

    async def run(self) -> None:
        """Keep house until cancelled."""
        retained = -RETAIN_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            await self.save()
            if loop.time() - retained >= RETAIN_SECONDS:
                retained = loop.time()
                await self.purge()
            await asyncio.sleep(SAVE_SECONDS)

    async def save(self) -> None:
        """Write what the windows have learnt, on a thread that may wait for the disk."""
        saves = [save for window in self.dedup.values() if (save := window.to_save())]
        if saves:
            await asyncio.to_thread(write_all, saves)

    async def purge(self) -> None:
        """Let dead letters go that are too old, or beyond the size that is kept."""
        since = self._clock() - self._spool.dead_letter_days * DAY
        try:
            gone = await self._letters.purge(since, self._spool.dead_letter_bytes)
        except SpoolUnavailable as error:
            log.warning("dead letters could not be looked through: %s", error)
            return
        if gone:
            self._ledger.purged += gone
            log.warning("%d dead letters were let go: too old, or beyond what is kept", gone)
