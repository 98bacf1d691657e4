"""The group commit: everything that arrived while the last commit ran becomes durable in one transaction.

It cuts what arrived into chunks at batch boundaries, so that batches of whole chunks come out full. It decides nothing
about what an event is or where it goes.
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
"""A commit takes no more requests beyond this: it bounds the time of a transaction and of the joins before it."""

MAX_LINGER = 0.002
"""Seconds that a commit waits, at most, for requests that are being read already: the more share it, the less it costs
each, and while they all wait for it nobody is in its way."""

NOT_READY_SECONDS = 10.0
"""Seconds for which a refused commit makes the gateway say that it is not ready."""


class CommitQueueFull(GatewayError):
    """More waits for the next commit than may. Nothing was taken; it passes as soon as a commit ends."""


@dataclass(slots=True)
class _PendingRequest:
    """One request that waits for its commit."""

    mapped: Sequence[MappedEvent]
    letters: Sequence[DeadLetter]
    size: int
    durable: Callable[[], None]
    done: asyncio.Future[None]


class LaneRegistry(Protocol):
    """What the group commit asks of the lanes. Every method is called on the loop's thread."""

    def batch_limits(self, lane: Lane) -> BatchLimits:
        """What a batch of the lane may contain."""
        ...

    def remaining(self, lane: Lane) -> tuple[int, int]:
        """Events and bytes that still fit into the batch that the lane is filling."""
        ...

    def over_quota(self, lane: Lane) -> str | None:
        """Why the lane may not store more events for now: a lane that is not emptied must not fill the spool."""
        ...

    def stored(self, chunks: Sequence[StoredChunk]) -> None:
        """Chunks became durable. Called before any of their senders gets a response."""
        ...


class GroupCommitter:
    """Makes the events of many requests durable in one transaction."""

    __slots__ = (
        "_closing",
        "_has_pending",
        "_lanes",
        "_loop",
        "_max_pending",
        "_pending",
        "_pending_bytes",
        "_refused",
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
        # Only the loop's thread touches these: `commit` adds at the right, `run` takes from the left.
        self._pending: deque[_PendingRequest] = deque()
        self._pending_bytes = 0  # of `_pending`, the commit under way not included
        self._has_pending = asyncio.Event()  # set while `_pending` has something, or when closing
        self._closing = False  # set once; from then on nothing is taken
        self._refused: tuple[float, str] | None = None  # loop time and reason, when the last commit was refused

    @property
    def unavailable_reason(self) -> str | None:
        """Why the last commit was refused; forgotten after a while, so that senders come back and try."""
        if self._refused and self._loop.time() - self._refused[0] < NOT_READY_SECONDS:
            return self._refused[1]
        return None

    @property
    def pending_bytes(self) -> int:
        """Mapped events that wait for the next commit."""
        return self._pending_bytes

    def commit(
        self,
        mapped: Sequence[MappedEvent],
        letters: Sequence[DeadLetter],
        durable: Callable[[], None] = lambda: None,
    ) -> asyncio.Future[None]:
        """Take it for the next commit; the future is done when all of it is durable.

        `durable` is called then, on the loop, whether or not anybody still waits for the future.
        Raises `CommitQueueFull`, `SpoolFull` or `SpoolUnavailable`, at once or from the future; nothing is stored then.
        """
        if self._closing:
            raise SpoolUnavailable("the gateway is stopping; send again to its successor")
        size = 0
        lane: Lane | None = None
        asked: set[Lane] = set()
        for event in mapped:
            size += len(event.body)
            if event.lane is not lane:
                lane = event.lane
                if lane not in asked:
                    asked.add(lane)
                    if full := self._lanes.over_quota(lane):
                        raise SpoolFull(full)
        for letter in letters:
            size += len(letter.event or b"")
        if self._pending_bytes + size > self._max_pending and self._pending:
            raise CommitQueueFull(
                f"{self._pending_bytes} bytes wait for the next commit, at most {self._max_pending} may; send again"
            )
        self._pending_bytes += size
        done = self._loop.create_future()
        self._pending.append(_PendingRequest(mapped, letters, size, durable, done))
        self._has_pending.set()
        return done

    async def run(self) -> None:
        """Commit until `close` was called and nothing is left."""
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
                _resolve(request.done, SpoolUnavailable("the gateway stopped before it could keep the events"))

    def close(self) -> None:
        """Take nothing more; `run` returns when what was taken is durable."""
        self._closing = True
        self._has_pending.set()

    async def _linger(self) -> None:
        """Let the loop go round for as long as each round brings another request, within `LINGER`."""
        until = self._loop.time() + MAX_LINGER
        seen = 0
        while seen != len(self._pending) and self._loop.time() < until:
            seen = len(self._pending)
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
            self._refused = (self._loop.time(), str(error))
            log.warning("a commit was refused: %s", error, extra={"requests": len(group)})
            for request in group:
                _resolve(request.done, type(error)(*error.args))
            return
        except BaseException:
            # A defect, or the end of the task: no sender may hang for it.
            for request in group:
                _resolve(request.done, SpoolUnavailable("the events could not be kept"))
            raise
        self._refused = None
        self._lanes.stored(stored)
        for request in group:
            try:
                request.durable()
            except Exception:
                # A defect, but what was sent is durable, and the others of the group are not to hang for it.
                log.exception("durable events could not be counted")
            _resolve(request.done, None)

    def _cut_group(self, group: list[_PendingRequest]) -> list[Chunk]:
        """Chunks of what the requests brought, lane by lane, in the order of arrival. Runs once a commit."""
        by_lane: dict[Lane, list[MappedEvent]] = {}
        lane: Lane | None = None
        events: list[MappedEvent] = []
        for request in group:
            for event in request.mapped:
                if event.lane is not lane:
                    lane = event.lane
                    found = by_lane.get(lane)
                    if found is None:
                        by_lane[lane] = found = []
                    events = found
                events.append(event)
        chunks: list[Chunk] = []
        for lane, events in by_lane.items():
            chunks += cut_into_chunks(lane, events, self._lanes.remaining(lane), self._lanes.batch_limits(lane))
        return chunks


def cut_into_chunks(
    lane: Lane, events: Sequence[MappedEvent], remaining: tuple[int, int], limits: BatchLimits
) -> list[Chunk]:
    """Events as chunks, of which the first fits the room and none exceeds the limits.

    An event that is larger than the limit by itself is a chunk of its own.
    """
    chunks: list[Chunk] = []
    remaining_events, remaining_bytes = remaining
    start = 0
    size = -len(EVENT_SEPARATOR)  # of the joined events; there is one separator less than there are events
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
    """Wake a sender, unless it has gone away."""
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
