"""A copy in memory of the chunks that a lane stored last.

A lane without a backlog is sent from this cache; only a backlog is read from the spool. The spool has all of these
chunks too, so one that exceeds the memory budget is left out and read from the spool later.
"""

from __future__ import annotations

from collections import deque

from gateway.model import ChunkId, StoredChunk

MAX_BYTES = 128 * 2**20
"""Bytes that the lanes of one process cache together: five seconds, the default `batch.max_age`, of 25,000 events a
second. A few busy lanes need much less, since their batches are soon full."""

CHUNK_OVERHEAD = 300
"""Bytes of memory for a chunk in addition to its payload."""


class MemoryBudget:
    """The bytes that all tail caches of a process may still use."""

    __slots__ = ("remaining",)

    def __init__(self, maximum: int = MAX_BYTES) -> None:
        self.remaining = maximum


class TailCache:
    """Cached chunks of one lane that are not in a batch yet, oldest first.

    It is complete if its `events` equals the number of waiting events.
    """

    __slots__ = ("_budget", "chunks", "events")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.chunks: deque[StoredChunk] = deque()
        self.events = 0
        """Events in the cached chunks."""

    def add(self, stored: StoredChunk) -> None:
        """Append a newly stored chunk, unless it exceeds the budget. Runs once for each chunk."""
        size = len(stored.chunk.payload) + CHUNK_OVERHEAD
        if size > self._budget.remaining:
            return
        self._budget.remaining -= size
        self.chunks.append(stored)
        self.events += stored.chunk.count

    def drop(self, last_id: ChunkId) -> None:
        """Remove the chunks up to and including this ID."""
        while self.chunks and self.chunks[0].id <= last_id:
            stored = self.chunks.popleft()
            self.events -= stored.chunk.count
            self._budget.remaining += len(stored.chunk.payload) + CHUNK_OVERHEAD

    def clear(self) -> None:
        """Remove all chunks. They are read from the spool instead."""
        if self.chunks:
            self.drop(self.chunks[-1].id)
