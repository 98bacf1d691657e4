"""What every spool engine promises. Nothing outside this room knows which engine it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.model import Backlog, Chunk, ChunkId, DeadLetter, GatewayError, Lane, StoredChunk
from gateway.telemetry import SpoolStatistics


class SpoolFull(GatewayError):
    """Nothing of the transaction was taken, for want of room. Room comes back as events leave."""


class SpoolUnavailable(GatewayError):
    """Nothing of the transaction was taken: the disk is full or read-only, an I/O error, or the spool is closed."""


class Spool(Protocol):
    """Durable, transactional store of chunks and dead letters.

    One user at a time: `open` refuses a second process. Calls may overlap; they take effect one after the other in the
    order in which they were made, and return in that order. After any exception the spool is as it was before the call.
    """

    async def open(self) -> Sequence[Backlog]:
        """Make it ready; what waits from before, by lane. Time and memory do not grow with the backlog.

        Raises `SpoolUnavailable` when it is not ours to use: locked by another process, not writable, of a newer
        version.
        """
        ...

    async def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        """Keep all of it, or none. Durable when this returns. IDs grow, over the life of the spool and all lanes.

        Raises `SpoolFull` and `SpoolUnavailable`.
        """
        ...

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        """The lane's oldest whole chunks with an ID above `after` that fit both limits.

        One more follows, if there is one, for the caller to see what comes next (its `stored_at`). The first
        chunk is returned even if it is larger than the limits. Empty when nothing is there.
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
        """In one transaction: remove these chunks, keep the dead letters, and keep `rest` under the first of the IDs.

        `rest` is what of the batch is not settled yet; being under an ID that was read already, it is not read again
        before a restart. Works when the spool is full: room is kept for it. Settlements may take effect together, and
        then later than calls that were made after them.
        Raises `SpoolUnavailable`; `KeyError` when an ID is not there (settled twice).
        """
        ...

    async def dead_letters(self, after: int = 0, limit: int = 100) -> Sequence[tuple[int, DeadLetter]]:
        """Dead letters with their numbers, oldest first, with a number above `after`."""
        ...

    def statistics(self) -> SpoolStatistics:
        """A snapshot, without waiting."""
        ...

    async def close(self) -> None:
        """Finish what was begun and let go. Later calls raise `SpoolUnavailable`. Closing twice is harmless."""
        ...
