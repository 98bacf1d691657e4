"""Forms the batches of a lane: counts its waiting events and decides when a batch is due.

Chunks that became durable recently are in the tail cache. A backlog is a count and a cursor into the spool, so ten
million waiting events take no more memory than the batches in flight. Sending and acknowledging are done elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gateway.delivery.tail_cache import TailCache
from gateway.memory_budget import MemoryBudget
from gateway.model import (
    EVENT_SEPARATOR,
    Backlog,
    Batch,
    BatchLimits,
    ChunkId,
    FlushReason,
    Lane,
    StoredChunk,
    UnixSeconds,
)
from gateway.spool import Spool

START = ChunkId(0)
SEPARATOR = len(EVENT_SEPARATOR)
MAX_CACHED_BATCHES = 2
"""Batches that may wait in the tail cache; with more waiting, the lane has a backlog and is read from the spool."""


class LaneBatcher:
    """The waiting events of one lane. A single reader calls `next`; `stored` is called after each commit."""

    __slots__ = (
        "_bytes",
        "_changed",
        "_clock",
        "_cursor",
        "_draining",
        "_events",
        "_filling_bytes",
        "_filling_events",
        "_flush_fraction",
        "_lane",
        "_limits",
        "_oldest",
        "_spool",
        "_tail_cache",
    )

    def __init__(
        self,
        lane: Lane,
        limits: BatchLimits,
        spool: Spool,
        clock: Callable[[], UnixSeconds],
        budget: MemoryBudget,
        *,
        first_flush_fraction: float = 1.0,
    ) -> None:
        self._lane = lane
        self._limits = limits
        self._spool = spool
        self._clock = clock
        # Only the loop's thread changes these. `stored` adds to the counts and `next` subtracts. They are negative
        # while a chunk was read from the spool but `stored` was not called for it yet; so they are never clamped at 0.
        self._events = 0
        self._bytes = 0  # payloads, each with one separator
        self._oldest: float | None = None  # loop time at which the oldest became durable; None if no event waits
        self._cursor = START  # chunks up to this ID are in a batch already
        self._tail_cache = TailCache(budget)  # holds all waiting events if its count is `_events`, else some of them
        self._filling_events = 0  # of the batch that the next chunk would join
        self._filling_bytes = 0
        self._draining = False  # set once
        # Share of `max_age` for the first batch: lanes and replicas that start together flush at different times.
        self._flush_fraction = first_flush_fraction
        self._changed = asyncio.Event()

    def recover(self, backlog: Backlog) -> None:
        """Add the events that an earlier process left in the spool."""
        self._events += backlog.events
        self._bytes += backlog.bytes
        if backlog.oldest_stored_at is not None:
            self._oldest = self._loop_time(backlog.oldest_stored_at)
        self._filling_events, self._filling_bytes = self._limits.max_events, self._limits.max_bytes
        self._changed.set()

    def apply_settings(self, limits: BatchLimits) -> None:
        """Use these limits from the next batch on."""
        self._limits = limits
        self._changed.set()

    def clear_cache(self) -> None:
        """Release the memory of the tail cache. Its events are read from the spool instead."""
        self._tail_cache.clear()

    def rewind(self, events: int) -> None:
        """Start again from the oldest event that is not acknowledged, after the batches in flight were abandoned.

        `events`: how many are not acknowledged.
        """
        self._cursor = START
        self._tail_cache.clear()
        self._events, self._bytes = events, 0  # their bytes are unknown until they are read
        self._filling_events, self._filling_bytes = self._limits.max_events, self._limits.max_bytes
        self._oldest = asyncio.get_running_loop().time() if events else None
        self._changed.set()

    def stored(self, stored: StoredChunk) -> None:
        """Add a chunk that became durable. Runs once for each chunk."""
        events, size = stored.chunk.count, len(stored.chunk.payload)
        self._events += events
        self._bytes += size + SEPARATOR
        if self._events <= 0:
            return  # the chunk was read from the spool before this call, and is in a batch already
        limits = self._limits
        if self._events > MAX_CACHED_BATCHES * limits.max_events or self._bytes > MAX_CACHED_BATCHES * limits.max_bytes:
            self._tail_cache.clear()
        else:
            self._tail_cache.add(stored)
        if self._oldest is None:
            self._oldest = asyncio.get_running_loop().time()
            self._changed.set()  # the reader starts the timer for `max_age`
        elif self._events >= limits.max_events or self._bytes > limits.max_bytes or self._draining:
            self._changed.set()
        self._filling_events += events
        self._filling_bytes += size + SEPARATOR
        if self._filling_events > limits.max_events or self._filling_bytes > limits.max_bytes + SEPARATOR:
            self._filling_events, self._filling_bytes = events, size + SEPARATOR

    @property
    def remaining(self) -> tuple[int, int]:
        """Events and bytes that fit into the batch being filled; the limits of a whole batch if it is full."""
        limits = self._limits
        events, size = limits.max_events - self._filling_events, limits.max_bytes - self._filling_bytes
        return (events, size) if events > 0 and size > 0 else (limits.max_events, limits.max_bytes)

    def drain(self) -> None:
        """Make all events due at once. `next` returns None when there are none left."""
        self._draining = True
        self._changed.set()

    def due(self, now: float) -> FlushReason | None:
        """Why a batch is due at this loop time; None: none is."""
        if self._events <= 0 or self._oldest is None:
            return None
        if self._events >= self._limits.max_events:
            return FlushReason.COUNT
        if self._bytes - SEPARATOR >= self._limits.max_bytes:
            return FlushReason.BYTES
        if self._draining:
            return FlushReason.DRAIN
        if now - self._oldest >= self._limits.max_age * self._flush_fraction:
            return FlushReason.AGE
        return None

    async def next(self) -> Batch | None:
        """Wait until a batch is due and return it; None when draining and no events are left.

        Raises `SpoolUnavailable`; the events then keep waiting.
        """
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            reason = self.due(loop.time())
            if reason is not None:
                batch = await self._take(reason)
                if batch is not None:
                    return batch
            elif self._draining:
                return None
            else:
                await self._wait(loop)

    @property
    def events(self) -> int:
        """Waiting events, without those of batches in flight."""
        return max(0, self._events)

    @property
    def bytes(self) -> int:
        """Bytes of the waiting events, without those of batches in flight."""
        return max(0, self._bytes)

    @property
    def oldest_age(self) -> float | None:
        """Seconds that the oldest event has waited; None if no event waits."""
        return None if self._oldest is None else max(0.0, asyncio.get_running_loop().time() - self._oldest)

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until the state changes or the oldest event reaches `max_age`."""
        if self._oldest is None:
            await self._changed.wait()
            return
        remaining = self._oldest + self._limits.max_age * self._flush_fraction - loop.time()
        timer = loop.call_later(max(0.0, remaining), self._changed.set)
        try:
            await self._changed.wait()
        finally:
            timer.cancel()

    async def _take(self, reason: FlushReason) -> Batch | None:
        if self._tail_cache.events == self._events:
            chunks, following = _take_batch(self._tail_cache.chunks, self._limits)
        else:
            chunks, following = await self._read()
            if not chunks:
                return None
        self._flush_fraction = 1.0
        self._cursor = chunks[-1].id
        self._tail_cache.drop(self._cursor)
        self._events -= sum(stored.chunk.count for stored in chunks)
        self._bytes -= sum(len(stored.chunk.payload) + SEPARATOR for stored in chunks)
        if self._events <= 0:
            if self._events == 0:
                self._bytes = 0
            self._oldest = None
            self._filling_events = self._filling_bytes = 0
        elif following is not None:
            self._oldest = self._loop_time(following.stored_at)
        else:
            self._oldest = asyncio.get_running_loop().time()
        return Batch(self._lane, chunks, reason)

    async def _read(self) -> tuple[list[StoredChunk], StoredChunk | None]:
        """Read a batch from the spool, and the chunk that follows it."""
        limits = self._limits
        events, size = self._events, self._bytes
        read = await self._spool.read(self._lane, self._cursor, limits.max_events, limits.max_bytes)
        chunks, following = _take_batch(read, limits)
        if not chunks:
            # The spool has fewer events than were counted, because it moved unreadable ones aside and logged that.
            # Events that became durable during the read stay counted.
            self._tail_cache.clear()
            self._events -= events
            self._bytes -= size
            self._oldest = asyncio.get_running_loop().time() if self._events > 0 else None
        return chunks, following

    def _loop_time(self, stored_at: UnixSeconds) -> float:
        return asyncio.get_running_loop().time() - max(0.0, self._clock() - stored_at)


def _take_batch(waiting: Iterable[StoredChunk], limits: BatchLimits) -> tuple[list[StoredChunk], StoredChunk | None]:
    """The leading chunks that form a batch, and the chunk that follows them."""
    chunks: list[StoredChunk] = []
    events, size = 0, -SEPARATOR
    for stored in waiting:
        events += stored.chunk.count
        size += len(stored.chunk.payload) + SEPARATOR
        if chunks and (events > limits.max_events or size > limits.max_bytes):
            return chunks, stored
        chunks.append(stored)
    return chunks, None
