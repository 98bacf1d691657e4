"""The interface of a spool engine. Code outside this package depends on this interface, not on an engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.model import Backlog, Chunk, ChunkId, DeadLetter, GatewayError, Lane, StoredChunk
from gateway.telemetry import SpoolStatistics


class SpoolFull(GatewayError):
    """The transaction was rejected as a whole for lack of space. Space becomes free as events are delivered."""


class SpoolUnavailable(GatewayError):
    """The transaction was rejected as a whole: disk full or read-only, an I/O error, or the spool is closed."""


class Spool(Protocol):
    """Durable, transactional store of chunks and dead letters.

    One process at a time: `open` fails while another process has the spool open. Calls may overlap; they take effect
    one after the other in the order in which they were made, and return in that order. After any exception the spool is
    as it was before the call.
    """

    async def open(self) -> Sequence[Backlog]:
        """Open the spool and return the stored backlog of each lane. Time and memory do not grow with the backlog.

        Raises `SpoolUnavailable` when the spool cannot be used: locked by another process, not writable, or written
        by a newer version.
        """
        ...

    async def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        """Store all of the chunks and the dead letters, or nothing. They are durable when this returns.

        IDs increase over the life of the spool, across all lanes. Dead letters never prevent chunks from being stored:
        they have a limit of their own, beyond which new ones replace stored ones, and they are deleted when chunks need
        the space. Those without an event are replaced first, then the oldest; those that do not fit at all are left
        out. All of these are counted in `SpoolStatistics.purged`. Raises `SpoolFull` and `SpoolUnavailable`.
        """
        ...

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        """Return the lane's oldest whole chunks with an ID above `after` that fit both limits, and one chunk more.

        The additional chunk, if there is one, shows the caller the age of the next chunk (`stored_at`). The first chunk
        is returned even if it is larger than the limits. Empty when the lane has no chunk above `after`.
        Raises `SpoolUnavailable`.
        """
        ...

    async def acknowledge(
        self,
        lane: Lane,
        ids: Sequence[ChunkId],
        letters: Sequence[DeadLetter] = (),
        rest: Chunk | None = None,
    ) -> None:
        """In one transaction: remove these chunks, store the dead letters, and store `rest` under the first of the IDs.

        `rest` holds the events of the batch that are still to be delivered. Its ID is one that was read already, so it
        is not read again before a restart. Works on a full spool: space is reserved for it. Concurrent
        acknowledgements may share a transaction, and then take effect later than calls that were made after them.
        Raises `SpoolUnavailable`, and `KeyError` when a chunk does not exist (acknowledged twice).
        """
        ...

    async def dead_letters(self, after: int = 0, limit: int = 100) -> Sequence[tuple[int, DeadLetter]]:
        """Return dead letters with their numbers, oldest first, with a number above `after`."""
        ...

    def statistics(self) -> SpoolStatistics:
        """Return a snapshot of the counts, without I/O."""
        ...

    async def close(self) -> None:
        """Complete pending calls and close. Later calls raise `SpoolUnavailable`. Closing twice is harmless."""
        ...
