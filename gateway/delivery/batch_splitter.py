"""What is left of a batch: a stack of parts, of which the last is sent next. Pure; no I/O and no clock.

A batch is one part until Meta refuses it. A refused event that is known leaves its part; a part without a culprit is
halved. So an event that is refused costs one call more when Meta names it, and at most `2 * log2(n)` more, rounded up,
of a batch of n when it does not: two calls for each time that its part is halved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.model import Batch, Chunk, ChunkId, Lane, join_events, split_events


@dataclass(frozen=True, slots=True)
class SubBatch:
    """Events that are sent in one call."""

    payload: bytes
    """Encoded events, joined by `EVENT_SEPARATOR`."""
    count: int
    expires_at: int
    """The earliest of its events, unix seconds."""
    calls: int = 0
    """Calls that carried its events since the batch was read from the spool."""

    def events(self) -> list[bytes]:
        """Its events, one by one."""
        return split_events(self.payload)


class BatchSplitter:
    """The unsettled rest of one batch, with the names under which the spool has it."""

    def __init__(self, batch: Batch) -> None:
        self.lane: Lane = batch.lane
        self.ids: list[ChunkId] = batch.ids
        expires_at = min(stored.chunk.expires_at for stored in batch.chunks)
        self._stack = [SubBatch(batch.payload(), batch.count, expires_at)]

    @property
    def next(self) -> SubBatch | None:
        """What is sent next; None: the batch is done."""
        return self._stack[-1] if self._stack else None

    @property
    def count(self) -> int:
        """Events that are not settled yet."""
        return sum(sub_batch.count for sub_batch in self._stack)

    @property
    def calls(self) -> int:
        """Calls that carried the events of the next part."""
        return self._stack[-1].calls if self._stack else 0

    def called(self) -> None:
        """A call carries the next part."""
        self._stack[-1] = replace(self._stack[-1], calls=self._stack[-1].calls + 1)

    def done(self) -> None:
        """The next part is settled as a whole."""
        self._stack.pop()

    def remove_path(self, indices: Sequence[int]) -> list[bytes]:
        """Take events out of the next part; what was taken out."""
        sub_batch = self._stack.pop()
        gone = set(indices)
        events = sub_batch.events()
        kept = [event for index, event in enumerate(events) if index not in gone]
        if kept:
            self._stack.append(SubBatch(join_events(kept), len(kept), sub_batch.expires_at, sub_batch.calls))
        return [event for index, event in enumerate(events) if index in gone]

    def halve(self) -> None:
        """Two parts of the next one; the first half is sent first."""
        sub_batch = self._stack.pop()
        events = sub_batch.events()
        middle = len(events) // 2
        for half in (events[middle:], events[:middle]):
            self._stack.append(SubBatch(join_events(half), len(half), sub_batch.expires_at, sub_batch.calls))

    def expiring(self, expires_at: int) -> None:
        """Set when the next part's first event expires, now that its events were looked at."""
        self._stack[-1] = replace(self._stack[-1], expires_at=expires_at)

    def remaining_chunk(self) -> Chunk | None:
        """The rest as a chunk, for the spool; from then on it has it under the first of the names."""
        if not self._stack:
            return None
        self.ids = self.ids[:1]
        return Chunk(
            lane=self.lane,
            count=self.count,
            expires_at=min(sub_batch.expires_at for sub_batch in self._stack),
            payload=join_events(sub_batch.payload for sub_batch in self._stack),
        )
