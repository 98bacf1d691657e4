"""What can be written inside one transaction, with the totals that it changes noted as it goes.

Each step of the database lets go of the interpreter's lock, and under load it takes longer to get that back from the
loop than to write a row. So rows of chunks are collected, and where they are all that there is, they are one statement,
which is a transaction by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from gateway.model import Chunk, ChunkId, DeadLetter, Lane, StoredChunk, UnixSeconds
from gateway.spool.sqlite import bulk_sql, rows
from gateway.spool.sqlite.rows import ChunkRow, key_of, lane_text
from gateway.spool.sqlite.totals import LaneTotals, Totals

_INSERT_LANE = "INSERT INTO lane VALUES (?, ?, ?, ?, 0, 0, 0)"
_SELECT_CHUNK = "SELECT key, count, length(payload), stored_at FROM chunk WHERE key = ?"
_INSERT_LETTER = (
    "INSERT INTO dead_letter(at, stage, code, destination, size, about, checksum, event)"
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
)
_COUNT_LETTERS = "UPDATE dead_letter_total SET letters = letters + ?, bytes = bytes + ?"


@dataclass(slots=True)
class _LaneChange:
    totals: LaneTotals
    events: int = 0
    bytes: int = 0


class Transaction:
    """The verbs of one transaction. It is over when `Database.commit` says so."""

    def __init__(self, connection: apsw.Connection, totals: Totals) -> None:
        self._connection = connection
        self._totals = totals
        # What the totals will change by when the transaction is durable.
        self._lanes: dict[Lane, _LaneChange] = {}
        self._last_id = totals.last_id
        self._last_lane = totals.last_lane
        self._last_letter = totals.last_letter
        self._letters = 0
        self._letter_bytes = 0
        # Of this transaction.
        self._has_begun = False
        self._chunks: list[ChunkRow] = []  # to be written at its end

    def finish(self) -> None:
        """Write what was collected, and make all of it durable."""
        if self._has_begun or len(self._chunks) > bulk_sql.MAX_SINGLE_INSERT:
            execute = self._begun()
            bulk_sql.insert_chunks(self._connection, self._chunks)
            if self._letters or self._letter_bytes:
                execute(_COUNT_LETTERS, (self._letters, self._letter_bytes))
            execute("COMMIT")
        elif self._chunks:
            bulk_sql.insert_chunks(self._connection, self._chunks)

    def keep(self, chunks: Sequence[Chunk], now: UnixSeconds) -> list[StoredChunk]:
        """Keep chunks under new IDs. Hot: once a commit, a few microseconds a chunk beside the database's own."""
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

    def put_back(self, stored: StoredChunk) -> None:
        """Keep a chunk under the ID that it has, or had."""
        change = self._change(stored.chunk.lane)
        change.events += stored.chunk.count
        change.bytes += len(stored.chunk.payload)
        self._last_id = max(self._last_id, stored.id)
        totals = change.totals
        key = key_of(totals.number, stored.id)
        self._chunks.append(rows.chunk_row(key, stored.chunk, stored.stored_at, totals.text))

    def remove(self, lane: Lane, ids: Sequence[ChunkId], lost_up_to: int = 0) -> UnixSeconds:
        """Remove chunks; when the oldest of them was stored.

        Raises `KeyError` when one is not there, unless its ID is up to `lost_up_to`.
        """
        if lane not in self._totals.lanes and min(ids) > lost_up_to:
            raise KeyError(f"nothing waits in {lane}: {list(ids)} were settled before")
        change = self._change(lane)
        keys = [key_of(change.totals.number, number) for number in ids]
        # Mostly the IDs are all that lies between the first and the last: one statement removes them.
        if found := bulk_sql.removable(self._connection, keys):
            self._begun()("DELETE FROM chunk WHERE key BETWEEN ? AND ?", (min(keys), max(keys)))
            events, size, stored_at = found
            change.events -= events
            change.bytes -= size
            return stored_at
        gone = [row for key in keys for row in self._remove_one(lane, key, lost_up_to)]
        for _, count, size, _ in gone:
            change.events -= count
            change.bytes -= size
        return min((float(row[3]) for row in gone), default=0.0)

    def _remove_one(self, lane: Lane, key: int, lost_up_to: int) -> list[Any]:
        found = self._connection.execute(_SELECT_CHUNK, (key,)).fetchall()
        if not found and rows.id_of(key) > lost_up_to:
            raise KeyError(f"chunk {rows.id_of(key)} does not wait in {lane}: it was settled before")
        self._begun()("DELETE FROM chunk WHERE key = ?", (key,))
        return found

    def keep_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep dead letters under new numbers."""
        for letter in letters:
            row = rows.letter_row(letter)
            self._begun()(_INSERT_LETTER, row)
            self._letters += 1
            self._letter_bytes += row[4]
        if letters:
            self._last_letter = self._connection.last_insert_rowid()

    def put_letter_back(self, number: int, letter: DeadLetter) -> None:
        """Keep a dead letter under the number that it had."""
        row = rows.letter_row(letter)
        self._begun()("INSERT INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, *row))
        self._letters += 1
        self._letter_bytes += row[4]
        self._last_letter = max(self._last_letter, number)

    def drop_letters(self, numbers: Sequence[int]) -> int:
        """Let dead letters go; how many of them were there."""
        gone = 0
        for number in numbers:
            for (size,) in self._begun()("DELETE FROM dead_letter WHERE number = ? RETURNING size", (number,)):
                gone += 1
                self._letters -= 1
                self._letter_bytes -= size
        return gone

    def note_totals(self) -> None:
        """Bring the mirror up to what became durable."""
        totals = self._totals
        for lane, change in self._lanes.items():
            change.totals.events += change.events
            change.totals.bytes += change.bytes
            totals.lanes[lane] = change.totals
        totals.last_id = self._last_id
        totals.last_lane = self._last_lane
        totals.last_letter = self._last_letter
        totals.letters += self._letters
        totals.letter_bytes += self._letter_bytes

    def _change(self, lane: Lane) -> _LaneChange:
        change = self._lanes.get(lane)
        if change is None:
            self._lanes[lane] = change = _LaneChange(self._totals.lanes.get(lane) or self._new_lane(lane))
        return change

    def _new_lane(self, lane: Lane) -> LaneTotals:
        self._last_lane += 1
        self._begun()(_INSERT_LANE, (self._last_lane, *lane))
        return LaneTotals(self._last_lane, lane_text(lane))

    def _begun(self) -> Callable[..., apsw.Cursor]:
        """What executes a statement of this transaction."""
        if not self._has_begun:
            self._has_begun = True
            self._connection.execute("BEGIN IMMEDIATE")
        return self._connection.execute
