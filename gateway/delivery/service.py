"""Runs all lanes of a process.

A lane is created with its first event, has its own task, and is dropped from memory after it was idle for long.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random, SystemRandom

from gateway.backoff import backoff_delay
from gateway.config import DestinationSettings
from gateway.delivery.batcher import LaneBatcher
from gateway.delivery.concurrency import FairCallLimit
from gateway.delivery.lane import LaneWorker
from gateway.delivery.rate_limit import TokenRateLimiter
from gateway.delivery.sender import DestinationContext
from gateway.delivery.transport import HttpTransport, Transport
from gateway.memory_budget import MemoryBudget
from gateway.meta import AccessToken, RequestBuilder
from gateway.model import Backlog, BatchLimits, Lane, StoredChunk, UnixSeconds
from gateway.spool import Spool
from gateway.telemetry import LaneStatistics, Ledger
from gateway.telemetry.alerts import Alert
from gateway.trace import NoTrace, Tracer

log = logging.getLogger("gateway.delivery")

IDLE_SECONDS = 600.0
"""Seconds after which a lane without events is dropped from memory. A sender may use a new upload tag per event."""
LOG_INTERVAL = 60.0
"""Seconds between two log lines about the limit of lanes."""
STABLE_SECONDS = 300.0
"""Seconds without a failure after which the next failure of a lane counts as its first."""


class DeliveryService:
    """The lanes of a process. `stored` is called on the loop for each commit, `remaining` for each chunk."""

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
        budget: MemoryBudget,
        rate_share: float = 1.0,
        lane_quota: int = 2**63,
        max_lanes: int = 2**63,
        trace: Tracer | None = None,
    ) -> None:
        """`budget`: the memory that the tail caches share with the requests of senders.

        `lane_quota`: bytes that one lane may have waiting. `max_lanes`: lanes of this process, beyond which events with
        a new upload tag are stored under the default tag. `trace` receives what becomes of events.
        """
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._random = random or SystemRandom()
        self._transport = transport
        self._notify = notify
        self._trace = trace or NoTrace()
        self._lane_quota = lane_quota
        self._max_lanes = max_lanes
        self._rate_share = rate_share  # share of every lane's request rate, where several processes upload
        self._rate_limiters: dict[str, TokenRateLimiter] = {}  # by token
        self.version_warnings: dict[str, str] = {}
        """By destination, Meta's last warning about `upload.graph_version`."""
        self._contexts = {name: self._new_context(name, settings) for name, settings in destinations.items()}
        self._retired: set[asyncio.Task[None]] = set()  # each closes a replaced transport after its last calls
        # Only the loop's thread changes these.
        self._workers: dict[Lane, LaneWorker] = {}
        self._budget = budget
        budget.evict_with(self._clear_caches)
        self._lane_limit_logged_at = -math.inf  # loop time
        self._idle_since: dict[Lane, float] = {}
        self._group: asyncio.TaskGroup | None = None  # set while `run` runs
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._draining = False
        self._stopped = asyncio.Event()
        self.orphans: Sequence[Backlog] = ()
        """Events in the spool whose destination is not in the settings. They are kept."""

    def recover(self, backlogs: Sequence[Backlog]) -> None:
        """Continue with the events that earlier processes left in the spool."""
        self.orphans = [backlog for backlog in backlogs if backlog.events]
        self._recover_known()
        for orphan in self.orphans:
            log.warning(
                '%s events in the spool are for destination "%s", which is not in the settings; they are kept. '
                "Add the destination again to upload them, or remove them with `gateway spool discard`.",
                f"{orphan.events:,}",
                orphan.lane.destination,
                extra={"lane": str(orphan.lane)},
            )

    def _recover_known(self) -> None:
        """Recover the orphans whose destination is in the settings."""
        for backlog in self.orphans:
            if backlog.lane.destination in self._contexts:
                self._ledger.lanes[backlog.lane].recovered += backlog.events
                self._running_worker(backlog.lane).batcher.recover(backlog)
        self.orphans = [backlog for backlog in self.orphans if backlog.lane.destination not in self._contexts]

    def stored(self, chunks: Sequence[StoredChunk]) -> None:
        """Add chunks that became durable. Runs once for each commit."""
        self._trace.stored(chunks)
        for stored in chunks:
            chunk = stored.chunk
            self._ledger.lanes[chunk.lane].accepted += chunk.count
            self._running_worker(chunk.lane).batcher.stored(stored)

    def remaining(self, lane: Lane) -> tuple[int, int]:
        """Events and bytes that fit into the batch which the lane is filling."""
        worker = self._workers.get(lane)
        if worker is not None:
            return worker.batcher.remaining
        limits = self.batch_limits(lane)
        return limits.max_events, limits.max_bytes

    def admit(self, lane: Lane) -> Lane:
        """The lane under which events of `lane` are to be stored: the same, or the one with the default upload tag.

        A new lane is created here, so that `max_lanes` holds for any number of new lanes in one commit. Lanes with the
        default tag are always created, since the settings determine their number.
        """
        if lane in self._workers:
            return lane
        default_tag = self._contexts[lane.destination].destination.upload_tag
        if lane.upload_tag == default_tag or len(self._workers) < self._max_lanes:
            self._running_worker(lane)
            return lane
        self._log_lane_limit(lane)
        return Lane(lane.destination, lane.event_set, default_tag)

    def retagged(self, lane: Lane, events: int) -> None:
        """Count events that became durable under a lane with the default tag instead of their own."""
        self._ledger.retagged[lane.destination] += events

    def _log_lane_limit(self, lane: Lane) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._lane_limit_logged_at >= LOG_INTERVAL:
            self._lane_limit_logged_at = now
            log.warning(
                'events for destination "%s", dataset %s get the default upload tag: the limit of %d lanes in this '
                "process (spool.max_lanes) is reached. Use fewer upload tags at a time, or raise the limit",
                lane.destination,
                lane.event_set,
                self._max_lanes,
            )

    def over_quota(self, lane: Lane) -> str | None:
        """Why the lane may not store more events at present; None: it may."""
        worker = self._workers.get(lane)
        waiting = worker.batcher.bytes if worker is not None else 0
        if waiting < self._lane_quota:
            return None
        return (
            f"{waiting} bytes are waiting for {lane}, which is its quota of the spool (spool.lane_quota). "
            "Send again later"
        )

    def batch_limits(self, lane: Lane) -> BatchLimits:
        """The limits of a batch of the lane."""
        return self._contexts[lane.destination].destination.limits

    def reload(self, destinations: Mapping[str, DestinationSettings]) -> None:
        """Use these settings from now on. Calls that are in flight finish with the earlier ones.

        A destination that is missing from them keeps its earlier settings, and its waiting events are still uploaded.
        """
        for name, destination in destinations.items():
            context = self._contexts.get(name)
            if context is None:
                self._contexts[name] = self._new_context(name, destination)
            elif context.destination != destination:
                self._update_context(context, name, destination)
        self._forget_rate_limiters()
        self._recover_known()

    def _forget_rate_limiters(self) -> None:
        """Forget the learnt rates of tokens that no destination uses any more."""
        used = {id(context.rate_limiter) for context in self._contexts.values()}
        for token, limiter in list(self._rate_limiters.items()):
            if id(limiter) not in used:
                del self._rate_limiters[token]
                limiter.end_wait()  # calls that wait for it continue with the new token and its limiter

    def _new_context(self, name: str, destination: DestinationSettings) -> DestinationContext:
        return DestinationContext(
            destination=destination,
            request_builder=RequestBuilder(destination),
            transport=self._transport(destination),
            token=AccessToken(destination.access_token, name),
            rate_limiter=self._rate_limiters.setdefault(destination.access_token.reveal(), TokenRateLimiter()),
            call_limit=FairCallLimit(destination.upload.max_connections),
            spool=self._spool,
            ledger=self._ledger,
            clock=self._clock,
            random=self._random,
            warnings=self.version_warnings,
            notify=self._notify,
            trace=self._trace,
            rate_share=self._rate_share,
        )

    def _update_context(self, context: DestinationContext, name: str, destination: DestinationSettings) -> None:
        previous = context.destination.upload
        context.destination = destination
        context.request_builder = RequestBuilder(destination)
        context.call_limit.maximum = destination.upload.max_connections
        if destination.access_token.reveal() != context.token.current:
            context.token.replace(destination.access_token)
            context.rate_limiter = self._rate_limiters.setdefault(destination.access_token.reveal(), TokenRateLimiter())
        if destination.upload != previous:
            self.version_warnings.pop(name, None)
            closing = asyncio.create_task(_close_later(context.transport, previous.timeout), name="close transport")
            self._retired.add(closing)
            closing.add_done_callback(self._retired.discard)
            context.transport = self._transport(destination)
        for lane, worker in self._workers.items():
            if lane.destination == name:
                worker.apply_settings()
                worker.probe_now()

    async def run(self) -> None:
        """Deliver all lanes until `stop`."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                for worker in self._workers.values():
                    self._start(worker)
                while not self._stopped.is_set():
                    await self._drop_idle_lanes()
                for task in list(self._tasks.values()):
                    task.cancel()
        finally:
            self._group = None

    def drain(self) -> None:
        """Upload all waiting events at once, without waiting for full batches or `batch.max_age`."""
        self._draining = True
        for worker in self._workers.values():
            worker.drain()

    async def drained(self) -> None:
        """Wait until every lane has no more events or its circuit breaker stays open."""
        while tasks := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(tasks)

    def resume(self, destination: str | None = None, event_set: str | None = None) -> int:
        """Call at once for the lanes whose circuit breaker is open or that wait for Meta's rate limits.

        Filtered by destination and event set. Returns how many such lanes there are.
        """
        workers = [
            worker
            for lane, worker in self._workers.items()
            if destination in {None, lane.destination} and event_set in {None, lane.event_set} and worker.is_held_up
        ]
        for worker in workers:
            worker.resume()
        return len(workers)

    async def stop(self) -> None:
        """Stop at once. Events that are not acknowledged stay in the spool."""
        self._stopped.set()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for closing in self._retired:
            closing.cancel()
        for context in self._contexts.values():
            await context.transport.close()

    def statistics(self) -> Sequence[LaneStatistics]:
        """A snapshot of every lane."""
        return [worker.statistics() for worker in self._workers.values()]

    def _clear_caches(self) -> None:
        for worker in self._workers.values():
            worker.batcher.clear_cache()

    def _running_worker(self, lane: Lane) -> LaneWorker:
        """The worker of a lane, created if it is new, and started if it has no task, such as after it was drained."""
        worker = self._workers.get(lane)
        if worker is None:
            context = self._contexts[lane.destination]
            first_flush_fraction = self._random.uniform(0.25, 1.0)
            limits = context.destination.limits
            batcher = LaneBatcher(
                lane, limits, self._spool, self._clock, self._budget, first_flush_fraction=first_flush_fraction
            )
            worker = self._workers[lane] = LaneWorker(lane, batcher, context)
            if self._draining:
                worker.drain()
        self._start(worker)
        return worker

    def _start(self, worker: LaneWorker) -> None:
        if self._group is None or self._stopped.is_set() or worker.lane in self._tasks:
            return
        task = self._group.create_task(self._run_worker(worker), name=f"lane {worker.lane}")
        self._tasks[worker.lane] = task
        task.add_done_callback(lambda _: self._task_done(worker, task))

    def _task_done(self, worker: LaneWorker, task: asyncio.Task[None]) -> None:
        if self._tasks.get(worker.lane) is task:
            del self._tasks[worker.lane]
            # Events that were stored while the task ended.
            if not task.cancelled() and worker.batcher.events and not worker.stays_open:
                self._start(worker)

    async def _run_worker(self, worker: LaneWorker) -> None:
        """Run a lane. After an unexpected error, a bug, restart it from the spool; the other lanes are not affected."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            started_at = loop.time()
            try:
                await worker.run()
            except Exception:
                failures = 1 if loop.time() - started_at > STABLE_SECONDS else failures + 1
                delay = backoff_delay(failures, base=1.0, maximum=60.0, random=self._random)
                log.exception(
                    "a lane failed because of a bug; it restarts in %.1f s, and its events are kept. "
                    "Please report the traceback.",
                    delay,
                    extra={"lane": str(worker.lane)},
                )
                await asyncio.sleep(delay)
                worker.batcher.rewind(self._ledger.lanes[worker.lane].waiting)
            else:
                return

    async def _drop_idle_lanes(self) -> None:
        """Wait for a part of IDLE_SECONDS, then drop the lanes that have been idle for all of it."""
        try:
            async with asyncio.timeout(IDLE_SECONDS / 10):
                await self._stopped.wait()
        except TimeoutError:
            now = asyncio.get_running_loop().time()
            for lane, worker in list(self._workers.items()):
                if not worker.is_idle:
                    self._idle_since.pop(lane, None)
                elif now - self._idle_since.setdefault(lane, now) >= IDLE_SECONDS:
                    self._drop(lane)

    def _drop(self, lane: Lane) -> None:
        """Remove an idle lane from memory. If more events of it are stored, it is created again."""
        task = self._tasks.pop(lane, None)
        if task is not None:
            task.cancel()
        del self._workers[lane], self._idle_since[lane]
        counts = self._ledger.lanes.pop(lane)
        self._ledger.lanes[Lane(lane.destination, lane.event_set, "")].add(counts)


async def _close_later(transport: Transport, seconds: float) -> None:
    """Close a replaced transport after `seconds`, when its last calls have finished."""
    try:
        await asyncio.sleep(seconds)
    finally:
        await transport.close()
