"""What became durable last, still at hand: a lane that flows is sent from here; only a backlog is read from the spool.

All of it is a copy of what the spool has. What there is no room for is let go, and read from the spool in its turn.
"""

from __future__ import annotations

from collections import deque

from gateway.model import ChunkId, StoredChunk

MAX_BYTES = 128 * 2**20
"""Bytes that the lanes of one process hold together: what comes in five seconds, the default `batch.max_age`, at 25,000
events a second. Much less is needed where lanes are few, since their batches are soon full."""

CHUNK_OVERHEAD = 300
"""Bytes of a chunk beside its payload."""


class MemoryBudget:
    """The room that the lanes share."""

    __slots__ = ("remaining",)

    def __init__(self, maximum: int = MAX_BYTES) -> None:
        self.remaining = maximum


class TailCache:
    """Chunks of one lane that were not taken yet, oldest first. When it has as many events as wait, it has them all."""

    __slots__ = ("_budget", "chunks", "events")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.chunks: deque[StoredChunk] = deque()
        self.events = 0
        """In these chunks."""

    def add(self, stored: StoredChunk) -> None:
        """One that became durable after all others; left out where there is no room for it. Runs once a chunk."""
        size = len(stored.chunk.payload) + CHUNK_OVERHEAD
        if size > self._budget.remaining:
            return
        self._budget.remaining -= size
        self.chunks.append(stored)
        self.events += stored.chunk.count

    def drop(self, take_within: ChunkId) -> None:
        """Those up to this ID were taken."""
        while self.chunks and self.chunks[0].id <= take_within:
            stored = self.chunks.popleft()
            self.events -= stored.chunk.count
            self._budget.remaining += len(stored.chunk.payload) + CHUNK_OVERHEAD

    def clear(self) -> None:
        """They are to be read from the spool."""
        if self.chunks:
            self.drop(self.chunks[-1].id)
