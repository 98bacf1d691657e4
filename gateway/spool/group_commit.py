"""Group commit: all requests that arrived during the last commit are stored in one transaction.

The events are cut into chunks at batch boundaries, so that batches of whole chunks are full. Mapping and routing are
done before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from gateway.memory_budget import MemoryBudget
from gateway.model import (
    EVENT_SEPARATOR,
    BatchLimits,
    Chunk,
    DeadLetter,
    GatewayError,
    Lane,
    MappedRun,
    StoredChunk,
    join_events,
    split_events,
)
from gateway.spool.protocol import Spool, SpoolFull, SpoolUnavailable
from gateway.spool.size_accounting import size_of

log = logging.getLogger("gateway.spool")

COMMIT_BYTES = 8 * 2**20
"""Size of a commit beyond which no further request is added: it bounds the time of the transaction and of joining the
events before it."""

MAX_LINGER = 0.002
"""Longest time, in seconds, for which a commit waits for requests that are being read already. The more requests share
a commit, the less it costs each of them."""

PROBE_SECONDS = 10.0
"""Seconds after a failed commit, if no other follows, after which an empty one shows whether the spool works again."""
STALL_SECONDS = 10.0
"""Duration of a commit after which the disk counts as not responding: further requests are rejected."""

RUN_OVERHEAD = 400
"""Bytes of memory that a waiting run takes in addition to its payload, rounded up: it has 300 for its objects and its
places in the lists of its request and of its lane."""

_NOTHING_RETAGGED: Mapping[Lane, int] = {}


class CommitQueueFull(GatewayError):
    """The request was rejected because there is no memory for its events. Retry when the current commit ends."""


@dataclass(slots=True)
class _PendingRequest:
    """A request that waits for its commit."""

    runs: Sequence[MappedRun]
    letters: Sequence[DeadLetter]
    size: int
    """Bytes that are reserved for it, until it is resolved."""
    retagged: Mapping[Lane, int]
    """Events that were moved to a lane with the default upload tag, by that lane."""
    on_durable: Callable[[], None]
    done: asyncio.Future[None]


class LaneRegistry(Protocol):
    """The lanes as the group commit uses them. Every method is called on the event loop's thread."""

    def batch_limits(self, lane: Lane) -> BatchLimits:
        """Return the limits of the lane's batches."""
        ...

    def remaining(self, lane: Lane) -> tuple[int, int]:
        """Return the events and bytes that still fit into the lane's current batch."""
        ...

    def admit(self, lane: Lane) -> Lane:
        """Return the lane under which events of `lane` are stored.

        Either the lane itself or, when the limit of lanes is reached, the one with the destination's default tag.
        """
        ...

    def retagged(self, lane: Lane, events: int) -> None:
        """Count events that became durable under a lane with the default tag instead of their own."""
        ...

    def over_quota(self, lane: Lane) -> str | None:
        """Return why the lane may not store more events for now, or None.

        The quota prevents a lane that is not delivered from filling the spool.
        """
        ...

    def stored(self, chunks: Sequence[StoredChunk]) -> None:
        """Register chunks that became durable. Called before any of their senders gets a response."""
        ...


