"""All lanes of a process: made when their first event comes, each with a task of its own, dropped when long idle."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random, SystemRandom

from gateway.backoff import backoff_delay
from gateway.config import DestinationSettings
from gateway.delivery.batcher import LaneBatcher
from gateway.delivery.lane import LaneWorker
from gateway.delivery.rate_limit import TokenRateLimiter
from gateway.delivery.sender import DestinationContext
from gateway.delivery.tail_cache import MemoryBudget
from gateway.delivery.transport import HttpTransport, Transport
from gateway.meta import AccessToken, RequestBuilder
from gateway.model import Backlog, BatchLimits, Lane, StoredChunk, UnixSeconds
from gateway.spool import Spool
from gateway.telemetry import LaneStatistics, Ledger
from gateway.telemetry.webhook import Alert

log = logging.getLogger("gateway.delivery")

IDLE_SECONDS = 600.0
"""Seconds after which a lane without events is dropped from memory: an upload tag for each event must not add up."""
STABLE_SECONDS = 300.0
"""Seconds that a lane ran without a defect for the next one to count as its first."""


class DeliveryService:
    """The lanes. `stored` and `room` are called on the loop, once a commit and once a chunk."""

    def __init__(
        self,
        destinations: Mapping[str, DestinationSettings],
        spool: Spool,
        ledger: Ledger,
        *,
        transport: Callable[[DestinationSettings], Transport] = HttpTransport,
        clock: Callable[[], UnixSeconds] = time.time,
        random: Random | None = None,
        notify: Callable[[Alert], None] = lambda _: None,
        rate_share: float = 1.0,
        lane_quota: int = 2**63,
    ) -> None:
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._random = random or SystemRandom()
        self._transport = transport
        self._notify = notify
        self._lane_quota = lane_quota
        self._rate_share = rate_share  # of every lane's pace, where processes share it
        self._rate_limiters: dict[str, TokenRateLimiter] = {}  # by token
        self.version_warnings: dict[str, str] = {}
        """By destination, what Meta said last of `upload.graph_version`; empty while it says nothing."""
        self._contexts = {name: self._context_for(name, one) for name, one in destinations.items()}
        self._retired: set[asyncio.Task[None]] = set()  # transports that still carry calls of earlier settings
        # Only the loop's thread touches these.
        self._lanes: dict[Lane, LaneWorker] = {}
        self._budget = MemoryBudget()
        self._idle_since: dict[Lane, float] = {}
        self._group: asyncio.TaskGroup | None = None  # while `run` runs
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._draining = False
        self._stopped = asyncio.Event()
        self.orphans: Sequence[Backlog] = ()
        """What waits for destinations that are not in the settings: kept, and never touched."""

    def recover(self, backlogs: Sequence[Backlog]) -> None:
        """What earlier processes left in the spool."""
        self.orphans = [one for one in backlogs if one.events]
        self._recover_known()
        for orphan in self.orphans:
            log.warning(
                "%d events wait for a destination that is not in the settings; they are kept",
                orphan.events,
                extra={"lane": str(orphan.lane)},
            )

    def _recover_known(self) -> None:
        """Take what has a destination out of the orphans."""
        for backlog in self.orphans:
            if backlog.lane.destination in self._contexts:
                self._ledger.lanes[backlog.lane].recovered += backlog.events
                self._lane(backlog.lane).batcher.recover(backlog)
        self.orphans = [one for one in self.orphans if one.lane.destination not in self._contexts]

    def stored(self, chunks: Sequence[StoredChunk]) -> None:
        """Chunks became durable. Runs once a commit."""
        for stored in chunks:
            chunk = stored.chunk
            self._ledger.lanes[chunk.lane].accepted += chunk.count
            self._lane(chunk.lane).batcher.stored(stored)

    def remaining(self, lane: Lane) -> tuple[int, int]:
        """Events and bytes that the batch which the lane is filling still takes."""
        found = self._lanes.get(lane)
        if found is not None:
            return found.batcher.remaining
        limits = self.batch_limits(lane)
        return limits.max_events, limits.max_bytes

    def over_quota(self, lane: Lane) -> str | None:
        """Why the lane may not store more events for now; None: it may."""
        found = self._lanes.get(lane)
        waiting = found.batcher.bytes if found is not None else 0
        if waiting < self._lane_quota:
            return None
        return (
            f"{waiting} bytes are waiting for {lane}, which is its quota of the spool (spool.lane_quota). "
            "Send again later"
        )

    def batch_limits(self, lane: Lane) -> BatchLimits:
        """What a batch of the lane may hold."""
        return self._contexts[lane.destination].destination.limits

    def reload(self, destinations: Mapping[str, DestinationSettings]) -> None:
        """Go on with other settings. Calls that are under way end as they began.

        A destination that is not among them keeps its settings until what waits for it has left or the process ends.
        """
        for name, destination in destinations.items():
            context = self._contexts.get(name)
            if context is None:
                self._contexts[name] = self._context_for(name, destination)
            elif context.destination != destination:
                self._change(context, name, destination)
        self._recover_known()

    def _context_for(self, name: str, destination: DestinationSettings) -> DestinationContext:
        return DestinationContext(
            destination=destination,
            request_builder=RequestBuilder(destination),
            transport=self._transport(destination),
            token=AccessToken(destination.access_token, name),
            rate_limiter=self._rate_limiters.setdefault(destination.access_token.reveal(), TokenRateLimiter()),
            spool=self._spool,
            ledger=self._ledger,
            clock=self._clock,
            random=self._random,
            warnings=self.version_warnings,
            notify=self._notify,
            rate_share=self._rate_share,
        )

    def _change(self, context: DestinationContext, name: str, destination: DestinationSettings) -> None:
        before = context.destination.upload
        context.destination = destination
        context.request_builder = RequestBuilder(destination)
        if destination.access_token.reveal() != context.token.current:
            context.token.replace(destination.access_token)
            context.rate_limiter = self._rate_limiters.setdefault(destination.access_token.reveal(), TokenRateLimiter())
        if destination.upload != before:
            self.version_warnings.pop(name, None)
            retiring = asyncio.create_task(_retire(context.transport, before.timeout), name="retiring transport")
            self._retired.add(retiring)
            retiring.add_done_callback(self._retired.discard)
            context.transport = self._transport(destination)
        for lane, found in self._lanes.items():
            if lane.destination == name:
                found.apply_settings()
                found.probe_now()

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
            found.probe_now()
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
        for context in self._contexts.values():
            await context.transport.close()

    def statistics(self) -> Sequence[LaneStatistics]:
        """A snapshot of every lane."""
        return [lane.statistics() for lane in self._lanes.values()]

    def _lane(self, lane: Lane) -> LaneWorker:
        """The lane, with a task that carries it: one that was drained before goes on when more comes."""
        found = self._lanes.get(lane)
        if found is None:
            context = self._contexts[lane.destination]
            first_flush_fraction = self._random.uniform(0.25, 1.0)
            limits = context.destination.limits
            batcher = LaneBatcher(
                lane, limits, self._spool, self._clock, self._budget, first_flush_fraction=first_flush_fraction
            )
            found = self._lanes[lane] = LaneWorker(lane, batcher, context)
            if self._draining:
                found.drain()
        self._start(found)
        return found

    def _start(self, lane: LaneWorker) -> None:
        if self._group is None or self._stopped.is_set() or lane.lane in self._tasks:
            return
        task = self._group.create_task(self._run_lane(lane), name=f"lane {lane.lane}")
        self._tasks[lane.lane] = task
        task.add_done_callback(lambda _: self._ended(lane, task))

    def _ended(self, lane: LaneWorker, task: asyncio.Task[None]) -> None:
        if self._tasks.get(lane.lane) is task:
            del self._tasks[lane.lane]
            # What came while it was ending.
            if not task.cancelled() and lane.batcher.events and not lane.stays_open:
                self._start(lane)

    async def _run_lane(self, lane: LaneWorker) -> None:
        """One lane, for its life. A defect in it is told, and neither ends the others nor loses what it had in hand."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                await lane.run()
            except Exception:
                failures = 1 if loop.time() - began > STABLE_SECONDS else failures + 1
                log.exception("a lane failed and starts again", extra={"lane": str(lane.lane)})
                await asyncio.sleep(backoff_delay(failures, base=1.0, maximum=60.0, random=self._random))
                lane.batcher.rewind(self._ledger.lanes[lane.lane].waiting)
            else:
                return

    async def _sweep(self) -> None:
        """Drop what was idle for long, now and then."""
        try:
            async with asyncio.timeout(IDLE_SECONDS / 10):
                await self._stopped.wait()
        except TimeoutError:
            now = asyncio.get_running_loop().time()
            for lane, found in list(self._lanes.items()):
                if not found.is_idle:
                    self._idle_since.pop(lane, None)
                elif now - self._idle_since.setdefault(lane, now) >= IDLE_SECONDS:
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
