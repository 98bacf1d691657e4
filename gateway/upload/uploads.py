"""All lanes of a process: made when their first event comes, each with a task of its own, dropped when long idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random, SystemRandom

from gateway.buffer import Buffer
from gateway.config import DestinationSettings
from gateway.model import Backlog, BatchLimits, Lane, StoredChunk, UnixSeconds
from gateway.recent import Memory
from gateway.spool import Spool
from gateway.telemetry import LaneStatistics, Ledger
from gateway.telemetry.webhook import Alert
from gateway.upload.backoff import pause
from gateway.upload.caller import Surroundings
from gateway.upload.graph import CallShape, HttpTransport, Transport
from gateway.upload.lane import LaneUploader
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
        notify: Callable[[Alert], None] = lambda _: None,
        share: float = 1.0,
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._wall = wall
        self._random = random or SystemRandom()
        self._transport = transport
        self._notify = notify
        self._share = share  # of every lane's pace, where processes share it
        self._paces: dict[str, Pace] = {}  # by token
        self.version_warnings: dict[str, str] = {}
        """By destination, what Meta said last of `upload.graph_version`; empty while it says nothing."""
        self._around = {name: self._surroundings(name, one) for name, one in destinations.items()}
        self._retired: set[asyncio.Task[None]] = set()  # transports that still carry calls of earlier settings
        # Only the loop's thread touches these.
        self._lanes: dict[Lane, LaneUploader] = {}
        self._memory = Memory()
        self._idle_since: dict[Lane, float] = {}
        self._group: asyncio.TaskGroup | None = None  # while `run` runs
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._draining = False
        self._stopped = asyncio.Event()
        self.orphans: Sequence[Backlog] = ()
        """What waits for destinations that are not in the settings: kept, and never touched."""

    def recovered(self, backlogs: Sequence[Backlog]) -> None:
        """What earlier processes left in the spool."""
        self.orphans = [one for one in backlogs if one.events]
        self._adopt()
        for orphan in self.orphans:
            log.warning(
                "%d events wait for a destination that is not in the settings; they are kept",
                orphan.events,
                extra={"lane": str(orphan.lane)},
            )

    def _adopt(self) -> None:
        """Take what has a destination out of the orphans."""
        for backlog in self.orphans:
            if backlog.lane.destination in self._around:
                self._ledger.lanes[backlog.lane].recovered += backlog.events
                self._lane(backlog.lane).buffer.recovered(backlog)
        self.orphans = [one for one in self.orphans if one.lane.destination not in self._around]

    def stored(self, chunks: Sequence[StoredChunk]) -> None:
        """Chunks became durable. Runs once a commit."""
        for stored in chunks:
            chunk = stored.chunk
            self._ledger.lanes[chunk.lane].accepted += chunk.count
            self._lane(chunk.lane).buffer.stored(stored)

    def room(self, lane: Lane) -> tuple[int, int]:
        """Events and bytes that the batch which the lane is filling still takes."""
        found = self._lanes.get(lane)
        if found is not None:
            return found.buffer.room
        limits = self.limits(lane)
        return limits.max_events, limits.max_bytes

    def waiting_bytes(self, lane: Lane) -> int:
        """Of the lane's events that wait for their turn."""
        found = self._lanes.get(lane)
        return found.buffer.bytes if found is not None else 0

    def limits(self, lane: Lane) -> BatchLimits:
        """What a batch of the lane may hold."""
        return self._around[lane.destination].destination.limits

    def reload(self, destinations: Mapping[str, DestinationSettings]) -> None:
        """Go on with other settings. Calls that are under way end as they began.

        A destination that is not among them keeps its settings until what waits for it has left or the process ends.
        """
        for name, destination in destinations.items():
            around = self._around.get(name)
            if around is None:
                self._around[name] = self._surroundings(name, destination)
            elif around.destination != destination:
                self._change(around, name, destination)
        self._adopt()

    def _surroundings(self, name: str, destination: DestinationSettings) -> Surroundings:
        return Surroundings(
            destination=destination,
            shape=CallShape(destination),
            transport=self._transport(destination),
            token=Token(destination.access_token, name),
            token_pace=self._paces.setdefault(destination.access_token.reveal(), Pace()),
            spool=self._spool,
            ledger=self._ledger,
            wall=self._wall,
            random=self._random,
            warnings=self.version_warnings,
            notify=self._notify,
            share=self._share,
        )

    def _change(self, around: Surroundings, name: str, destination: DestinationSettings) -> None:
        before = around.destination.upload
        around.destination = destination
        around.shape = CallShape(destination)
        if destination.access_token.reveal() != around.token.current:
            around.token.replace(destination.access_token)
            around.token_pace = self._paces.setdefault(destination.access_token.reveal(), Pace())
        if destination.upload != before:
            self.version_warnings.pop(name, None)
            retiring = asyncio.create_task(_retire(around.transport, before.timeout), name="retiring transport")
            self._retired.add(retiring)
            retiring.add_done_callback(self._retired.discard)
            around.transport = self._transport(destination)
        for lane, found in self._lanes.items():
            if lane.destination == name:
                found.retune()
                found.resume()

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

    def resume(self, destination: str | None = None, event_set: str | None = None) -> int:
        """Let blocked lanes, all of them or those meant, try at once; how many were blocked."""
        return sum(
            found.resume()
            for lane, found in self._lanes.items()
            if destination in {None, lane.destination} and event_set in {None, lane.event_set}
        )

    async def stop(self) -> None:
        """End at once. What was not settled stays in the spool."""
        self._stopped.set()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for retiring in self._retired:
            retiring.cancel()
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
            limits = around.destination.limits
            buffer = Buffer(lane, limits, self._spool, self._wall, self._memory, first_patience=share)
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
            if not task.cancelled() and lane.buffer.events and not lane.is_hopeless:
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
        counts = self._ledger.lanes.pop(lane)
        self._ledger.lanes[Lane(lane.destination, lane.event_set, "")].add(counts)


async def _retire(transport: Transport, seconds: float) -> None:
    """Close a transport when the last call that it may carry is over."""
    try:
        await asyncio.sleep(seconds)
    finally:
        await transport.close()