class GroupCommitter:
    """Stores the events of many requests in one transaction."""

    __slots__ = (
        "_budget",
        "_closing",
        "_commit_started_at",
        "_failure",
        "_has_pending",
        "_lanes",
        "_loop",
        "_pending",
        "_spool",
    )

    def __init__(self, spool: Spool, lanes: LaneRegistry, budget: MemoryBudget) -> None:
        """`budget`: the memory for waiting events, which other parts of the process share."""
        self._loop = asyncio.get_running_loop()
        self._spool = spool
        self._lanes = lanes
        self._budget = budget
        # Only the event loop's thread uses these: `commit` appends at the right, `run` pops from the left.
        self._pending: deque[_PendingRequest] = deque()
        self._has_pending = asyncio.Event()  # set while `_pending` is not empty, and when closing
        self._closing = False  # set once; from then on requests are rejected
        self._failure: str | None = None  # why the last commit failed; None after a successful one
        self._commit_started_at: float | None = None  # loop time; None while no commit runs

    @property
    def unavailable_reason(self) -> str | None:
        """Why events cannot be stored at present; None if the last commit succeeded."""
        return self._stall or self._failure

    @property
    def _stall(self) -> str | None:
        """The commit that has been running for too long."""
        if self._commit_started_at is None:
            return None
        seconds = self._loop.time() - self._commit_started_at
        if seconds < STALL_SECONDS:
            return None
        return f"the disk has not completed a commit for {seconds:.0f} seconds; check its health and its load"

    def commit(
        self,
        runs: Sequence[MappedRun],
        letters: Sequence[DeadLetter],
        on_durable: Callable[[], None] = lambda: None,
    ) -> asyncio.Future[None]:
        """Add a request to the next commit; the future is done when all of the request is durable.

        `on_durable` is called then, on the event loop, even if the future was cancelled.
        Raises `CommitQueueFull`, `SpoolFull` or `SpoolUnavailable`, at once or from the future; nothing is stored then.
        """
        if self._closing:
            raise SpoolUnavailable("the gateway is stopping; send the request again to its successor")
        if stall := self._stall:
            raise SpoolUnavailable(f"{stall}. Send the request again")
        size = len(runs) * RUN_OVERHEAD
        admitted: dict[Lane, Lane] = {}
        is_retagged = False
        for run in runs:
            size += len(run.payload)
            lane = run.lane
            if lane not in admitted:
                admitted[lane] = stored_under = self._admit(lane)
                is_retagged = is_retagged or stored_under is not lane
        if letters:
            size += size_of([], letters)
        if not self._budget.reserve(size):
            raise CommitQueueFull(
                "the memory for requests is used up (server.max_memory), since they arrive faster than they are "
                "stored; send the request again"
            )
        retagged = _NOTHING_RETAGGED
        if is_retagged:
            runs, retagged = _retag(runs, admitted)
        done = self._loop.create_future()
        self._pending.append(_PendingRequest(runs, letters, size, retagged, on_durable, done))
        self._has_pending.set()
        return done

    def _admit(self, lane: Lane) -> Lane:
        """Return the lane under which events of `lane` are stored. Raises `SpoolFull` when it is over its quota."""
        lane = self._lanes.admit(lane)
        if reason := self._lanes.over_quota(lane):
            raise SpoolFull(reason)
        return lane

    async def run(self) -> None:
        """Commit until `close` was called and no request is pending."""
        try:
            while True:
                await self._wait()
                await self._linger()
                group = self._take_group()
                if not group:
                    return
                await self._commit_group(group)
        finally:
            self._closing = True
            while self._pending:
                self._resolve(
                    self._pending.popleft(),
                    SpoolUnavailable("the gateway stopped before the events were stored; send the request again"),
                )

    async def _wait(self) -> None:
        """Wait for a request. After a failed commit, find out at intervals whether the spool works again."""
        while self._failure and not self._has_pending.is_set():
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._has_pending.wait()
            except TimeoutError:
                with suppress(GatewayError):
                    await self._append([], [])
        await self._has_pending.wait()

    async def _append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        self._commit_started_at = self._loop.time()
        try:
            stored = await self._spool.append(chunks, letters)
        except Exception as error:
            self._failure = str(error)
            raise
        finally:
            self._commit_started_at = None
        self._failure = None
        return stored

    def close(self) -> None:
        """Reject further requests; `run` returns when the pending requests are durable."""
        self._closing = True
        self._has_pending.set()

    async def _linger(self) -> None:
        """Yield to the event loop while each iteration adds a request, for at most `MAX_LINGER`."""
        deadline = self._loop.time() + MAX_LINGER
        count = 0
        while count != len(self._pending) and self._loop.time() < deadline:
            count = len(self._pending)
            await asyncio.sleep(0)

    def _take_group(self) -> list[_PendingRequest]:
        group: list[_PendingRequest] = []
        size = 0
        pending = self._pending
        while pending and (not group or size + pending[0].size <= COMMIT_BYTES):
            request = pending.popleft()
            size += request.size
            group.append(request)
        if not pending and not self._closing:
            self._has_pending.clear()
        return group

    async def _commit_group(self, group: list[_PendingRequest]) -> None:
        try:
            chunks = self._cut_group(group)
            stored = await self._append(chunks, [letter for request in group for letter in request.letters])
        except GatewayError as error:
            log.warning("commit failed, its requests were rejected: %s", error, extra={"requests": len(group)})
            for request in group:
                self._resolve(request, type(error)(*error.args))
            return
        except Exception:
            # A bug. The event that causes it must not affect the requests that share the commit by chance.
            if len(group) > 1:
                for request in group:
                    await self._commit_group([request])
                return
            log.exception("a request could not be stored because of a bug. Please report the traceback")
            self._resolve(group[0], SpoolUnavailable("the events could not be stored; send the request again"))
            return
        except BaseException:
            # The task was cancelled: the senders must get a response all the same.
            for request in group:
                self._resolve(
                    request, SpoolUnavailable("the gateway stopped before the events were stored; send them again")
                )
            raise
        self._lanes.stored(stored)
        for request in group:
            try:
                for lane, events in request.retagged.items():
                    self._lanes.retagged(lane, events)
                request.on_durable()
            except Exception:
                # A bug in the callback. The events are durable, and the other senders must get their responses.
                log.exception("callback of a committed request failed; its events are durable but may not be counted")
            self._resolve(request, None)

    def _resolve(self, request: _PendingRequest, error: Exception | None) -> None:
        """Release the memory of a request, and complete its future unless it was cancelled."""
        self._budget.release(request.size)
        if request.done.done():
            return
        if error is None:
            request.done.set_result(None)
        else:
            request.done.set_exception(error)

    def _cut_group(self, group: list[_PendingRequest]) -> list[Chunk]:
        """Return the events of the requests as chunks, lane by lane, in the order of arrival. Runs once a commit."""
        by_lane: dict[Lane, list[MappedRun]] = {}
        for request in group:
            for run in request.runs:
                lane_runs = by_lane.get(run.lane)
                if lane_runs is None:
                    by_lane[run.lane] = [run]
                else:
                    lane_runs.append(run)
        chunks: list[Chunk] = []
        for lane, runs in by_lane.items():
            chunks += cut_into_chunks(lane, runs, self._lanes.remaining(lane), self._lanes.batch_limits(lane))
        return chunks


