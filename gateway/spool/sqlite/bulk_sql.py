"""Statements that read, check, insert or delete many rows in one step of SQLite.

apsw releases the GIL in each step, and getting it back from a busy event loop takes longer than a row. Row by row, a
batch of a few hundred chunks would delay the commits after it by tens of milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, TypeAlias

import apsw
import orjson

from gateway.model import Lane, StoredChunk
from gateway.spool.size_accounting import take_within
from gateway.spool.sqlite import rows
from gateway.spool.sqlite.rows import ChunkRow, DamagedRow

MAX_SINGLE_INSERT = 15
"""Up to this many rows are inserted by one statement."""
INSERT_BLOCKS = (256, 64, 16)
"""More rows are inserted in blocks of these sizes: few different statements, so that they stay in the cache."""

READ_BLOCKS = (16, 64, 256, 1024)
"""Sizes of the blocks in which row heads are read: few large chunks fill a batch, or many small ones. The last size
repeats."""

_ROW_HEADS = (
    "SELECT sum(lane <> ?4), json_group_array(json_array(key, count, expires_at, stored_at, checksum, size))"
    " FROM (SELECT key, count, expires_at, stored_at, checksum, lane, length(payload) AS size"
    " FROM chunk WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT ?3)"
)
_PAYLOADS = (
    "SELECT CAST(group_concat(CAST(payload AS TEXT), '') AS BLOB)"
    " FROM (SELECT payload FROM chunk WHERE key BETWEEN ? AND ? ORDER BY key)"
)
_REMOVABLE = (
    "SELECT group_concat(key, ' '), sum(count), sum(size), min(stored_at)"
    " FROM (SELECT key, count, length(payload) AS size, stored_at FROM chunk WHERE key BETWEEN ? AND ? LIMIT ?)"
)

_OLDEST_LETTERS = (
    "SELECT max(number), count(*), total(size) FROM"
    " (SELECT number, size, sum(size) OVER (ORDER BY number ROWS UNBOUNDED PRECEDING) - size AS before FROM"
    " (SELECT number, size FROM dead_letter{} ORDER BY number LIMIT ?1)) WHERE before < ?2"
)
_EXPIRED_LETTERS = (
    "WITH oldest AS MATERIALIZED (SELECT number, size, at FROM dead_letter ORDER BY number LIMIT ?1)"
    " SELECT max(number), count(*), total(size) FROM oldest"
    " WHERE number < coalesce((SELECT min(number) FROM oldest WHERE at >= ?2), 1 << 62)"
)
_WITHOUT_EVENT = " INDEXED BY dead_letter_without_event WHERE event IS NULL"

RowHead: TypeAlias = list[Any]
"""A chunk's row without its lane and payload: key, count, expires_at, stored_at, checksum, bytes of the payload."""


def read(
    connection: apsw.Connection, span: tuple[int, int], limits: tuple[int, int], lane: Lane, text: bytes
) -> list[StoredChunk] | None:
    """Return the first chunks between two keys (both exclusive) that fit the limits, and one more.

    `text` is the lane as rows encode it. Returns None when any of the rows is damaged: the caller then reads them one
    by one.
    """
    try:
        heads = list(take_within(limits, _row_heads(connection, span, text), lambda head: (head[1], head[5])))
        if not heads:
            return []
        payloads: Any = connection.execute(_PAYLOADS, (heads[0][0], heads[-1][0])).get
        stored = []
        start = 0
        for key, count, expires_at, stored_at, checksum, size in heads:
            payload = payloads[start : start + size]
            start += size
            stored.append(rows.stored_chunk((key, count, expires_at, stored_at, checksum, text, payload), lane))
    except (DamagedRow, ValueError, AttributeError, TypeError):
        return None
    return stored


def _row_heads(connection: apsw.Connection, span: tuple[int, int], text: bytes) -> Iterator[RowHead]:
    """Yield the row heads between two keys, read in blocks. Raises `DamagedRow` when a row has another lane."""
    after, end = span
    for block in chain(READ_BLOCKS, repeat(READ_BLOCKS[-1])):
        result: Any = connection.execute(_ROW_HEADS, (after, end, block, text)).fetchone()
        other_lanes, json = result
        if other_lanes:
            raise DamagedRow("the row has another lane")
        heads: list[RowHead] = orjson.loads(json)
        yield from heads
        if len(heads) < block:
            return
        after = heads[-1][0]


def removable(connection: apsw.Connection, keys: Sequence[int]) -> tuple[int, int, float] | None:
    """Return events, bytes and the earliest `stored_at` of these chunks.

    None unless the keys are distinct and exactly the existing ones between the lowest and the highest of them.
    """
    first, last = min(keys), max(keys)
    result: Any = connection.execute(_REMOVABLE, (first, last, len(keys) + 1)).fetchone()
    existing, events, size, stored_at = result
    if existing is None or len(keys) != len(set(keys)) or set(map(int, existing.split(" "))) != set(keys):
        return None
    return events, size, float(stored_at)


def insert_chunks(connection: apsw.Connection, new: Sequence[ChunkRow]) -> None:
    """Insert rows of chunks; up to `MAX_SINGLE_INSERT` of them in one step."""
    start = 0
    for block in INSERT_BLOCKS:
        while len(new) - start >= block:
            _insert(connection, new[start : start + block])
            start += block
    if start < len(new):
        _insert(connection, new[start:])


def _insert(connection: apsw.Connection, block: Sequence[ChunkRow]) -> None:
    connection.execute(_insert_statement(len(block)), tuple(chain.from_iterable(block)))


@lru_cache(MAX_SINGLE_INSERT + len(INSERT_BLOCKS))
def _insert_statement(count: int) -> str:
    return "INSERT INTO chunk VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * count)  # noqa: S608 (question marks)


def delete_oldest_letters(connection: apsw.Connection, limit: int, excess: int) -> tuple[int, int]:
    """Delete the oldest dead letters of `excess` bytes, at most `limit` of them. Returns their number and bytes."""
    return _delete_letters(connection, _OLDEST_LETTERS.format(""), "", (limit, excess))


def delete_letters_without_event(connection: apsw.Connection, limit: int, excess: int) -> tuple[int, int]:
    """Like `delete_oldest_letters`, but delete only those without an event."""
    return _delete_letters(connection, _OLDEST_LETTERS.format(_WITHOUT_EVENT), _WITHOUT_EVENT, (limit, excess))


def delete_expired_letters(connection: apsw.Connection, limit: int, since: float) -> tuple[int, int]:
    """Delete the oldest dead letters from before `since`, at most `limit`. Returns their number and bytes."""
    return _delete_letters(connection, _EXPIRED_LETTERS, "", (limit, since))


def _delete_letters(connection: apsw.Connection, select: str, where: str, bounds: tuple[int, float]) -> tuple[int, int]:
    result: Any = connection.execute(select, bounds).fetchone()
    last, count, size = result
    if count:
        connection.execute(f"DELETE FROM dead_letter{where or ' WHERE TRUE'} AND number <= ?", (last,))  # noqa: S608 (constants)
    return count, int(size)
