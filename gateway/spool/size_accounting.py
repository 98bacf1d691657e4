"""How large things are, and how much room is kept: the arithmetic that both engines share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from gateway.model import EVENT_SEPARATOR, Chunk, DeadLetter, StoredChunk

T = TypeVar("T")

CHUNK_OVERHEAD = 160
"""Bytes that a chunk takes beside its payload: its row, its lane's name, its share of the tree above."""

DEAD_LETTER_OVERHEAD = 160
"""Bytes that a dead letter takes beside its texts and its event."""

_MIB = 2**20


def acknowledge_reserve(max_bytes: int) -> int:
    """Bytes beyond the cap that only `settle` may use: one batch whose every event is refused fits many times over."""
    return min(64 * _MIB, max(_MIB, max_bytes // 16))


def dead_letter_size(letter: DeadLetter) -> int:
    """Bytes that a dead letter counts for."""
    return DEAD_LETTER_OVERHEAD + len(letter.message) + len(letter.code) + len(letter.event or b"")


def size_of(chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> int:
    """Bytes that all of it counts for."""
    size = 0
    for chunk in chunks:
        size += CHUNK_OVERHEAD + len(chunk.payload)
    for letter in letters:
        size += dead_letter_size(letter)
    return size


def events_and_bytes(stored: StoredChunk) -> tuple[int, int]:
    """Events and bytes of a chunk."""
    return stored.chunk.count, len(stored.chunk.payload)


def take_within(limits: tuple[int, int], chunks: Iterable[T], weight: Callable[[T], tuple[int, int]]) -> Iterator[T]:
    """The leading chunks that fit both limits (events, joined bytes), the first in any case, and one more to follow.

    `weight` says events and bytes of one.
    """
    max_events, max_bytes = limits
    events, size = 0, -len(EVENT_SEPARATOR)  # there is one separator less than there are chunks
    for position, one in enumerate(chunks):
        yield one
        its_events, its_bytes = weight(one)
        events += its_events
        size += its_bytes + len(EVENT_SEPARATOR)
        if position and (events > max_events or size > max_bytes):
            return
        if events > max_events or size > max_bytes:
            # The first alone is beyond the limits: whatever comes next is the one more.
            max_events = max_bytes = 0