def cut_into_chunks(
    lane: Lane, runs: Sequence[MappedRun], remaining: tuple[int, int], limits: BatchLimits
) -> list[Chunk]:
    """Return runs as chunks: the first fits `remaining` (events, bytes), the others fit the limits of a batch.

    A run that does not fit is divided. When not even the first event fits `remaining`, the first chunk fits the limits
    instead. An event that alone exceeds the byte limit is a chunk of its own.
    """
    cutter = _ChunkCutter(lane, remaining, limits)
    for run in runs:
        if run.events == 1 or cutter.fits(run):
            cutter.add(run)
        else:
            for event in split_events(run.payload):
                cutter.add(run._replace(events=1, payload=event))
    cutter.end_chunk()
    return cutter.chunks


class _ChunkCutter:
    """Collects runs of one lane into chunks."""

    __slots__ = ("_bytes", "_events", "_lane", "_limits", "_runs", "chunks")

    def __init__(self, lane: Lane, remaining: tuple[int, int], limits: BatchLimits) -> None:
        self._lane = lane
        self._limits = limits
        self._runs: list[MappedRun] = []  # of the current chunk
        self._events, self._bytes = remaining  # that still fit into it, each byte count with a separator
        self._bytes += len(EVENT_SEPARATOR)
        self.chunks: list[Chunk] = []

    def fits(self, run: MappedRun) -> bool:
        """Whether the run fits into the current chunk as a whole."""
        return run.events <= self._events and len(run.payload) + len(EVENT_SEPARATOR) <= self._bytes

    def add(self, run: MappedRun) -> None:
        """Add a run that fits, or a single event: to the current chunk or to a new one."""
        if not self.fits(run):
            if self._runs:
                self.end_chunk()
            else:
                self._start_chunk()
        self._runs.append(run)
        self._events -= run.events
        self._bytes -= len(run.payload) + len(EVENT_SEPARATOR)

    def end_chunk(self) -> None:
        """Complete the current chunk, unless it is empty, and start the next one."""
        runs = self._runs
        if len(runs) == 1:
            (run,) = runs
            self.chunks.append(Chunk(self._lane, run.events, run.expires_at, run.payload))
        elif runs:
            _, counts, expiries, payloads = zip(*runs, strict=True)
            self.chunks.append(Chunk(self._lane, sum(counts), min(expiries), join_events(payloads)))
        self._start_chunk()

    def _start_chunk(self) -> None:
        self._runs = []
        self._events = self._limits.max_events
        self._bytes = self._limits.max_bytes + len(EVENT_SEPARATOR)


def _retag(runs: Sequence[MappedRun], admitted: Mapping[Lane, Lane]) -> tuple[Sequence[MappedRun], Mapping[Lane, int]]:
    """Move runs to the lanes that were admitted for them, and count the events that were moved, by their new lane."""
    moved: list[MappedRun] = []
    counts: Counter[Lane] = Counter()
    for run in runs:
        lane = admitted[run.lane]
        if lane == run.lane:
            moved.append(run)
        else:
            moved.append(run._replace(lane=lane))
            counts[lane] += run.events
    return moved, counts
