"""Group commit: all requests that arrived during the last commit are stored in one transaction.

The events are cut into chunks at batch boundaries, so that batches of whole chunks are full. Mapping and routing are
done before.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Protocol

from gateway.model import (
    EVENT_SEPARATOR,
    BatchLimits,
    Chunk,
    DeadLetter,
    GatewayError,
    Lane,
    MappedEvent,
    StoredChunk,
    join_events,
)
from gateway.spool.protocol import Spool, SpoolFull, SpoolUnavailable

log = logging.getLogger("gateway.spool")

_EXPIRES_AT = attrgetter("expires_at")
_BODY = attrgetter("body")

COMMIT_BYTES = 8 * 2**20
"""Size of a commit beyond which no further request is added: it bounds the time of the transaction and of joining the
events before it."""

MAX_LINGER = 0.002
"""Longest time, in seconds, for which a commit waits for requests that are being read already. The more requests share
a commit, the less it costs each of them."""

NOT_READY_SECONDS = 10.0
"""Seconds for which the gateway reports that it is not ready after a failed commit."""


class CommitQueueFull(GatewayError):
    """The request was rejected because too many bytes wait for the next commit. Retry when the current commit ends."""


@dataclass(slots=True)
class _PendingRequest:
    """A request that waits for its commit."""

    mapped: Sequence[MappedEvent]
    letters: Sequence[DeadLetter]
    size: int
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
        "_closing",
        "_has_pending",
        "_lanes",
        "_last_failure",
        "_loop",
        "_max_pending",
        "_pending",
        "_pending_bytes",
        "_spool",
    )

    def __init__(
        self,
        spool: Spool,
        lanes: LaneRegistry,
        *,
        max_pending_bytes: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._spool = spool
        self._lanes = lanes
        self._max_pending = max_pending_bytes
        # Only the event loop's thread uses these: `commit` appends at the right, `run` pops from the left.
        self._pending: deque[_PendingRequest] = deque()
        self._pending_bytes = 0  # of `_pending`, without the current commit
        self._has_pending = asyncio.Event()  # set while `_pending` is not empty, and when closing
        self._closing = False  # set once; from then on requests are rejected
        self._last_failure: tuple[float, str] | None = None  # loop time and reason; None after a successful commit

    @property
    def unavailable_reason(self) -> str | None:
        """Why the last commit failed; None after `NOT_READY_SECONDS`, so that senders are routed here and retry."""
        if self._last_failure and self._loop.time() - self._last_failure[0] < NOT_READY_SECONDS:
            return self._last_failure[1]
        return None

    @property
    def pending_bytes(self) -> int:
        """Bytes of mapped events that wait for the next commit."""
        return self._pending_bytes

    def commit(
        self,
        mapped: Sequence[MappedEvent],
        letters: Sequence[DeadLetter],
        on_durable: Callable[[], None] = lambda: None,
    ) -> asyncio.Future[None]:
        """Add a request to the next commit; the future is done when all of the request is durable.

        `on_durable` is called then, on the event loop, even if the future was cancelled.
        Raises `CommitQueueFull`, `SpoolFull` or `SpoolUnavailable`, at once or from the future; nothing is stored then.
        """
        if self._closing:
            raise SpoolUnavailable("the gateway is stopping; send the request again to its successor")
        size = 0
        lane: Lane | None = None
        checked_lanes: set[Lane] = set()
        for event in mapped:
            size += len(event.body)
            if event.lane is not lane:
                lane = event.lane
                if lane not in checked_lanes:
                    checked_lanes.add(lane)
                    if reason := self._lanes.over_quota(lane):
                        raise SpoolFull(reason)
        for letter in letters:
            size += len(letter.event or b"")
        if self._pending_bytes + size > self._max_pending and self._pending:
            raise CommitQueueFull(
                f"{self._pending_bytes} bytes wait for the next commit and spool.max_pending_bytes is "
                f"{self._max_pending}; send the request again"
            )
        self._pending_bytes += size
        done = self._loop.create_future()
        self._pending.append(_PendingRequest(mapped, letters, size, on_durable, done))
        self._has_pending.set()
        return done

    async def run(self) -> None:
        """Commit until `close` was called and no request is pending."""
        try:
            while True:
                await self._has_pending.wait()
                await self._linger()
                group = self._take_group()
                if not group:
                    return
                await self._commit_group(group)
        finally:
            self._closing = True
            for request in self._pending:
                _resolve(
                    request.done,
                    SpoolUnavailable("the gateway stopped before the events were stored; send the request again"),
                )

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
        self._pending_bytes -= size
        if not pending and not self._closing:
            self._has_pending.clear()
        return group

    async def _commit_group(self, group: list[_PendingRequest]) -> None:
        try:
            chunks = self._cut_group(group)
            stored = await self._spool.append(chunks, [letter for request in group for letter in request.letters])
        except GatewayError as error:
            self._last_failure = (self._loop.time(), str(error))
            log.warning("commit failed, its requests were rejected: %s", error, extra={"requests": len(group)})
            for request in group:
                _resolve(request.done, type(error)(*error.args))
            return
        except BaseException:
            # A bug, or the task was cancelled: the senders must get a response all the same.
            for request in group:
                _resolve(request.done, SpoolUnavailable("the events could not be stored; send the request again"))
            raise
        self._last_failure = None
        self._lanes.stored(stored)
        for request in group:
            try:
                request.on_durable()
            except Exception:
                # A bug in the callback. The events are durable, and the other senders must get their responses.
                log.exception("callback of a committed request failed; its events are durable but may not be counted")
            _resolve(request.done, None)

    def _cut_group(self, group: list[_PendingRequest]) -> list[Chunk]:
        """Return the events of the requests as chunks, lane by lane, in the order of arrival. Runs once a commit."""
        by_lane: dict[Lane, list[MappedEvent]] = {}
        lane: Lane | None = None
        events: list[MappedEvent] = []
        for request in group:
            for event in request.mapped:
                if event.lane is not lane:
                    lane = event.lane
                    lane_events = by_lane.get(lane)
                    if lane_events is None:
                        by_lane[lane] = lane_events = []
                    events = lane_events
                events.append(event)
        chunks: list[Chunk] = []
        for lane, events in by_lane.items():
            chunks += cut_into_chunks(lane, events, self._lanes.remaining(lane), self._lanes.batch_limits(lane))
        return chunks


def cut_into_chunks(
    lane: Lane, events: Sequence[MappedEvent], remaining: tuple[int, int], limits: BatchLimits
) -> list[Chunk]:
    """Return events as chunks: the first fits `remaining` (events, bytes), the others fit the limits of a batch.

    When not even the first event fits `remaining`, the first chunk fits the limits instead. An event that alone exceeds
    the byte limit is a chunk of its own.
    """
    chunks: list[Chunk] = []
    remaining_events, remaining_bytes = remaining
    start = 0
    size = -len(EVENT_SEPARATOR)  # of the joined events, which have one separator less than there are events
    for index, event in enumerate(events):
        grown = size + len(event.body) + len(EVENT_SEPARATOR)
        if index > start and (index - start >= remaining_events or grown > remaining_bytes):
            chunks.append(_chunk(lane, events[start:index]))
            start, grown = index, len(event.body)
            remaining_events, remaining_bytes = limits.max_events, limits.max_bytes
        elif index == start and not chunks and (remaining_events < 1 or grown > remaining_bytes):
            remaining_events, remaining_bytes = limits.max_events, limits.max_bytes
        size = grown
    if start < len(events):
        chunks.append(_chunk(lane, events[start:]))
    return chunks


def _chunk(lane: Lane, events: Sequence[MappedEvent]) -> Chunk:
    if len(events) == 1:
        (event,) = events
        return Chunk(lane, 1, event.expires_at, event.body)
    return Chunk(lane, len(events), min(map(_EXPIRES_AT, events)), join_events(map(_BODY, events)))


def _resolve(done: asyncio.Future[None], error: Exception | None) -> None:
    """Complete the future of a request, unless it was cancelled."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
