"""The sqlite engine: implements `Spool` and `DeadLetterStore` with one database file and one thread.

Each call is a function that the database thread runs, and a future for its result. Callers see `SpoolFull` and
`SpoolUnavailable`; exceptions of the database do not leave this package.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
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
    """A spool in a SQLite file. Closed until `open`; after `close` it can be opened again."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        letter_bytes: int = 2**63,
        clock: Callable[[], UnixSeconds],
        vfs: str = "",
        free_disk: Callable[[Path], int] = files.free_disk,
    ) -> None:
        """`letter_bytes`: of dead letters, beyond which new ones replace the oldest. `clock` returns unix seconds.

        `vfs` and `free_disk` are for tests that inject disk faults.
        """
        self._connection = ConnectionManager(StorageLimits(path, max_bytes, vfs, free_disk, letter_bytes), clock)
        self._thread: DatabaseThread | None = None  # set while open
        self._acknowledger = GroupAcknowledger(
            lambda acknowledgements: self._call(lambda store: store.acknowledge_all(acknowledgements))
        )

    async def open(self) -> Sequence[Backlog]:
        """Take the lock, recover from a crash or damage, and return the backlog of each lane."""
        if self._thread:
            raise SpoolUnavailable("the spool is open already")
        connection = self._connection
        self._thread = thread = DatabaseThread(after=connection.after_call, idle=connection.idle, name="spool")
        try:
            return await thread.call(connection.open)
        except BaseException:
            self._thread = None
            thread.stop()
            raise

    async def close(self) -> None:
        """Complete pending calls, checkpoint the log and release the lock."""
        thread, self._thread = self._thread, None
        if thread:
            closed = thread.call(self._connection.close)
            thread.stop()
            await closed

    async def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> Sequence[StoredChunk]:
        """Store all of the chunks and dead letters, or none; they are durable when this returns."""
        return await self._do(lambda store: store.append(chunks, letters))

    async def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> Sequence[StoredChunk]:
        """Return the lane's oldest chunks above `after` that fit both limits, and one more."""
        return await self._do(lambda store: store.read(lane, after, max_events, max_bytes))

    async def acknowledge(
        self,
        lane: Lane,
        ids: Sequence[ChunkId],
        letters: Sequence[DeadLetter] = (),
        rest: Chunk | None = None,
    ) -> None:
        """Remove the chunks, store the dead letters, and store `rest` under the first of the IDs."""
        await self._acknowledger.acknowledge(Acknowledgement(lane, ids, letters, rest))

    def statistics(self) -> SpoolStatistics:
        """Return a snapshot of the counts, without I/O."""
        return self._connection.statistics()

    async def dead_letters(
        self, after: int = 0, limit: int = 100, where: DeadLetterFilter = ALL_DEAD_LETTERS
    ) -> Sequence[tuple[int, DeadLetter]]:
        """Return matching dead letters with a number above `after`, oldest first, at most `limit`."""
        matching: list[tuple[int, DeadLetter]] = []
        cursor: int | None = after
        while cursor is not None and len(matching) < limit:
            start, missing = cursor, limit - len(matching)
            page, cursor = await self._do(lambda store: store.dead_letters(start, missing, where))  # noqa: B023 (awaited here)
            matching += page
        return matching

    async def dead_letter(self, number: int) -> DeadLetter:
        """Return one dead letter. Raises `KeyError` when it does not exist."""
        return await self._do(lambda store: store.dead_letter(number))

    async def count_dead_letters(self, where: DeadLetterFilter = ALL_DEAD_LETTERS) -> int:
        """Return the number of matching dead letters."""
        if where == ALL_DEAD_LETTERS:
            return self.statistics().dead_letters
        count = 0
        cursor: int | None = 0
        while cursor is not None:
            start = cursor
            matches, cursor = await self._do(lambda store: store.count_dead_letters(start, where))  # noqa: B023
            count += matches
        return count

    async def count_codes(self) -> Mapping[str, int]:
        """Return the number of dead letters by code."""
        codes: Counter[str] = Counter()
        cursor: int | None = 0
        while cursor is not None:
            start = cursor
            counted, cursor = await self._do(lambda store: store.count_codes(start))  # noqa: B023 (awaited here)
            codes += counted
        return codes

    async def discard(self, numbers: Sequence[int]) -> int:
        """Delete these dead letters, and return how many of them existed."""
        return await self._do(lambda store: store.discard(numbers))

    async def replay(
        self, numbers: Sequence[int], chunks: Sequence[Chunk], letters: Sequence[DeadLetter] = ()
    ) -> Sequence[StoredChunk]:
        """Delete these dead letters and store the chunks and dead letters that replace them."""
        return await self._do(lambda store: store.replay(numbers, chunks, letters))

    async def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Delete dead letters from before `since`, and further ones while all exceed `max_bytes`."""
        total = 0
        while deleted := await self._do(lambda store: store.purge(since, max_bytes)):
            total += deleted
        return total

    async def _do(self, work: Callable[[Store], T]) -> T:
        return await self._call(work)

    def _call(self, work: Callable[[Store], T]) -> asyncio.Future[T]:
        if self._thread is None:
            closed: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            closed.set_exception(SpoolUnavailable(CLOSED))
            return closed
        return self._thread.call(lambda: self._connection.do(work))
