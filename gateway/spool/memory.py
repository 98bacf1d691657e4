"""The engine in memory: the interface of `Spool` without durability, with the same limits.

For load tests, demonstrations, and installations that accept losing waiting events to avoid writing them to disk. The
contents are lost when the process ends.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, takewhile

from gateway.model import Backlog, Chunk, ChunkId, DeadLetter, Lane, StoredChunk, UnixSeconds
from gateway.spool.dead_letter_store import ALL_DEAD_LETTERS, DeadLetterFilter
from gateway.spool.protocol import SpoolFull, SpoolUnavailable
from gateway.spool.size_accounting import (
    CHUNK_OVERHEAD,
    acknowledge_reserve,
    dead_letter_size,
    events_and_bytes,
    newest_letters,
    size_of,
    take_within,
)
from gateway.telemetry import SpoolStatistics


@dataclass(slots=True)
class _LaneChunks:
    """The stored chunks of one lane."""

    ids: list[ChunkId] = field(default_factory=list)
    """In ascending order."""
    chunks: dict[ChunkId, StoredChunk] = field(default_factory=dict)
    bytes: int = 0
    """Of the payloads."""


class MemorySpool:
    """A spool in memory. No call blocks or suspends."""

    def __init__(self, *, max_bytes: int, letter_bytes: int = 2**63, clock: Callable[[], UnixSeconds]) -> None:
        """`letter_bytes`: of dead letters, beyond which new ones replace the oldest. `clock` returns unix seconds."""
        self._max_bytes = max_bytes
        self._max_letter_bytes = letter_bytes
        self._clock = clock
        self._open = False
        # Only the event loop's thread uses these, and no method awaits between changes: every call is a transaction.
        self._lanes: dict[Lane, _LaneChunks] = {}
        self._letters: dict[int, DeadLetter] = {}  # by number, oldest first
        self._without_event: dict[int, None] = {}  # numbers of those in `_letters`
        self._last_id = 0
        self._last_letter = 0
        self._events = 0  # in `_lanes`
        self._bytes = 0  # payloads in `_lanes`
        self._letter_bytes = 0  # estimated size of `_letters`
        self._size = 0  # estimated size of everything
        self._commits = 0
        self._purged = 0  # dead letters that were deleted because of age or space, or not stored for lack of it

    async def open(self) -> Sequence[Backlog]:
        """Open, and return the backlog of each lane: events stored before an earlier `close` of this object."""
        self._open = True
        return [
            Backlog(
                lane,
                events=sum(stored.chunk.count for stored in lane_chunks.chunks.values()),
                bytes=lane_chunks.bytes,
                oldest_stored_at=lane_chunks.chunks[lane_chunks.ids[0]].stored_at,
            )
            for lane, lane_chunks in self._lanes.items()
            if lane_chunks.ids
        ]

    async def close(self) -> None:
        """Close. The contents stay in this object."""
        self._open = False

    async def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        """Store all of the chunks and the dead letters, or nothing. Dead letters replace older ones."""
        self._check_open()
        size, letter_size = size_of(chunks, []), size_of([], letters)
        with_event = size_of([], [letter for letter in letters if letter.event is not None])
        self._check_space(size or min(with_event, self._max_letter_bytes), freed=self._letter_bytes)
        if chunks:
            self._purge(self._size + size - self._max_bytes)
        by_limit = self._letter_bytes + letter_size - self._max_letter_bytes
        by_space = self._size + size + letter_size - self._max_bytes
        if letters and (excess := max(by_limit, by_space)) > 0:
            letters = self._replace_letters(letters, excess)
        return self._store(chunks, letters)

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        """Return the lane's oldest chunks above `after` that fit both limits, and one more."""
        self._check_open()
        lane_chunks = self._lanes.get(lane)
        if not lane_chunks:
            return []
        ids, chunks = lane_chunks.ids, lane_chunks.chunks
        following = (chunks[ids[index]] for index in range(bisect_right(ids, after), len(ids)))
        return list(take_within((max_events, max_bytes), following, events_and_bytes))

    async def acknowledge(
        self,
        lane: Lane,
        ids: Sequence[ChunkId],
        letters: Sequence[DeadLetter] = (),
        rest: Chunk | None = None,
    ) -> None:
        """Remove the chunks, store the dead letters, and store `rest` under the first of the IDs."""
        self._check_open()
        if rest and (rest.lane != lane or not ids):
            raise ValueError("`rest` must be of the acknowledged lane, and needs the ID of an acknowledged chunk")
        lane_chunks = self._lanes.get(lane)
        if ids and (
            not lane_chunks or len(set(ids)) != len(ids) or any(number not in lane_chunks.chunks for number in ids)
        ):
            raise KeyError(f"cannot acknowledge chunks {list(ids)} of {lane}: some were acknowledged before")
        if ids and lane_chunks:
            stored_at = min(lane_chunks.chunks[number].stored_at for number in ids)
            for number in ids:
                self._remove(lane_chunks, number)
            if rest:
                self._insert(lane_chunks, StoredChunk(ids[0], rest, stored_at))
            if not lane_chunks.ids:
                del self._lanes[lane]
        size = size_of([], letters)
        by_space = self._size + size - self._max_bytes - acknowledge_reserve(self._max_bytes)
        self._purge(max(self._letter_bytes + size - self._max_letter_bytes, by_space) if letters else 0)
        self._store((), letters)

    def statistics(self) -> SpoolStatistics:
        """Return a snapshot of the counts."""
        return SpoolStatistics(
            events=self._events,
            bytes=self._bytes,
            dead_letters=len(self._letters),
            size=self._size,
            max_bytes=self._max_bytes,
            commits=self._commits,
            dead_letter_bytes=self._letter_bytes,
            purged=self._purged,
        )

    async def dead_letters(
        self, after: int = 0, limit: int = 100, where: DeadLetterFilter = ALL_DEAD_LETTERS
    ) -> Sequence[tuple[int, DeadLetter]]:
        """Return matching dead letters with a number above `after`, oldest first, at most `limit`."""
        self._check_open()
        pairs = self._letters.items()
        matching = ((number, letter) for number, letter in pairs if number > after and where.matches(letter))
        return list(islice(matching, limit))

    async def dead_letter(self, number: int) -> DeadLetter:
        """Return one dead letter. Raises `KeyError` when it does not exist."""
        self._check_open()
        return self._letters[number]

    async def count_dead_letters(self, where: DeadLetterFilter = ALL_DEAD_LETTERS) -> int:
        """Return the number of matching dead letters."""
        self._check_open()
        return sum(where.matches(letter) for letter in self._letters.values())

    async def count_codes(self) -> Mapping[str, int]:
        """Return the number of dead letters by code."""
        self._check_open()
        return Counter(letter.code for letter in self._letters.values())

    async def discard(self, numbers: Sequence[int]) -> int:
        """Delete these dead letters, and return how many of them existed."""
        self._check_open()
        existing = {number for number in numbers if number in self._letters}
        for number in existing:
            self._remove_letter(number)
        return len(existing)

    async def replay(
        self, numbers: Sequence[int], chunks: Sequence[Chunk], letters: Sequence[DeadLetter] = ()
    ) -> Sequence[StoredChunk]:
        """Delete these dead letters and store the chunks and dead letters that replace them."""
        self._check_open()
        if len(set(numbers)) != len(numbers) or any(number not in self._letters for number in numbers):
            raise KeyError(f"cannot replay dead letters {list(numbers)}: some were replayed or discarded before")
        freed = sum(dead_letter_size(self._letters[number]) for number in numbers)
        self._check_space(size_of(chunks, letters), freed)
        for number in numbers:
            self._remove_letter(number)
        return self._store(chunks, letters)

    async def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Delete dead letters from before `since`, and further ones while all exceed `max_bytes`."""
        self._check_open()
        before = self._purged
        for number, _ in list(takewhile(lambda pair: pair[1].at < since, self._letters.items())):
            self._remove_letter(number)
            self._purged += 1
        self._purge(self._letter_bytes - max_bytes)
        return self._purged - before

    def _check_open(self) -> None:
        if not self._open:
            raise SpoolUnavailable("the spool is closed; open it first")

    def _check_space(self, size: int, freed: int) -> None:
        """Raise `SpoolFull` when `size` bytes do not fit even after `freed` bytes are freed."""
        if self._size - freed + size > self._max_bytes:
            raise SpoolFull(
                f"the spool is full: it holds {self._size} of {self._max_bytes} bytes (spool.max_bytes), and {size} "
                "more do not fit. Send the request again when events have been delivered, or raise spool.max_bytes"
            )

    def _replace_letters(self, letters: Sequence[DeadLetter], excess: int) -> Sequence[DeadLetter]:
        """Delete stored dead letters of `excess` bytes, and return the new ones to store.

        First stored and then new ones without an event are left out, so that these never replace one with an event.
        """
        excess -= self._purge_from(self._without_event, excess)
        without_event = size_of([], [letter for letter in letters if letter.event is None])
        kept = newest_letters(letters, min(excess, without_event))
        excess -= size_of([], letters) - size_of([], kept)
        excess -= self._purge(excess)
        kept = newest_letters(kept, excess)
        self._purged += len(letters) - len(kept)
        return kept

    def _purge(self, excess: int) -> int:
        """Delete dead letters until `excess` bytes are freed, first those without an event. Returns the freed bytes."""
        freed = self._purge_from(self._without_event, excess)
        return freed + self._purge_from(self._letters, excess - freed)

    def _purge_from(self, numbers: Mapping[int, object], excess: int) -> int:
        freed = 0
        while freed < excess and numbers:
            freed += self._remove_letter(next(iter(numbers)))
            self._purged += 1
        return freed

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
            if letter.event is None:
                self._without_event[self._last_letter] = None
            self._letter_bytes += dead_letter_size(letter)
            self._size += dead_letter_size(letter)
        self._commits += 1
        return stored

    def _insert(self, lane_chunks: _LaneChunks, stored: StoredChunk) -> None:
        position = bisect_left(lane_chunks.ids, stored.id)
        lane_chunks.ids.insert(position, stored.id)
        lane_chunks.chunks[stored.id] = stored
        size = len(stored.chunk.payload)
        lane_chunks.bytes += size
        self._bytes += size
        self._size += size + CHUNK_OVERHEAD
        self._events += stored.chunk.count

    def _remove(self, lane_chunks: _LaneChunks, number: ChunkId) -> None:
        del lane_chunks.ids[bisect_left(lane_chunks.ids, number)]
        stored = lane_chunks.chunks.pop(number)
        size = len(stored.chunk.payload)
        lane_chunks.bytes -= size
        self._bytes -= size
        self._size -= size + CHUNK_OVERHEAD
        self._events -= stored.chunk.count

    def _remove_letter(self, number: int) -> int:
        """Delete a dead letter, and return its size."""
        size = dead_letter_size(self._letters.pop(number))
        self._without_event.pop(number, None)
        self._letter_bytes -= size
        self._size -= size
        return size
