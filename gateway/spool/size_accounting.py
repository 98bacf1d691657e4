"""Size estimates of chunks and dead letters, and the reserve for acknowledgements: shared by both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from gateway.model import EVENT_SEPARATOR, Chunk, DeadLetter, StoredChunk

T = TypeVar("T")

CHUNK_OVERHEAD = 160
"""Bytes that a chunk takes in addition to its payload: its row, its lane's name, its share of the B-tree."""

DEAD_LETTER_OVERHEAD = 120
"""Bytes that a dead letter takes in addition to its texts and its event."""

_MIB = 2**20


def acknowledge_reserve(max_bytes: int) -> int:
    """Return the bytes beyond `max_bytes` that only `acknowledge` may use.

    A batch whose events all become dead letters fits several times over.
    """
    return min(64 * _MIB, max(_MIB, max_bytes // 16))


def dead_letter_size(letter: DeadLetter) -> int:
    """Return the estimated size of a dead letter in bytes."""
    optional = letter.source, letter.message_id, letter.order_id, *(letter.lane or ())
    texts = letter.message, letter.code, letter.destination, *(text or "" for text in optional)
    return DEAD_LETTER_OVERHEAD + len("".join(texts).encode(errors="replace")) + len(letter.event or b"")


def newest_letters(letters: Sequence[DeadLetter], excess: int) -> Sequence[DeadLetter]:
    """Leave out dead letters of `excess` bytes: those without an event first, then the oldest."""
    left_out: set[int] = set()
    for index in sorted(range(len(letters)), key=lambda index: letters[index].event is not None):
        if excess <= 0:
            break
        left_out.add(index)
        excess -= dead_letter_size(letters[index])
    return [letter for index, letter in enumerate(letters) if index not in left_out]


def size_of(chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> int:
    """Return the estimated size of chunks and dead letters in bytes."""
    size = 0
    for chunk in chunks:
        size += CHUNK_OVERHEAD + len(chunk.payload)
    for letter in letters:
        size += dead_letter_size(letter)
    return size


def events_and_bytes(stored: StoredChunk) -> tuple[int, int]:
    """Return the events and the payload bytes of a chunk."""
    return stored.chunk.count, len(stored.chunk.payload)


def take_within(limits: tuple[int, int], chunks: Iterable[T], weight: Callable[[T], tuple[int, int]]) -> Iterator[T]:
    """Yield the leading chunks that fit both limits (events, joined bytes), and then one chunk more.

    The first chunk is yielded even if it exceeds the limits. `weight` returns the events and bytes of a chunk.
    """
    max_events, max_bytes = limits
    events, size = 0, -len(EVENT_SEPARATOR)  # there is one separator less than there are chunks
    for position, chunk in enumerate(chunks):
        yield chunk
        chunk_events, chunk_bytes = weight(chunk)
        events += chunk_events
        size += chunk_bytes + len(EVENT_SEPARATOR)
        if position and (events > max_events or size > max_bytes):
            return
        if events > max_events or size > max_bytes:
            # The first chunk alone exceeds the limits: the next chunk is the additional one.
            max_events = max_bytes = 0
