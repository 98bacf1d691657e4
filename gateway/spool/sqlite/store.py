"""The verbs of the spool on an open database, each one transaction. Synchronous: the writer's thread calls them.

Two limits: `append` stops at the cap, `settle` may go on into the reserve, which is what lets a full spool empty.
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
"""Seconds between two looks at the file's place and the disk's room: each is a hold-up, as every step is."""
SCAN_ROWS = 5000
"""Dead letters that one call looks at: a filter that matches few of millions may not hold up the commits."""


class Store:
    """What can be done with an open database. After any exception it is as it was before the call."""

    def __init__(self, database: Database, clock: Callable[[], UnixSeconds]) -> None:
        self.database = database
        self._clock = clock
        self._checked_at = -CHECK_INTERVAL  # when, on the monotonic clock, file and disk were last found well
        self.lost_up_to = 0
        """IDs up to this may be missing: a rescue while we served could not read them."""

    def append(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> list[StoredChunk]:
        """Keep all of it, or none."""
        self._check_space(chunks, letters)
        with self.database.commit() as transaction:
            stored = transaction.keep(chunks, self._clock())
            transaction.keep_letters(letters)
        return stored

    def read(self, lane: Lane, after: ChunkId, max_events: int, max_bytes: int) -> list[StoredChunk]:
        """The lane's oldest chunks above `after` that fit both limits, and one more."""
        totals = self.database.totals.lanes.get(lane)
        if totals is None:
            return []
        span = key_of(totals.number, max(0, after)), key_of(totals.number + 1, 0)
        limits = max_events, max_bytes
        found = bulk_sql.read(self.database.connection, span, limits, lane, totals.text)
        if found is not None:
            return found
        return self._read_one_by_one(span, limits, lane)

    def _read_one_by_one(self, span: tuple[int, int], limits: tuple[int, int], lane: Lane) -> list[StoredChunk]:
        """The same, where a chunk is damaged: it becomes dead letters, and the others are read."""
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
        """Remove the chunks, keep the letters, and `rest` under the first of the IDs."""
        (problem,) = self.acknowledge_all([Acknowledgement(lane, ids, letters, rest)])
        if problem is not None:
            raise problem

    def acknowledge_all(self, acknowledgements: Sequence[Acknowledgement]) -> Results:
        """Settle a group in one transaction. One that cannot be is refused by itself, and the others are done."""
        try:
            self._acknowledge_together(acknowledgements)
        except (KeyError, ValueError) as problem:
            if len(acknowledgements) == 1:
                return [problem]
            return [found for one in acknowledgements for found in self.acknowledge_all([one])]
        return [None] * len(acknowledgements)

    def _acknowledge_together(self, acknowledgements: Sequence[Acknowledgement]) -> None:
        for lane, ids, _, rest in acknowledgements:
            if rest and (rest.lane != lane or not ids):
                raise ValueError("what rests of a batch stays in its lane, under the first of the batch's IDs")
        letters = [letter for one in acknowledgements for letter in one.letters]
        self._free_space([one.rest for one in acknowledgements if one.rest], letters)
        with self.database.commit() as transaction:
            for lane, ids, _, rest in acknowledgements:
                if ids:
                    stored_at = transaction.remove(lane, ids, lost_up_to=self.lost_up_to)
                    if rest:
                        transaction.put_back(StoredChunk(ids[0], rest, stored_at))
            transaction.keep_letters(letters)

    def dead_letters(
        self, after: int, limit: int, where: DeadLetterFilter
    ) -> tuple[list[tuple[int, DeadLetter]], int | None]:
        """Matching letters among the next `SCAN`, and the number after which to go on."""
        span = self._span(after)
        if span is None:
            return [], None
        found: list[Any] = self.database.connection.execute(
            _SELECT_LETTERS, (*span, *_bindings(where), limit)
        ).fetchall()
        return [(row[0], rows.dead_letter_or_note(row[1:])) for row in found], span[1]

    def count_dead_letters(self, after: int, where: DeadLetterFilter) -> tuple[int, int | None]:
        """How many of the next `SCAN` letters match, and the number after which to go on."""
        span = self._span(after)
        if span is None:
            return 0, None
        count: int = self.database.connection.execute(_COUNT_LETTERS, (*span, *_bindings(where))).get
        return count, span[1]

    def dead_letter(self, number: int) -> DeadLetter:
        """One of them."""
        row = self.database.connection.execute("SELECT * FROM dead_letter WHERE number = ?", (number,)).fetchone()
        if row is None:
            raise KeyError(f"there is no dead letter {number}: it was replayed, discarded or let go")
        return rows.dead_letter_or_note(row[1:])

    def _span(self, after: int) -> tuple[int, int] | None:
        """The next numbers to look at, from the first that is there; None when there is none."""
        first = self.database.connection.execute("SELECT min(number) FROM dead_letter WHERE number > ?", (after,)).get
        return None if first is None else (first - 1, first - 1 + SCAN_ROWS)

    def replay(
        self, numbers: Sequence[int], chunks: Sequence[Chunk], letters: Sequence[DeadLetter]
    ) -> list[StoredChunk]:
        """Let letters go and keep what became of them."""
        self._check_space(chunks, letters)
        with self.database.commit() as transaction:
            if transaction.drop_letters(numbers) != len(numbers):
                raise KeyError(f"not all of {list(numbers)} are dead letters: they were replayed or discarded before")
            stored = transaction.keep(chunks, self._clock())
            transaction.keep_letters(letters)
        return stored

    def discard(self, numbers: Sequence[int]) -> int:
        """Let letters go for good; how many of them were there."""
        with self.database.commit() as transaction:
            return transaction.drop_letters(numbers)

    def purge(self, since: UnixSeconds, max_bytes: int) -> int:
        """Let some of the oldest letters go that are from before `since` or beyond `max_bytes`; how many.

        A bounded step: call again until it is 0.
        """
        excess = self.database.totals.letter_bytes - max_bytes
        gone = []
        for number, at, size in self.database.connection.execute(
            "SELECT number, at, size FROM dead_letter ORDER BY number LIMIT 500"
        ):
            if at >= since and excess <= 0:
                break
            gone.append(number)
            excess -= size
        return self.discard(gone) if gone else 0

    def _check_space(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> None:
        database, limits = self.database, self.database.limits
        if not self._fits_within(chunks, letters, limits.cap_pages):
            raise SpoolFull(
                f"the spool may hold spool.max_bytes = {limits.max_bytes} bytes and holds "
                f"{database.used_pages * PAGE_SIZE}. Send again when events have left, or raise spool.max_bytes"
            )
        if self._checked_at + CHECK_INTERVAL > (now := time.monotonic()):
            return
        if not database.is_ours:
            raise SpoolUnavailable(
                f"{limits.path} was moved or removed while in use: what is taken now would be gone after the next "
                "start. Put it back, or restart the gateway"
            )
        if (free := limits.free_disk(limits.path.parent)) < limits.beside:
            raise SpoolFull(
                f"the disk of {limits.path.parent} has {free} bytes free and the last {limits.beside} are kept for "
                f"what has to leave. Send again when events have left, or make room on the disk"
            )
        self._checked_at = now

    def _fits_within(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter], maximum: int) -> bool:
        """Whether the file has no more than `most` pages with these. It is measured only where that may be in doubt."""
        database, more = self.database, pages_of(chunks, letters)
        if database.used_pages + more > maximum and database.unmeasured_pages:
            database.measure()
        return database.used_pages + more <= maximum

    def _free_space(self, chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> None:
        """Let the oldest dead letters go where even the reserve is full of them: else it could never empty again."""
        database = self.database
        gone = 0
        while not self._fits_within(chunks, letters, database.limits.last_page):
            excess = database.used_pages + pages_of(chunks, letters) - database.limits.last_page
            step = self.purge(0.0, database.totals.letter_bytes - excess * PAGE_SIZE)
            if not step:
                break
            gone += step
        if gone:
            log.error("the spool is full of dead letters: the oldest %d were let go", gone)

    def _dead_letter_chunk(self, lane: Lane, row: tuple[Any, ...]) -> None:
        """A damaged chunk becomes dead letters: it may neither be delivered nor block its lane."""
        letters = rows.letters_of_damaged(row, lane, self._clock())
        self._free_space([], letters)
        with self.database.commit() as transaction:
            transaction.remove(lane, [rows.id_of(row[0])])
            transaction.keep_letters(letters)
        log.error(
            "a chunk of %s is damaged: its %d events are dead letters with the code %s now",
            lane, len(letters), rows.CORRUPT,
        )  # fmt: skip


def _intact_rows(cursor: Any, lane: Lane, damaged: list[tuple[Any, ...]]) -> Iterator[StoredChunk]:
    """Rows as chunks, up to one that is damaged."""
    for row in cursor:
        try:
            yield rows.stored_chunk(row, lane)
        except DamagedRow:
            damaged.append(row)
            raise


def _bindings(where: DeadLetterFilter) -> tuple[bytes | str | float | None, ...]:
    texts = where.code, where.destination, where.stage and where.stage.value
    return *(text and text.encode() for text in texts), where.since, where.until, where.event_set
