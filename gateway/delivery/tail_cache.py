"""A copy in memory of the chunks that a lane stored last.

A lane without a backlog is sent from this cache; only a backlog is read from the spool. The spool has all of these
chunks too, so one that exceeds the memory budget is left out and read from the spool later. When requests need the
memory, the whole cache is cleared.
"""

from __future__ import annotations

from collections import deque

from gateway.memory_budget import MemoryBudget
from gateway.model import ChunkId, StoredChunk

CHUNK_OVERHEAD = 300
"""Bytes of memory for a chunk in addition to its payload."""


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
        if not self._budget.cache(size):
            return
        self.chunks.append(stored)
        self.events += stored.chunk.count

    def drop(self, last_id: ChunkId) -> None:
        """Remove the chunks up to and including this ID."""
        while self.chunks and self.chunks[0].id <= last_id:
            stored = self.chunks.popleft()
            self.events -= stored.chunk.count
            self._budget.uncache(len(stored.chunk.payload) + CHUNK_OVERHEAD)

    def clear(self) -> None:
        """Remove all chunks. They are read from the spool instead."""
        if self.chunks:
            self.drop(self.chunks[-1].id)
