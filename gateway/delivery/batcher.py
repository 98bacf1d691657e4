"""A lane's buffer: knows how much waits and when it is due, and makes a batch of it when it is.

What became durable just now is still at hand; a backlog is only counted: the spool has it, and a cursor says how far it
was read. So ten million waiting events cost the memory of the batches that are on their way. It does not send and does
not settle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from gateway.delivery.tail_cache import MemoryBudget, TailCache
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
"""Batches that may wait in a lane which is sent from what is at hand; beyond that it has a backlog."""


class LaneBatcher:
    """What waits of one lane. One reader calls `next`; whoever commits calls `stored`."""

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
        # Only the loop's thread touches these. `stored` adds, `next` takes. Below 0 for the moment in which a chunk
        # was read before `stored` told of it; so neither is ever clamped while the other could still come.
        self._events = 0
        self._bytes = 0  # payloads, each with one separator
        self._oldest: float | None = None  # loop time at which the oldest became durable; None when nothing waits
        self._cursor = START  # everything up to here was taken
        self._tail_cache = TailCache(budget)  # some of what waits; all of it when it has as many events
        self._filling_events = 0  # of the batch that the next chunk would join
        self._filling_bytes = 0
        self._draining = False  # set once
        # Share of `max_age` for the first batch: lanes and replicas that start together do not flush in step.
        self._flush_fraction = first_flush_fraction
        self._changed = asyncio.Event()

    def recover(self, backlog: Backlog) -> None:
        """What an earlier process left in the spool waits again, from the beginning."""
        self._events += backlog.events
        self._bytes += backlog.bytes
        if backlog.oldest_stored_at is not None:
            self._oldest = self._loop_time(backlog.oldest_stored_at)
        self._filling_events, self._filling_bytes = self._limits.max_events, self._limits.max_bytes
        self._changed.set()

    def apply_settings(self, limits: BatchLimits) -> None:
        """From the next batch on, go by these."""
        self._limits = limits
        self._changed.set()

    def rewind(self, events: int) -> None:
        """Read everything that is not settled, so many events, once more: whoever had it in hand is gone."""
        self._cursor = START
        self._tail_cache.clear()
        self._events, self._bytes = events, 0  # bytes are not known again before they are read
        self._filling_events, self._filling_bytes = self._limits.max_events, self._limits.max_bytes
        self._oldest = asyncio.get_running_loop().time() if events else None
        self._changed.set()

    def stored(self, stored: StoredChunk) -> None:
        """A chunk became durable. Runs once a chunk."""
        events, size = stored.chunk.count, len(stored.chunk.payload)
        self._events += events
        self._bytes += size + SEPARATOR
        if self._events <= 0:
            return  # it was read before it was told, and is on its way
        limits = self._limits
        if self._events > MAX_CACHED_BATCHES * limits.max_events or self._bytes > MAX_CACHED_BATCHES * limits.max_bytes:
            self._tail_cache.clear()
        else:
            self._tail_cache.add(stored)
        if self._oldest is None:
            self._oldest = asyncio.get_running_loop().time()
            self._changed.set()  # the reader waits for its age from now on
        elif self._events >= limits.max_events or self._bytes > limits.max_bytes or self._draining:
            self._changed.set()
        self._filling_events += events
        self._filling_bytes += size + SEPARATOR
        if self._filling_events > limits.max_events or self._filling_bytes > limits.max_bytes + SEPARATOR:
            self._filling_events, self._filling_bytes = events, size + SEPARATOR

    @property
    def remaining(self) -> tuple[int, int]:
        """Events and bytes that the batch being filled still takes; a whole batch's when it is full."""
        limits = self._limits
        events, size = limits.max_events - self._filling_events, limits.max_bytes - self._filling_bytes
        return (events, size) if events > 0 and size > 0 else (limits.max_events, limits.max_bytes)

    def drain(self) -> None:
        """From now on everything is due at once; `next` gives None when nothing is left."""
        self._draining = True
        self._changed.set()

    def due(self, now: float) -> FlushReason | None:
        """Why a batch should leave at this loop time; None: nothing should."""
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
        """Wait for the next batch that is due and take it; None when draining and nothing is left.

        Raises `SpoolUnavailable`; nothing is taken then.
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
        """That wait for their turn; what is on its way is not among them."""
        return max(0, self._events)

    @property
    def bytes(self) -> int:
        """Of the events that wait."""
        return max(0, self._bytes)

    @property
    def oldest_age(self) -> float | None:
        """Seconds that the oldest has waited; None when nothing waits."""
        return None if self._oldest is None else max(0.0, asyncio.get_running_loop().time() - self._oldest)

    async def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until something changes or the oldest has waited long enough."""
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
        """A batch of the spool's, and the chunk that follows it."""
        limits = self._limits
        events, size = self._events, self._bytes
        read = await self._spool.read(self._lane, self._cursor, limits.max_events, limits.max_bytes)
        chunks, following = _take_batch(read, limits)
        if not chunks:
            # The spool has less than was counted: what it could not read it has set aside and told. What became
            # durable while it read is not forgotten with the rest.
            self._tail_cache.clear()
            self._events -= events
            self._bytes -= size
            self._oldest = asyncio.get_running_loop().time() if self._events > 0 else None
        return chunks, following

    def _loop_time(self, stored_at: UnixSeconds) -> float:
        return asyncio.get_running_loop().time() - max(0.0, self._clock() - stored_at)


def _take_batch(waiting: Iterable[StoredChunk], limits: BatchLimits) -> tuple[list[StoredChunk], StoredChunk | None]:
    """The leading chunks that are a batch, and the one that follows it."""
    chunks: list[StoredChunk] = []
    events, size = 0, -SEPARATOR
    for stored in waiting:
        events += stored.chunk.count
        size += len(stored.chunk.payload) + SEPARATOR
        if chunks and (events > limits.max_events or size > limits.max_bytes):
            return chunks, stored
        chunks.append(stored)
    return chunks, None
