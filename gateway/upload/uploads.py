"""All lanes of a process: made when their first event comes, each with a task of its own, dropped when long idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random, SystemRandom

from gateway.buffer import Buffer
from gateway.config import DestinationSettings
from gateway.model import Backlog, Lane, StoredChunk, UnixSeconds
from gateway.observe import Ledger
from gateway.spool import Spool
from gateway.upload.backoff import pause
from gateway.upload.caller import Surroundings
from gateway.upload.graph import CallShape, HttpTransport, Transport
from gateway.upload.lane import LaneStatistics, LaneUploader
from gateway.upload.pace import Pace
from gateway.upload.token import Token

log = logging.getLogger("gateway.upload")

IDLE = 600.0
"""Seconds after which a lane without events is dropped from memory: an upload tag for each event must not add up."""
LONG = 300.0
"""Seconds that a lane ran without a defect for the next one to count as its first."""


class Uploads:
    """The lanes. `stored` and `room` are called on the loop, once a commit and once a chunk."""

    def __init__(
        self,
        destinations: Mapping[str, DestinationSettings],
        spool: Spool,
        ledger: Ledger,
        *,
        transport: Callable[[DestinationSettings], Transport] = HttpTransport,
        wall: Callable[[], UnixSeconds] = time.time,
        random: Random | None = None,
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._wall = wall
        self._random = random or SystemRandom()
        self._limits = {name: destination.limits for name, destination in destinations.items()}
        paces: dict[str, Pace] = {}
        self.version_warnings: dict[str, str] = {}
        """By destination, what Meta said last of `upload.graph_version`; empty while it says nothing."""
        self._around: dict[str, Surroundings] = {}
        for name, destination in destinations.items():
            token_pace = paces.setdefault(destination.access_token.reveal(), Pace())
            self._around[name] = Surroundings(
                destination=destination,
                shape=CallShape(destination),
                transport=transport(destination),
                token=Token(destination.access_token, name),
                token_pace=token_pace,
                spool=spool,
                ledger=ledger,
                wall=wall,
                random=self._random,
                warnings=self.version_warnings,
            )
        # Only the loop's thread touches these.
        self._lanes: dict[Lane, LaneUploader] = {}
        self._idle_since: dict[Lane, float] = {}
        self._group: asyncio.TaskGroup | None = None  # while `run` runs
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._draining = False
        self._stopped = asyncio.Event()
        self.orphans: Sequence[Backlog] = ()
        """What waits for destinations that are not in the settings: kept, and never touched."""

    def recovered(self, backlogs: Sequence[Backlog]) -> None:
        """What earlier processes left in the spool."""
        self.orphans = [one for one in backlogs if one.lane.destination not in self._around and one.events]
        for orphan in self.orphans:
            log.warning(
                "%d events wait for a destination that is not in the settings; they are kept",
                orphan.events,
                extra={"lane": str(orphan.lane)},
            )
        for backlog in backlogs:
            if backlog.lane.destination in self._around and backlog.events:
                self._ledger.lanes[backlog.lane].recovered += backlog.events
                self._lane(backlog.lane).buffer.recovered(backlog)

    def stored(self, chunks: Sequence[StoredChunk]) -> None:
        """Chunks became durable. Runs once a commit."""
        for stored in chunks:
            chunk = stored.chunk
            self._ledger.lanes[chunk.lane].accepted += chunk.count
            self._lane(chunk.lane).buffer.stored(chunk.count, len(chunk.payload))

    def room(self, lane: Lane) -> tuple[int, int]:
        """Events and bytes that the batch which the lane is filling still takes."""
        found = self._lanes.get(lane)
        if found is not None:
            return found.buffer.room
        limits = self._limits[lane.destination]
        return limits.max_events, limits.max_bytes

    def waiting_bytes(self, lane: Lane) -> int:
        """Of the lane's events that wait for their turn."""
        found = self._lanes.get(lane)
        return found.buffer.statistics().bytes if found is not None else 0

    async def run(self) -> None:
        """Carry all lanes until `stop`."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for lane in self._lanes.values():
                    self._start(lane)
                while not self._stopped.is_set():
                    await self._sweep()
                for task in list(self._tasks.values()):
                    task.cancel()
        finally:
            self._group = None

    def drain(self) -> None:
        """Everything is due now; the age of events counts no more."""
        self._draining = True
        for lane in self._lanes.values():
            lane.drain()

    async def drained(self) -> None:
        """Return when every lane has carried what it had, or is blocked; at once when there is nothing."""
        while tasks := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(tasks)

    def resume(self, lane: Lane | None = None) -> int:
        """Let a blocked lane, or all of them, try at once; how many were blocked."""
        chosen = [found for name, found in self._lanes.items() if lane in {None, name}]
        return sum(found.resume() for found in chosen)

    async def stop(self) -> None:
        """End at once. What was not settled stays in the spool."""
        self._stopped.set()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for around in self._around.values():
            await around.transport.close()

    def statistics(self) -> Sequence[LaneStatistics]:
        """A snapshot of every lane."""
        return [lane.statistics() for lane in self._lanes.values()]

    def _lane(self, lane: Lane) -> LaneUploader:
        """The lane, with a task that carries it: one that was drained before goes on when more comes."""
        found = self._lanes.get(lane)
        if found is None:
            around = self._around[lane.destination]
            share = self._random.uniform(0.25, 1.0)
            buffer = Buffer(lane, self._limits[lane.destination], self._spool, self._wall, first_patience=share)
            found = self._lanes[lane] = LaneUploader(lane, buffer, around)
            if self._draining:
                found.drain()
        self._start(found)
        return found

    def _start(self, lane: LaneUploader) -> None:
        if self._group is None or self._stopped.is_set() or lane.lane in self._tasks:
            return
        task = self._group.create_task(self._carry(lane), name=f"lane {lane.lane}")
        self._tasks[lane.lane] = task
        task.add_done_callback(lambda _: self._ended(lane, task))

    def _ended(self, lane: LaneUploader, task: asyncio.Task[None]) -> None:
        if self._tasks.get(lane.lane) is task:
            del self._tasks[lane.lane]
            # What came while it was ending.
            if not task.cancelled() and lane.buffer.statistics().events and not lane.is_hopeless:
                self._start(lane)

    async def _carry(self, lane: LaneUploader) -> None:
        """One lane, for its life. A defect in it is told, and neither ends the others nor loses what it had in hand."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                await lane.run()
            except Exception:
                failures = 1 if loop.time() - began > LONG else failures + 1
                log.exception("a lane failed and starts again", extra={"lane": str(lane.lane)})
                await asyncio.sleep(pause(failures, 1.0, 60.0, self._random))
                lane.buffer.rewind(self._ledger.lanes[lane.lane].waiting)
            else:
                return

    async def _sweep(self) -> None:
        """Drop what was idle for long, now and then."""
        try:
            async with asyncio.timeout(IDLE / 10):
                await self._stopped.wait()
        except TimeoutError:
            now = asyncio.get_running_loop().time()
            for lane, found in list(self._lanes.items()):
                if not found.is_idle:
                    self._idle_since.pop(lane, None)
                elif now - self._idle_since.setdefault(lane, now) >= IDLE:
                    self._drop(lane)

    def _drop(self, lane: Lane) -> None:
        """Forget an idle lane. Should more come of it, even now, that is a new one with a task of its own."""
        task = self._tasks.pop(lane, None)
        if task is not None:
            task.cancel()
        del self._lanes[lane], self._idle_since[lane]
        account = self._ledger.lanes.pop(lane)
        self._ledger.lanes[Lane(lane.destination, lane.event_set, "")].add(account)
