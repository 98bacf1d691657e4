"""The operations of the spool on an open database, each one transaction. Synchronous: the database thread calls them.

There are two size limits: `append` stops at `max_bytes`; `acknowledge` may use the reserve beyond it, so that a full
spool can drain. Dead letters have a limit of their own, and are deleted when events need the space.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apsw

from gateway.model import Chunk, ChunkId, DeadLetter, Lane, StoredChunk, UnixSeconds
from gateway.spool.dead_letter_store import DeadLetterFilter
from gateway.spool.protocol import SpoolFull, SpoolUnavailable
from gateway.spool.size_accounting import events_and_bytes, newest_letters, size_of, take_within
from gateway.spool.sqlite import bulk_sql, rows
from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.group_acknowledge import Acknowledgement, Results
from gateway.spool.sqlite.rows import DamagedRow, key_of
from gateway.spool.sqlite.schema import PAGE_SIZE
from gateway.spool.sqlite.storage_limits import pages_of
from gateway.spool.sqlite.transaction import Transaction

log = logging.getLogger("gateway.spool")

_READ = "SELECT * FROM chunk WHERE key > ? AND key < ? ORDER BY key"
_MATCHING = (
    " FROM dead_letter WHERE number > ?1 AND number <= ?2 AND (?3 IS NULL OR code = ?3)"
    " AND (?4 IS NULL OR destination = ?4) AND (?5 IS NULL OR stage = ?5)"
    " AND (?6 IS NULL OR at >= ?6) AND (?7 IS NULL OR at < ?7)"
    " AND (?8 IS NULL OR (json_valid(CAST(about AS TEXT)) AND json_extract(CAST(about AS TEXT), '$[2][1]') = ?8))"
    " AND (?9 IS NULL OR message_id = ?9) AND (?10 IS NULL OR order_id = ?10)"
)
_SELECT_LETTERS = f"SELECT *{_MATCHING} ORDER BY number LIMIT ?11"
_COUNT_LETTERS = f"SELECT count(*){_MATCHING}"
_COUNT_CODES = "SELECT code, count(*) FROM dead_letter WHERE number > ? AND number <= ? GROUP BY code"
CHECK_INTERVAL = 0.05
"""Seconds between two checks of the files' places and the disk's free space, which take longer than the one of the open
files before each commit."""
SCAN_ROWS = 5000
"""Dead letters that one call scans: a filter that matches few of millions must not delay commits."""
PURGE_STEPS = 16
"""Transactions in which one call deletes dead letters to make space, at most."""
MAX_LOG = 8
"""Size of the log, in multiples of the one at which a checkpoint runs, beyond which no event is stored. It is reached
when checkpoints fail; the log would otherwise fill the disk, and a recovery needs memory for each of its pages."""


class Store:
    """The operations on an open database. After any exception the database is as it was before the call."""

    def __init__(self, database: Database, clock: Callable[[], UnixSeconds], lost_up_to: int = 0) -> None:
        """IDs up to `lost_up_to` may be missing: they were lost when a damaged file was recovered while in use."""
        self.database = database
        self._clock = clock
        self._lost_up_to = lost_up_to
        self._checked_at = -CHECK_INTERVAL  # monotonic time of the last successful check

    def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> list[StoredChunk]:
        """Store all of the chunks and the dead letters, or nothing; dead letters replace others, see `Spool.append`.

        Raises `SpoolFull` when the chunks do not fit even without dead letters, or when there are only dead letters to
        store and those with an event do not fit.
        """
        self._check_files()
        if chunks:
            self._make_space(chunks)
        by_limit = by_space = 0
        if letters:
            by_limit = self._letter_excess(letters)
            by_space = self._missing_pages(chunks, letters) * PAGE_SIZE
        with self.database.commit() as transaction:
            if (excess := max(by_limit, by_space)) > 0:
                letters, excess = _replace_letters(transaction, letters, excess)
                if excess > 0 and by_space > by_limit and not chunks:
                    raise self._full()
                letters = _leave_out(transaction, letters, excess)
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

        When one of them is invalid or all do not fit, each runs in a transaction of its own, so that the others take
        effect.
        """
        try:
            self._acknowledge_together(acknowledgements)
        except (KeyError, ValueError) as error:
            if len(acknowledgements) == 1:
                return [error]
        except apsw.FullError:
            if len(acknowledgements) == 1:
                raise
        else:
            return [None] * len(acknowledgements)
        return [self._acknowledge_alone(acknowledgement) for acknowledgement in acknowledgements]

    def _acknowledge_alone(self, acknowledgement: Acknowledgement) -> Exception | None:
        try:
            self._acknowledge_together([acknowledgement])
        except (KeyError, ValueError) as error:
            return error
        except (apsw.FullError, apsw.IOError) as error:
            return SpoolUnavailable(f"the disk of {self.database.limits.path} is full or failed: {error}")
        return None

    def _acknowledge_together(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        for lane, ids, _, rest in acknowledgements:
            if rest and (rest.lane != lane or not ids):
                raise ValueError("`rest` must be of the acknowledged lane, and needs the ID of an acknowledged chunk")
        letters = [letter for acknowledgement in acknowledgements for letter in acknowledgement.letters]

        def change(transaction: Transaction) -> None:
            for lane, ids, _, rest in acknowledgements:
                if ids:
                    stored_at = transaction.remove(lane, ids, lost_up_to=self._lost_up_to)
                    if rest:
                        transaction.restore(StoredChunk(ids[0], rest, stored_at))
            self._store_letters(transaction, letters)

        self._commit_in_reserve(change, [rest for _, _, _, rest in acknowledgements if rest], letters)

    def _store_letters(self, transaction: Transaction, letters: Sequence[DeadLetter]) -> None:
        """Store dead letters of accepted events: all of them, since they replace events."""
        if letters and (excess := self._letter_excess(letters)) > 0:
            transaction.purge_letters(excess)
        transaction.store_letters(letters)

    def _commit_in_reserve(
        self, change: Callable[[Transaction], None], chunks: Sequence[Chunk], letters: Sequence[DeadLetter]
    ) -> None:
        """Run a transaction that may use the reserve. When it is full too, delete the oldest dead letters and repeat.

        Otherwise the spool could not drain any more. Raises `apsw.FullError` when that does not help.
        """
        database = self.database
        for _ in range(PURGE_STEPS):
            try:
                with database.commit() as transaction:
                    change(transaction)
            except apsw.FullError:
                database.measure()
                excess = database.used_pages + pages_of(chunks, letters) - database.limits.last_page
                if excess <= 0 or not self._purge_for_space(excess * PAGE_SIZE):
                    raise  # the disk is full, or there is nothing to delete
            else:
                return
        raise apsw.FullError("the dead letters that can be deleted at once do not free enough space")

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

    def count_codes(self, after: int) -> tuple[Counter[str], int | None]:
        """Return the codes of the next `SCAN_ROWS` dead letters with their counts, and the number to continue after."""
        span = self._span(after)
        if span is None:
            return Counter(), None
        counted: list[Any] = self.database.connection.execute(_COUNT_CODES, span).fetchall()
        codes: Counter[str] = Counter()
        for code, count in counted:
            codes[code.decode(errors="replace")] += count
        return codes, span[1]

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
        self._check_files()
        missing = self._missing_pages(chunks, letters)
        with self.database.commit() as transaction:
            deleted, freed = transaction.delete_letters(numbers)
            if deleted != len(numbers):
                raise KeyError(f"cannot replay dead letters {list(numbers)}: some were replayed or discarded before")
            if missing > freed // PAGE_SIZE:
                raise self._full()
            stored = transaction.store(chunks, self._clock())
            transaction.store_letters(letters)
        return stored

    def discard(self, numbers: Sequence[int]) -> int:
        """Delete these dead letters, and return how many of them existed."""
        with self.database.commit() as transaction:
            return transaction.delete_letters(numbers)[0]

    def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Delete dead letters from before `since`, and further ones while all exceed `max_bytes`.

        Returns how many were deleted, at most a few thousand: call it until it returns 0.
        """
        if not self.database.totals.letters:
            return 0
        with self.database.commit() as transaction:
            transaction.expire_letters(since)
            if (excess := self.database.totals.letter_bytes + transaction.letter_bytes - max_bytes) > 0:
                transaction.purge_letters(excess)
        return transaction.purged

    def _check_files(self) -> None:
        """Raise `SpoolUnavailable` or `SpoolFull` when events that are stored now might be lost."""
        database, limits = self.database, self.database.limits
        database.check_files()
        if self._checked_at + CHECK_INTERVAL > (now := time.monotonic()):
            return
        database.check_places()
        if database.log_pages > MAX_LOG * limits.log_pages:
            raise SpoolUnavailable(
                f"the write-ahead log of {limits.path} has {database.log_length} bytes and cannot be copied into the "
                "database. Check the free space and the health of the disk"
            )
        if (free := limits.free_disk(limits.path.parent)) < limits.extra_disk:
            raise SpoolFull(
                f"the disk of {limits.path.parent} has {free} bytes free, less than the {limits.extra_disk} reserved "
                "for delivery. Send the request again when events have been delivered, or free space on the disk"
            )
        self._checked_at = now

    def _make_space(self, chunks: Sequence[Chunk]) -> None:
        """Delete dead letters while chunks do not fit because of them. Raises `SpoolFull` when that cannot help."""
        for _ in range(PURGE_STEPS):
            missing = self._missing_pages(chunks, []) * PAGE_SIZE
            if missing <= 0:
                return
            # Pages from which rows were deleted may be filled to a third.
            if missing > 3 * self.database.totals.letter_bytes or not self._purge_for_space(missing):
                break
        raise self._full()

    def _purge_for_space(self, size: int) -> int:
        """Delete dead letters of this size, and return the size of those that were deleted, 0 if there are none."""
        database = self.database
        if not database.totals.letters:
            return 0
        with database.commit() as transaction:
            freed = transaction.purge_letters(size)
        database.measure()
        return freed

    def _letter_excess(self, letters: Sequence[DeadLetter]) -> int:
        """Return by how many bytes the dead letters would exceed their limit; not above 0 if they would not."""
        return self.database.totals.letter_bytes + size_of([], letters) - self.database.limits.letter_bytes

    def _missing_pages(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> int:
        """Return how many pages are missing for these within `max_bytes`; not above 0 if they fit.

        The file is measured only when the estimate exceeds the limit.
        """
        database, additional = self.database, pages_of(chunks, letters)
        if database.used_pages + additional > database.limits.cap_pages and database.unmeasured_pages:
            database.measure()
        return database.used_pages + additional - database.limits.cap_pages

    def _full(self) -> SpoolFull:
        database, limits = self.database, self.database.limits
        return SpoolFull(
            f"the spool is full: it holds {database.used_pages * PAGE_SIZE} of {limits.max_bytes} bytes "
            "(spool.max_bytes). Send the request again when events have been delivered, or raise spool.max_bytes"
        )

    def _dead_letter_chunk(self, lane: Lane, row: tuple[Any, ...]) -> None:
        """Replace a damaged chunk by dead letters: it must not be delivered and must not block its lane."""
        letters = rows.letters_of_damaged(row, lane, self._clock())

        def change(transaction: Transaction) -> None:
            transaction.remove(lane, [rows.id_of(row[0])])
            self._store_letters(transaction, letters)

        self._commit_in_reserve(change, [], letters)
        log.error(
            "chunk %d of %s in %s is damaged: its %d events are now dead letters with the code %s. Check the health of "
            "the disk, then replay or discard them",
            rows.id_of(row[0]), lane, self.database.limits.path, len(letters), rows.CORRUPT,
        )  # fmt: skip


def _replace_letters(
    transaction: Transaction, letters: Sequence[DeadLetter], excess: int
) -> tuple[Sequence[DeadLetter], int]:
    """Delete stored dead letters of `excess` bytes, and return the new ones to store.

    First stored and then new ones without an event are left out, so that these never replace one with an event. Also
    returns the bytes that still do not fit when no stored ones are left.
    """
    excess -= transaction.purge_letters_without_event(excess)
    without_event = size_of([], [letter for letter in letters if letter.event is None])
    kept = _leave_out(transaction, letters, min(excess, without_event))
    excess -= size_of([], letters) - size_of([], kept)
    for _ in range(PURGE_STEPS):
        if excess <= 0:
            break
        freed = transaction.purge_letters(excess)
        if not freed:
            return kept, excess
        excess -= freed
    return kept, 0  # the rest is deleted by the next calls


def _leave_out(transaction: Transaction, letters: Sequence[DeadLetter], excess: int) -> Sequence[DeadLetter]:
    """Leave out new dead letters of `excess` bytes, and count them as purged."""
    kept = newest_letters(letters, excess)
    transaction.purged += len(letters) - len(kept)
    return kept


def _intact_rows(cursor: Any, lane: Lane, damaged: list[tuple[Any, ...]]) -> Iterator[StoredChunk]:
    """Yield the chunks of rows; add a damaged row to `damaged` and raise `DamagedRow`."""
    for row in cursor:
        try:
            yield rows.stored_chunk(row, lane)
        except DamagedRow:
            damaged.append(row)
            raise


def _bindings(where: DeadLetterFilter) -> tuple[bytes | str | float | None, ...]:
    """Return the values of the parameters ?3 to ?10 of `_MATCHING`."""
    code, destination, stage, message_id, order_id = (
        text and text.encode()
        for text in (where.code, where.destination, where.stage and where.stage.value, where.message_id, where.order_id)
    )
    return code, destination, stage, where.since, where.until, where.event_set, message_id, order_id
