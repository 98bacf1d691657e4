"""The engine without a disk: the promise of `Spool` but for durability, with the same limits.

For load tests, demonstrations, and for whoever would rather lose what waits than write it down. What it holds ends with
the process.
"""

from __future__ import annotations

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.model import Backlog, Chunk, ChunkId, DeadLetter, Lane, StoredChunk, UnixSeconds
from gateway.spool.dead_letter_store import ALL_DEAD_LETTERS, DeadLetterFilter
from gateway.spool.protocol import SpoolFull, SpoolUnavailable
from gateway.spool.size_accounting import (
    CHUNK_OVERHEAD,
    acknowledge_reserve,
    dead_letter_size,
    events_and_bytes,
    size_of,
    take_within,
)
from gateway.telemetry import SpoolStatistics

log = logging.getLogger("gateway.spool")


@dataclass(slots=True)
class _LaneChunks:
    """What waits of one lane."""

    ids: list[ChunkId] = field(default_factory=list)
    """In order."""
    chunks: dict[ChunkId, StoredChunk] = field(default_factory=dict)
    bytes: int = 0


class MemorySpool:
    """A spool that ends with the process. Every call is done when it returns; nothing waits for anything."""

    def __init__(self, *, max_bytes: int, clock: Callable[[], UnixSeconds]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._open = False
        # Only the loop's thread touches these, and never across an await: so every call is a transaction.
        self._lanes: dict[Lane, _LaneChunks] = {}
        self._letters: dict[int, DeadLetter] = {}  # by number, oldest first
        self._last_id = 0
        self._last_letter = 0
        self._events = 0  # in `_lanes`
        self._bytes = 0  # payloads in `_lanes`
        self._letter_bytes = 0  # what `_letters` count for
        self._size = 0  # what everything counts for
        self._commits = 0

    async def open(self) -> Sequence[Backlog]:
        """Ready at once; what waits is what an earlier life of this object left."""
        self._open = True
        return [
            Backlog(
                lane,
                events=sum(stored.chunk.count for stored in found.chunks.values()),
                bytes=found.bytes,
                oldest_stored_at=found.chunks[found.ids[0]].stored_at,
            )
            for lane, found in self._lanes.items()
            if found.ids
        ]

    async def close(self) -> None:
        """Let go."""
        self._open = False

    async def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        """Keep all of it, or none."""
        self._check_open()
        self._check_space(chunks, letters)
        return self._store(chunks, letters)

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        """The lane's oldest chunks above `after` that fit both limits, and one more."""
        self._check_open()
        found = self._lanes.get(lane)
        if not found:
            return []
        start = bisect_right(found.ids, after)
        ahead = (found.chunks[found.ids[index]] for index in range(start, len(found.ids)))
        return list(take_within((max_events, max_bytes), ahead, events_and_bytes))

    async def acknowledge(
        self,
        lane: Lane,
        ids: Sequence[ChunkId],
        letters: Sequence[DeadLetter] = (),
        rest: Chunk | None = None,
    ) -> None:
        """Remove the chunks, keep the letters, and `rest` under the first of the IDs."""
        self._check_open()
        if rest and (rest.lane != lane or not ids):
            raise ValueError("what rests of a batch stays in its lane, under the first of the batch's IDs")
        found = self._lanes.get(lane)
        if ids and (not found or len(set(ids)) != len(ids) or any(number not in found.chunks for number in ids)):
            raise KeyError(f"not all of {list(ids)} wait in {lane}: they were settled before")
        if ids and found:
            stored_at = min(found.chunks[number].stored_at for number in ids)
            for number in ids:
                self._remove(found, number)
            if rest:
                self._insert(found, StoredChunk(ids[0], rest, stored_at))
        self._store((), letters)
        self._purge_beyond(self._max_bytes + acknowledge_reserve(self._max_bytes))

    def statistics(self) -> SpoolStatistics:
        """A snapshot."""
        return SpoolStatistics(
            events=self._events,
            bytes=self._bytes,
            dead_letters=len(self._letters),
            size=self._size,
            max_bytes=self._max_bytes,
            commits=self._commits,
        )

    async def dead_letters(
        self, after: int = 0, limit: int = 100, where: DeadLetterFilter = ALL_DEAD_LETTERS
    ) -> Sequence[tuple[int, DeadLetter]]:
        """Those that match, with a number above `after`, oldest first."""
        self._check_open()
        found = ((number, letter) for number, letter in self._letters.items() if number > after)
        matching = ((number, letter) for number, letter in found if where.matches(letter))
        return [pair for pair, _ in zip(matching, range(limit), strict=False)]

    async def dead_letter(self, number: int) -> DeadLetter:
        """One of them."""
        self._check_open()
        return self._letters[number]

    async def count_dead_letters(self, where: DeadLetterFilter = ALL_DEAD_LETTERS) -> int:
        """How many match."""
        self._check_open()
        return sum(where.matches(letter) for letter in self._letters.values())

    async def discard(self, numbers: Sequence[int]) -> int:
        """Let letters go for good; how many of them were there."""
        self._check_open()
        there = {number for number in numbers if number in self._letters}
        for number in there:
            self._remove_letter(number)
        return len(there)

    async def replay(
        self, numbers: Sequence[int], chunks: Sequence[Chunk], letters: Sequence[DeadLetter] = ()
    ) -> Sequence[StoredChunk]:
        """Let letters go and keep what became of them."""
        self._check_open()
        if len(set(numbers)) != len(numbers) or any(number not in self._letters for number in numbers):
            raise KeyError(f"not all of {list(numbers)} are dead letters: they were replayed or discarded before")
        self._check_space(chunks, letters)
        for number in numbers:
            self._remove_letter(number)
        return self._store(chunks, letters)

    async def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Let go, from the oldest on, of letters from before `since` and of those beyond `max_bytes`; how many."""
        self._check_open()
        gone = 0
        while self._letters:
            number, letter = next(iter(self._letters.items()))
            if letter.at >= since and self._letter_bytes <= max_bytes:
                break
            self._remove_letter(number)
            gone += 1
        return gone

    # What the calls are made of.

    def _check_open(self) -> None:
        if not self._open:
            raise SpoolUnavailable("the spool is closed; open it first")

    def _check_space(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> None:
        if (size := size_of(chunks, letters)) + self._size > self._max_bytes:
            raise SpoolFull(
                f"the spool may hold spool.max_bytes = {self._max_bytes} bytes and holds {self._size}: "
                f"{size} more do not fit. Send again when events have left, or raise spool.max_bytes"
            )

    def _store(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> list[StoredChunk]:
        now = self._clock()
        stored = []
        for chunk in chunks:
            self._last_id += 1
            stored.append(StoredChunk(ChunkId(self._last_id), chunk, now))
            self._insert(self._lanes.setdefault(chunk.lane, _LaneChunks()), stored[-1])
        for letter in letters:
            self._last_letter += 1
            self._letters[self._last_letter] = letter
            self._letter_bytes += dead_letter_size(letter)
            self._size += dead_letter_size(letter)
        self._commits += 1
        return stored

    def _insert(self, found: _LaneChunks, stored: StoredChunk) -> None:
        position = bisect_left(found.ids, stored.id)
        found.ids.insert(position, stored.id)
        found.chunks[stored.id] = stored
        size = len(stored.chunk.payload)
        found.bytes += size
        self._bytes += size
        self._size += size + CHUNK_OVERHEAD
        self._events += stored.chunk.count

    def _remove(self, found: _LaneChunks, number: ChunkId) -> None:
        del found.ids[bisect_left(found.ids, number)]
        stored = found.chunks.pop(number)
        size = len(stored.chunk.payload)
        found.bytes -= size
        self._bytes -= size
        self._size -= size + CHUNK_OVERHEAD
        self._events -= stored.chunk.count

    def _remove_letter(self, number: int) -> None:
        size = dead_letter_size(self._letters.pop(number))
        self._letter_bytes -= size
        self._size -= size

    def _purge_beyond(self, maximum: int) -> None:
        """Make room from the oldest letters on: a spool that cannot settle would never be less full."""
        gone = 0
        while self._size > maximum and self._letters:
            self._remove_letter(next(iter(self._letters)))
            gone += 1
        if gone:
            log.error("the spool is full of dead letters: the oldest %d were let go", gone)
