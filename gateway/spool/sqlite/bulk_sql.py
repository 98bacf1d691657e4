"""Many rows in one step of the database.

Each step lets go of the interpreter's lock, and to get it back from a busy event loop takes longer than the row: row by
row, a batch of a few hundred chunks would hold up the commits behind it for tens of milliseconds.
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
"""Rows that one statement writes, whatever their number is up to this."""
INSERT_BLOCKS = (256, 64, 16)
"""Rows that one statement writes where there are more: few statements, so that each stays prepared."""

READ_BLOCKS = (16, 64, 256, 1024)
"""Rows that are looked at together: of large chunks few are wanted, of small ones many. The last is used again."""

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


RowHead: TypeAlias = list[Any]
"""Of a chunk's row: key, count, expires_at, stored_at, checksum, bytes of the payload."""


def read(
    connection: apsw.Connection, span: tuple[int, int], limits: tuple[int, int], lane: Lane, text: bytes
) -> list[StoredChunk] | None:
    """The first chunks between two keys that fit the limits, and one more; `text` is the lane as rows have it.

    None where any is not what was written: then look at them one by one.
    """
    try:
        wanted = list(take_within(limits, _rows(connection, span, text), lambda about: (about[1], about[5])))
        if not wanted:
            return []
        payloads: Any = connection.execute(_PAYLOADS, (wanted[0][0], wanted[-1][0])).get
        found = []
        start = 0
        for key, count, expires_at, stored_at, checksum, size in wanted:
            payload = payloads[start : start + size]
            start += size
            found.append(rows.stored_chunk((key, count, expires_at, stored_at, checksum, text, payload), lane))
    except (DamagedRow, ValueError, AttributeError, TypeError):
        return None
    return found


def _rows(connection: apsw.Connection, span: tuple[int, int], text: bytes) -> Iterator[RowHead]:
    """What there is between two keys, looked at as it is asked for. Raises `Damaged`."""
    after, end = span
    for look in chain(READ_BLOCKS, repeat(READ_BLOCKS[-1])):
        found: Any = connection.execute(_ROW_HEADS, (after, end, look, text)).fetchone()
        of_others, json = found
        if of_others:
            raise DamagedRow("a row names another lane")
        seen: list[RowHead] = orjson.loads(json)
        yield from seen
        if len(seen) < look:
            return
        after = seen[-1][0]


def removable(connection: apsw.Connection, keys: Sequence[int]) -> tuple[int, int, float] | None:
    """Events, bytes and the earliest `stored_at` of these chunks; None unless they are all that lies between them."""
    first, last = min(keys), max(keys)
    found: Any = connection.execute(_REMOVABLE, (first, last, len(keys) + 1)).fetchone()
    there, events, size, stored_at = found
    if there is None or len(keys) != len(set(keys)) or set(map(int, there.split(" "))) != set(keys):
        return None
    return events, size, float(stored_at)


def insert_chunks(connection: apsw.Connection, new: Sequence[ChunkRow]) -> None:
    """Write rows of chunks; up to `AT_ONCE` of them in one step."""
    start = 0
    for block in INSERT_BLOCKS:
        while len(new) - start >= block:
            _insert(connection, new[start : start + block])
            start += block
    if start < len(new):
        _insert(connection, new[start:])


def _insert(connection: apsw.Connection, block: Sequence[ChunkRow]) -> None:
    connection.execute(_inserting(len(block)), tuple(chain.from_iterable(block)))


@lru_cache(MAX_SINGLE_INSERT + len(INSERT_BLOCKS))
def _inserting(count: int) -> str:
    return "INSERT INTO chunk VALUES " + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * count)  # noqa: S608 (question marks)
