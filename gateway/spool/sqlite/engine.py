"""The sqlite engine: the `Spool` promise kept by one database file and one thread.

The loop's side is a queue and a future a call. What can go wrong with a disk is turned into the room's two exceptions
here, and no exception of the database leaves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.model import Backlog, Chunk, ChunkId, DeadLetter, Lane, StoredChunk, UnixSeconds
from gateway.spool.dead_letter_store import ALL_DEAD_LETTERS, DeadLetterFilter
from gateway.spool.protocol import SpoolUnavailable
from gateway.spool.sqlite import files
from gateway.spool.sqlite.connection_manager import ConnectionManager
from gateway.spool.sqlite.database_thread import DatabaseThread
from gateway.spool.sqlite.group_acknowledge import Acknowledgement, GroupAcknowledger
from gateway.spool.sqlite.storage_limits import StorageLimits
from gateway.spool.sqlite.store import Store
from gateway.telemetry import SpoolStatistics

log = logging.getLogger("gateway.spool")

T = TypeVar("T")

CLOSED = "the spool is closed; open it first"


class SqliteSpool:
    """A spool in a file. Closed until `open`; after `close` it can be opened again."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        clock: Callable[[], UnixSeconds],
        vfs: str = "",
        free_disk: Callable[[Path], int] = files.free_disk,
    ) -> None:
        """`vfs` and `free_disk` are for tests that break the disk."""
        self._connection = ConnectionManager(StorageLimits(path, max_bytes, vfs, free_disk), clock)
        self._writer: DatabaseThread | None = None  # set while open
        self._acknowledger = GroupAcknowledger(
            lambda acknowledgements: self._call(lambda store: store.acknowledge_all(acknowledgements))
        )

    async def open(self) -> Sequence[Backlog]:
        """Take the lock, mend what a crash or a disk left, and say what waits."""
        if self._writer:
            raise SpoolUnavailable("the spool is open already")
        connection_manager = self._connection
        self._writer = writer = DatabaseThread(
            after=connection_manager.after_call, idle=connection_manager.idle, name="spool"
        )
        try:
            return await writer.call(connection_manager.open)
        except BaseException:
            self._writer = None
            writer.stop()
            raise

    async def close(self) -> None:
        """Finish what was begun, write the log back and let go."""
        writer, self._writer = self._writer, None
        if writer:
            closed = writer.call(self._connection.close)
            writer.stop()
            await closed

    async def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        """Keep all of it, or none; durable when this returns."""
        return await self._do(lambda store: store.append(chunks, letters))

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        """The lane's oldest chunks above `after` that fit both limits, and one more."""
        return await self._do(lambda store: store.read(lane, after, max_events, max_bytes))

    async def acknowledge(
        self,
        lane: Lane,
        ids: Sequence[ChunkId],
        letters: Sequence[DeadLetter] = (),
        rest: Chunk | None = None,
    ) -> None:
        """Remove the chunks, keep the letters, and `rest` under the first of the IDs."""
        await self._acknowledger.acknowledge(Acknowledgement(lane, ids, letters, rest))

    def statistics(self) -> SpoolStatistics:
        """A snapshot, without waiting."""
        return self._connection.statistics()

    async def dead_letters(
        self, after: int = 0, limit: int = 100, where: DeadLetterFilter = ALL_DEAD_LETTERS
    ) -> Sequence[tuple[int, DeadLetter]]:
        """Those that match, with a number above `after`, oldest first."""
        found: list[tuple[int, DeadLetter]] = []
        cursor: int | None = after
        while cursor is not None and len(found) < limit:
            start = cursor
            step, cursor = await self._do(lambda store: store.dead_letters(start, limit - len(found), where))  # noqa: B023 (awaited at once)
            found += step
        return found

    async def dead_letter(self, number: int) -> DeadLetter:
        """One of them."""
        return await self._do(lambda store: store.dead_letter(number))

    async def count_dead_letters(self, where: DeadLetterFilter = ALL_DEAD_LETTERS) -> int:
        """How many match."""
        if where == ALL_DEAD_LETTERS:
            return self.statistics().dead_letters
        count = 0
        cursor: int | None = 0
        while cursor is not None:
            start = cursor
            step, cursor = await self._do(lambda store: store.count_dead_letters(start, where))  # noqa: B023
            count += step
        return count

    async def discard(self, numbers: Sequence[int]) -> int:
        """Let letters go for good; how many of them were there."""
        return await self._do(lambda store: store.discard(numbers))

    async def replay(
        self, numbers: Sequence[int], chunks: Sequence[Chunk], letters: Sequence[DeadLetter] = ()
    ) -> Sequence[StoredChunk]:
        """Let letters go and keep what became of them."""
        return await self._do(lambda store: store.replay(numbers, chunks, letters))

    async def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Let go of letters from before `since` and of those beyond `max_bytes`, oldest first; how many."""
        gone = 0
        while step := await self._do(lambda store: store.purge(since, max_bytes)):
            gone += step
        return gone

    async def _do(self, work: Callable[[Store], T]) -> T:
        return await self._call(work)

    def _call(self, work: Callable[[Store], T]) -> asyncio.Future[T]:
        if self._writer is None:
            closed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            closed.set_exception(SpoolUnavailable(CLOSED))
            return closed
        return self._writer.call(lambda: self._connection.do(work))
