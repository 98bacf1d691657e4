"""Splits a batch that Meta refuses into smaller ones. Pure; no I/O and no clock.

The events of a batch that are not acknowledged yet form a stack of sub-batches; the last one is sent next. A batch
starts as one sub-batch. When Meta names the refused events, they are removed; when it does not, the sub-batch is
halved. A refused event therefore costs one more call if Meta names it, and at most `2 * ceil(log2(n))` more calls in a
batch of n if it does not: two for each time that its sub-batch is halved.
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
    """The earliest expiry of its events, unix seconds."""
    calls: int = 0
    """Calls that carried its events since the batch was read from the spool."""

    def events(self) -> list[bytes]:
        """The encoded events."""
        return split_events(self.payload)


class BatchSplitter:
    """The events of one batch that are not acknowledged yet, and the IDs of their chunks in the spool."""

    def __init__(self, batch: Batch) -> None:
        self.lane: Lane = batch.lane
        self.ids: list[ChunkId] = batch.ids
        expires_at = min(stored.chunk.expires_at for stored in batch.chunks)
        self._stack = [SubBatch(batch.payload(), batch.count, expires_at)]

    @property
    def current(self) -> SubBatch | None:
        """The sub-batch that is sent next; None: the batch is finished."""
        return self._stack[-1] if self._stack else None

    @property
    def count(self) -> int:
        """Events that are not acknowledged yet."""
        return sum(sub_batch.count for sub_batch in self._stack)

    @property
    def current_calls(self) -> int:
        """Calls that carried the events of the current sub-batch."""
        return self._stack[-1].calls if self._stack else 0

    def record_call(self) -> None:
        """Count a call for the current sub-batch."""
        self._stack[-1] = replace(self._stack[-1], calls=self._stack[-1].calls + 1)

    def drop_current(self) -> SubBatch:
        """Remove the current sub-batch, because all of its events are delivered, or none can be; the removed one."""
        return self._stack.pop()

    def remove(self, indices: Sequence[int]) -> list[bytes]:
        """Remove events from the current sub-batch, and return them."""
        sub_batch = self._stack.pop()
        excluded = set(indices)
        events = sub_batch.events()
        kept = [event for index, event in enumerate(events) if index not in excluded]
        if kept:
            self._stack.append(SubBatch(join_events(kept), len(kept), sub_batch.expires_at, sub_batch.calls))
        return [event for index, event in enumerate(events) if index in excluded]

    def halve(self) -> None:
        """Split the current sub-batch into two; the first half becomes the current one."""
        sub_batch = self._stack.pop()
        events = sub_batch.events()
        middle = len(events) // 2
        for half in (events[middle:], events[:middle]):
            self._stack.append(SubBatch(join_events(half), len(half), sub_batch.expires_at, sub_batch.calls))

    def set_expiry(self, expires_at: int) -> None:
        """Set the earliest expiry of the current sub-batch, unix seconds, after expired events were removed."""
        self._stack[-1] = replace(self._stack[-1], expires_at=expires_at)

    def remaining_chunk(self) -> Chunk | None:
        """The events that are not acknowledged yet, as one chunk; None if there are none.

        The spool keeps the chunk under the first of `ids`, so from then on `ids` has only that one.
        """
        if not self._stack:
            return None
        self.ids = self.ids[:1]
        return Chunk(
            lane=self.lane,
            count=self.count,
            expires_at=min(sub_batch.expires_at for sub_batch in self._stack),
            payload=join_events(sub_batch.payload for sub_batch in self._stack),
        )
