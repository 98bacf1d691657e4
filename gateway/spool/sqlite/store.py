"""The operations of the spool on an open database, each one transaction. Synchronous: the database thread calls them.

There are two size limits: `append` stops at `max_bytes`; `acknowledge` may use the reserve beyond it, so that a full
spool can drain.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gateway.model import Chunk, ChunkId, DeadLetter, Lane, StoredChunk, UnixSeconds
from gateway.spool.dead_letter_store import DeadLetterFilter
from gateway.spool.protocol import SpoolFull, SpoolUnavailable
from gateway.spool.size_accounting import events_and_bytes, take_within
from gateway.spool.sqlite import bulk_sql, rows
from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.group_acknowledge import Acknowledgement, Results
from gateway.spool.sqlite.rows import DamagedRow, key_of
from gateway.spool.sqlite.schema import PAGE_SIZE
from gateway.spool.sqlite.storage_limits import pages_of

log = logging.getLogger("gateway.spool")

_READ = "SELECT * FROM chunk WHERE key > ? AND key < ? ORDER BY key"
_MATCHING = (
    " FROM dead_letter WHERE number > ?1 AND number <= ?2 AND (?3 IS NULL OR code = ?3)"
    " AND (?4 IS NULL OR destination = ?4) AND (?5 IS NULL OR stage = ?5)"
    " AND (?6 IS NULL OR at >= ?6) AND (?7 IS NULL OR at < ?7)"
    " AND (?8 IS NULL OR (json_valid(CAST(about AS TEXT)) AND json_extract(CAST(about AS TEXT), '$[2][1]') = ?8))"
)
_SELECT_LETTERS = f"SELECT *{_MATCHING} ORDER BY number LIMIT ?9"
_COUNT_LETTERS = f"SELECT count(*){_MATCHING}"
CHECK_INTERVAL = 0.05
"""Seconds between two checks of the file's place and the disk's free space: each system call releases the GIL."""
SCAN_ROWS = 5000
"""Dead letters that one call scans: a filter that matches few of millions must not delay commits."""


class Store:
    """The operations on an open database. After any exception the database is as it was before the call."""

    def __init__(self, database: Database, clock: Callable[[], UnixSeconds]) -> None:
        self.database = database
        self._clock = clock
        self._checked_at = -CHECK_INTERVAL  # monotonic time of the last successful check
        self.lost_up_to = 0
        """IDs up to this may be missing: they were lost when a damaged file was recovered while in use."""

    def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> list[StoredChunk]:
        """Store all of the chunks and dead letters, or none."""
        self._check_space(chunks, letters)
        with self.database.commit() as transaction:
            stored = transaction.store(chunks, self._clock())
            transaction.store_letters(letters)
        return stored

    def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> list[StoredChunk]:
        """Return the lane's oldest chunks above `after` that fit both limits, and one more."""
        totals = self.database.totals.lanes.get(lane)
        if totals is None:
            return []
        span = key_of(totals.number, max(0, after)), key_of(totals.number + 1, 0)
        limits = max_events, max_bytes
        stored = bulk_sql.read(self.database.connection, span, limits, lane, totals.text)
        if stored is not None:
            return stored
        return self._read_one_by_one(span, limits, lane)

    def _read_one_by_one(self, span: tuple[int, int], limits: tuple[int, int], lane: Lane) -> list[StoredChunk]:
        """Read chunks of which some are damaged: those become dead letters, the others are returned."""
        while True:
            damaged: list[tuple[Any, ...]] = []
            cursor = self.database.connection.execute(_READ, span)
            try:
                return list(take_within(limits, _intact_rows(cursor, lane, damaged), events_and_bytes))
            except DamagedRow:
                cursor.close()
                self._dead_letter_chunk(lane, damaged[0])
            finally:
                cursor.close()

    def acknowledge(
        self, lane: Lane, ids: Sequence[ChunkId], letters: Sequence[DeadLetter], rest: Chunk | None
    ) -> None:
        """Remove the chunks, store the dead letters, and store `rest` under the first of the IDs."""
        (error,) = self.acknowledge_all([Acknowledgement(lane, ids, letters, rest)])
        if error is not None:
            raise error

    def acknowledge_all(self, acknowledgements: Sequence[Acknowledgement]) -> Results:
        """Run a group of acknowledgements in one transaction, and return the exception of each, or None.

        When one of them is invalid, each runs in a transaction of its own, so that the valid ones take effect.
        """
        try:
            self._acknowledge_together(acknowledgements)
        except (KeyError, ValueError) as error:
            if len(acknowledgements) == 1:
                return [error]
            return [self.acknowledge_all([acknowledgement])[0] for acknowledgement in acknowledgements]
        return [None] * len(acknowledgements)

    def _acknowledge_together(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        for lane, ids, _, rest in acknowledgements:
            if rest and (rest.lane != lane or not ids):
                raise ValueError("`rest` must be of the acknowledged lane, and needs the ID of an acknowledged chunk")
        letters = [letter for acknowledgement in acknowledgements for letter in acknowledgement.letters]
        self._free_space([rest for _, _, _, rest in acknowledgements if rest], letters)
        with self.database.commit() as transaction:
            for lane, ids, _, rest in acknowledgements:
                if ids:
                    stored_at = transaction.remove(lane, ids, lost_up_to=self.lost_up_to)
                    if rest:
                        transaction.restore(StoredChunk(ids[0], rest, stored_at))
            transaction.store_letters(letters)

    def dead_letters(
        self, after: int, limit: int, where: DeadLetterFilter
    ) -> tuple[list[tuple[int, DeadLetter]], int | None]:
        """Return the matching dead letters among the next `SCAN_ROWS`, and the number after which to continue.

        The number is None when there is no dead letter above `after`. A result that `limit` cut off must not be
        continued from this number.
        """
        span = self._span(after)
        if span is None:
            return [], None
        matching: list[Any] = self.database.connection.execute(
            _SELECT_LETTERS, (*span, *_bindings(where), limit)
        ).fetchall()
        return [(row[0], rows.dead_letter_or_placeholder(row[1:])) for row in matching], span[1]

    def count_dead_letters(self, after: int, where: DeadLetterFilter) -> tuple[int, int | None]:
        """Return how many of the next `SCAN_ROWS` dead letters match, and the number after which to continue."""
        span = self._span(after)
        if span is None:
            return 0, None
        count: int = self.database.connection.execute(_COUNT_LETTERS, (*span, *_bindings(where))).get
        return count, span[1]

    def dead_letter(self, number: int) -> DeadLetter:
        """Return one dead letter. Raises `KeyError` when it does not exist."""
        row = self.database.connection.execute("SELECT * FROM dead_letter WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise KeyError(f"there is no dead letter {number}: it was replayed, discarded or purged")
        return rows.dead_letter_or_placeholder(row[1:])

    def _span(self, after: int) -> tuple[int, int] | None:
        """Return the next range of numbers to scan, from the first that exists; None when there is none."""
        first = self.database.connection.execute("SELECT min(number) FROM dead_letter WHERE number > ?", (after,)).get
        return None if first is None else (first - 1, first - 1 + SCAN_ROWS)

    def replay(
        self, numbers: Sequence[int], chunks: Sequence[Chunk], letters: Sequence[DeadLetter]
    ) -> list[StoredChunk]:
        """Delete these dead letters and store the chunks and dead letters that replace them."""
        self._check_space(chunks, letters)
        with self.database.commit() as transaction:
            if transaction.delete_letters(numbers) != len(numbers):
                raise KeyError(f"cannot replay dead letters {list(numbers)}: some were replayed or discarded before")
            stored = transaction.store(chunks, self._clock())
            transaction.store_letters(letters)
        return stored

    def discard(self, numbers: Sequence[int]) -> int:
        """Delete these dead letters, and return how many of them existed."""
        with self.database.commit() as transaction:
            return transaction.delete_letters(numbers)

    def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Delete the oldest dead letters: those from before `since`, and further ones while all exceed `max_bytes`.

        Returns how many were deleted, at most 500: call it until it returns 0.
        """
        excess = self.database.totals.letter_bytes - max_bytes
        oldest = []
        for number, at, size in self.database.connection.execute(
            "SELECT number, at, size FROM dead_letter ORDER BY number LIMIT 500"
        ):
            if at >= since and excess <= 0:
                break
            oldest.append(number)
            excess -= size
        return self.discard(oldest) if oldest else 0

    def _check_space(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> None:
        database, limits = self.database, self.database.limits
        if not self._fits_within(chunks, letters, limits.cap_pages):
            raise SpoolFull(
                f"the spool is full: it holds {database.used_pages * PAGE_SIZE} of {limits.max_bytes} bytes "
                "(spool.max_bytes). Send the request again when events have been delivered, or raise spool.max_bytes"
            )
        if self._checked_at + CHECK_INTERVAL > (now := time.monotonic()):
            return
        if not database.is_in_place:
            raise SpoolUnavailable(
                f"{limits.path} was moved or removed while in use: the next start would not find events that are "
                "stored now. Put the file back, or restart the gateway"
            )
        if (free := limits.free_disk(limits.path.parent)) < limits.extra_disk:
            raise SpoolFull(
                f"the disk of {limits.path.parent} has {free} bytes free, less than the {limits.extra_disk} reserved "
                "for delivery. Send the request again when events have been delivered, or free space on the disk"
            )
        self._checked_at = now

    def _fits_within(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter], max_pages: int) -> bool:
        """Whether the used pages and these fit `max_pages`. The file is measured only when the estimate exceeds it."""
        database, additional = self.database, pages_of(chunks, letters)
        if database.used_pages + additional > max_pages and database.unmeasured_pages:
            database.measure()
        return database.used_pages + additional <= max_pages

    def _free_space(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> None:
        """Delete the oldest dead letters when the reserve is full too: otherwise the spool could not drain any more."""
        database = self.database
        total = 0
        while not self._fits_within(chunks, letters, database.limits.last_page):
            excess = database.used_pages + pages_of(chunks, letters) - database.limits.last_page
            deleted = self.purge(0.0, database.totals.letter_bytes - excess * PAGE_SIZE)
            if not deleted:
                break
            total += deleted
        if total:
            log.error(
                "deleted the oldest %d dead letters of %s: the spool was full and acknowledgements need space. Raise "
                "spool.max_bytes or lower spool.dead_letter_bytes",
                total, database.limits.path,
            )  # fmt: skip

    def _dead_letter_chunk(self, lane: Lane, row: tuple[Any, ...]) -> None:
        """Replace a damaged chunk by dead letters: it must not be delivered and must not block its lane."""
        letters = rows.letters_of_damaged(row, lane, self._clock())
        self._free_space([], letters)
        with self.database.commit() as transaction:
            transaction.remove(lane, [rows.id_of(row[0])])
            transaction.store_letters(letters)
        log.error(
            "chunk %d of %s in %s is damaged: its %d events are now dead letters with the code %s. Check the health of "
            "the disk, then replay or discard them",
            rows.id_of(row[0]), lane, self.database.limits.path, len(letters), rows.CORRUPT,
        )  # fmt: skip


def _intact_rows(cursor: Any, lane: Lane, damaged: list[tuple[Any, ...]]) -> Iterator[StoredChunk]:
    """Yield the chunks of rows; add a damaged row to `damaged` and raise `DamagedRow`."""
    for row in cursor:
        try:
            yield rows.stored_chunk(row, lane)
        except DamagedRow:
            damaged.append(row)
            raise


def _bindings(where: DeadLetterFilter) -> tuple[bytes | str | float | None, ...]:
    """Return the values of the parameters ?3 to ?8 of `_MATCHING`."""
    texts = where.code, where.destination, where.stage and where.stage.value
    return *(text and text.encode() for text in texts), where.since, where.until, where.event_set
