"""The write operations of one transaction, and the changes of the totals that go with them.

apsw releases the GIL in each step, and under load the database thread waits longer to get it back from the event loop
than a row takes to write. So the rows of chunks are collected, and a transaction that stores only chunks is a single
statement, which needs no `BEGIN` and `COMMIT`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from gateway.model import Chunk, ChunkId, DeadLetter, Lane, StoredChunk, UnixSeconds
from gateway.spool.protocol import SpoolFull
from gateway.spool.sqlite import bulk_sql, rows
from gateway.spool.sqlite.rows import ChunkRow, key_of, lane_text
from gateway.spool.sqlite.schema import MAX_LANES
from gateway.spool.sqlite.totals import LaneTotals, Totals

_INSERT_LANE = "INSERT INTO lane VALUES (?, ?, ?, ?, 0, 0, 0)"
_SELECT_CHUNK = "SELECT key, count, length(payload), stored_at FROM chunk WHERE key = ?"
_INSERT_LETTER = (
    "INSERT INTO dead_letter(at, stage, code, destination, size, about, checksum, message_id, order_id, event)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
)
_COUNT_LETTERS = "UPDATE dead_letter_total SET letters = letters + ?, bytes = bytes + ?"
_DELETE_LANE = (
    "DELETE FROM lane WHERE number = ?1 AND events = 0 AND last_id < ?2"
    " AND NOT EXISTS (SELECT 1 FROM chunk WHERE key >= ?1 << 44 AND key < (?1 + 1) << 44) RETURNING number"
)

PURGE_LETTERS = 1000
"""Dead letters that one statement deletes at most: it takes a few milliseconds."""


@dataclass(slots=True)
class _LaneChange:
    totals: LaneTotals
    events: int = 0
    bytes: int = 0


class Transaction:
    """The operations of one transaction, which `Database.commit` begins and ends."""

    def __init__(self, connection: apsw.Connection, totals: Totals) -> None:
        self._connection = connection
        self._totals = totals
        # Changes of the totals, applied when the transaction is durable.
        self._lanes: dict[Lane, _LaneChange] = {}
        self._last_id = totals.last_id
        self._last_lane = totals.last_lane
        self._last_letter = totals.last_letter
        self._letters = 0
        self.letter_bytes = 0  # negative if more was deleted than stored
        self._reused_numbers = 0  # numbers taken from the end of `Totals.free_numbers`
        self._empty_lanes: dict[Lane, bool] = {}  # whether each was deleted
        self.purged = 0
        """Dead letters that were deleted because of their age or for space, or not stored for lack of it."""
        self._has_begun = False  # whether BEGIN was executed
        self._chunks: list[ChunkRow] = []  # written by `finish`

    def finish(self) -> None:
        """Write the collected chunks, and commit."""
        if self._has_begun or len(self._chunks) > bulk_sql.MAX_SINGLE_INSERT:
            execute = self._begin()
            bulk_sql.insert_chunks(self._connection, self._chunks)
            if self._letters or self.letter_bytes:
                execute(_COUNT_LETTERS, (self._letters, self.letter_bytes))
            execute("COMMIT")
        elif self._chunks:
            bulk_sql.insert_chunks(self._connection, self._chunks)

    def store(self, chunks: Sequence[Chunk], now: UnixSeconds) -> list[StoredChunk]:
        """Store chunks under new IDs. Hot: once a commit, a few microseconds a chunk in addition to the database's."""
        number = self._last_id
        stored = []
        for chunk in chunks:
            number += 1
            change = self._change(chunk.lane)
            change.events += chunk.count
            change.bytes += len(chunk.payload)
            totals = change.totals
            self._chunks.append(rows.chunk_row(key_of(totals.number, number), chunk, now, totals.text))
            stored.append(StoredChunk(ChunkId(number), chunk, now))
        self._last_id = number
        return stored

    def restore(self, stored: StoredChunk) -> None:
        """Store a chunk under its existing ID."""
        change = self._change(stored.chunk.lane)
        change.events += stored.chunk.count
        change.bytes += len(stored.chunk.payload)
        self._last_id = max(self._last_id, stored.id)
        totals = change.totals
        key = key_of(totals.number, stored.id)
        self._chunks.append(rows.chunk_row(key, stored.chunk, stored.stored_at, totals.text))

    def remove(self, lane: Lane, ids: Sequence[ChunkId], lost_up_to: int = 0) -> UnixSeconds:
        """Remove chunks, and return when the oldest of them was stored.

        Raises `KeyError` when a chunk does not exist, unless its ID is at most `lost_up_to`.
        """
        if lane not in self._totals.lanes and min(ids) > lost_up_to:
            raise KeyError(f"cannot acknowledge chunks {list(ids)} of {lane}: they were acknowledged before")
        change = self._change(lane)
        keys = [key_of(change.totals.number, number) for number in ids]
        # Usually the chunks are all that exist between the lowest and the highest ID: one statement removes them.
        if summary := bulk_sql.removable(self._connection, keys):
            self._begin()("DELETE FROM chunk WHERE key BETWEEN ? AND ?", (min(keys), max(keys)))
            events, size, stored_at = summary
            change.events -= events
            change.bytes -= size
            return stored_at
        removed = [row for key in keys for row in self._remove_one(lane, key, lost_up_to)]
        for _, count, size, _ in removed:
            change.events -= count
            change.bytes -= size
        return min((float(row[3]) for row in removed), default=0.0)

    def _remove_one(self, lane: Lane, key: int, lost_up_to: int) -> list[Any]:
        removed = self._connection.execute(_SELECT_CHUNK, (key,)).fetchall()
        if not removed and rows.id_of(key) > lost_up_to:
            raise KeyError(f"cannot acknowledge chunk {rows.id_of(key)} of {lane}: it was acknowledged before")
        self._begin()("DELETE FROM chunk WHERE key = ?", (key,))
        return removed

    def store_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Store dead letters under new numbers."""
        for letter in letters:
            row = rows.letter_row(letter)
            self._begin()(_INSERT_LETTER, row)
            self._letters += 1
            self.letter_bytes += row[4]
        if letters:
            self._last_letter = self._connection.last_insert_rowid()

    def restore_letter(self, number: int, letter: DeadLetter) -> None:
        """Store a dead letter under its existing number."""
        row = rows.letter_row(letter)
        self._begin()("INSERT INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *row))
        self._letters += 1
        self.letter_bytes += row[4]
        self._last_letter = max(self._last_letter, number)

    def delete_letters(self, numbers: Sequence[int]) -> tuple[int, int]:
        """Delete dead letters, and return how many of them existed, and their bytes."""
        deleted = freed = 0
        for number in numbers:
            for (size,) in self._begin()("DELETE FROM dead_letter WHERE number = ? RETURNING size", (number,)):
                deleted += 1
                freed += size
        self._letters -= deleted
        self.letter_bytes -= freed
        return deleted, freed

    def purge_letters(self, excess: int) -> int:
        """Delete dead letters until `excess` bytes are freed or none is left, at most `PURGE_LETTERS` of each kind.

        Those without an event are deleted first, since they cannot be replayed; then the oldest. Returns the bytes.
        """
        count, freed = self._purge(bulk_sql.delete_letters_without_event, excess)
        if freed < excess and count < PURGE_LETTERS:
            freed += self._purge(bulk_sql.delete_oldest_letters, excess - freed)[1]
        return freed

    def purge_letters_without_event(self, excess: int) -> int:
        """Like `purge_letters`, but delete only dead letters without an event."""
        return self._purge(bulk_sql.delete_letters_without_event, excess)[1]

    def expire_letters(self, since: UnixSeconds) -> None:
        """Delete the oldest dead letters that were written before `since`, at most `PURGE_LETTERS`."""
        self._purge(bulk_sql.delete_expired_letters, since)

    def _purge(self, delete: Callable[[apsw.Connection, int, Any], tuple[int, int]], bound: float) -> tuple[int, int]:
        self._begin()
        count, size = delete(self._connection, PURGE_LETTERS, bound)
        self._letters -= count
        self.letter_bytes -= size
        self.purged += count
        return count, size

    def delete_empty_lanes(self, lanes: Sequence[Lane]) -> None:
        """Delete lanes without events, except the one that has the highest ID."""
        execute = self._begin()
        highest = execute("SELECT max(last_id) FROM lane").get
        for lane in lanes:
            number = self._totals.lanes[lane].number
            self._empty_lanes[lane] = bool(execute(_DELETE_LANE, (number, highest)).fetchall())

    def apply_totals(self) -> None:
        """Apply the changes to the totals in memory, after the commit."""
        totals = self._totals
        for lane, change in self._lanes.items():
            change.totals.events += change.events
            change.totals.bytes += change.bytes
            totals.lanes[lane] = change.totals
            if change.totals.events:
                totals.empty.pop(lane, None)
            else:
                totals.empty[lane] = None
        if self._reused_numbers:
            del totals.free_numbers[-self._reused_numbers :]
        for lane, is_deleted in self._empty_lanes.items():
            del totals.empty[lane]
            if is_deleted:
                totals.free_numbers.append(totals.lanes.pop(lane).number)
            else:
                totals.empty[lane] = None  # the last one to try again
        totals.last_id = self._last_id
        totals.last_lane = self._last_lane
        totals.last_letter = self._last_letter
        totals.letters += self._letters
        totals.letter_bytes += self.letter_bytes

    def _change(self, lane: Lane) -> _LaneChange:
        change = self._lanes.get(lane)
        if change is None:
            self._lanes[lane] = change = _LaneChange(self._totals.lanes.get(lane) or self._new_lane(lane))
        return change

    def _new_lane(self, lane: Lane) -> LaneTotals:
        free = self._totals.free_numbers
        if self._reused_numbers < len(free):
            self._reused_numbers += 1
            number = free[-self._reused_numbers]
        elif self._last_lane < MAX_LANES:
            self._last_lane += 1
            number = self._last_lane
        else:
            raise SpoolFull(
                f"events wait for {MAX_LANES} combinations of destination, event set and upload tag, the maximum. Use "
                "fewer upload tags"
            )
        self._begin()(_INSERT_LANE, (number, *lane))
        return LaneTotals(number, lane_text(lane))

    def _begin(self) -> Callable[..., apsw.Cursor]:
        """Begin the transaction if it has not begun, and return the function that executes a statement."""
        if not self._has_begun:
            self._has_begun = True
            self._connection.execute("BEGIN IMMEDIATE")
        return self._connection.execute
