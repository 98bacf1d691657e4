"""Reads the rows of a database that SQLite no longer reads: page by page, past whatever is damaged.

It follows no tree, so a broken page costs the rows on it and no others. What was deleted is not brought back: pages on
the free list are left out. What the disk changed is not believed: rows carry checksums. (SQLite: database file format.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from struct import unpack
from typing import Any, Final, TypeAlias

from gateway.model import DeadLetter, StoredChunk, UnixSeconds
from gateway.spool.sqlite import rows
from gateway.spool.sqlite.rows import DamagedRow
from gateway.spool.sqlite.schema import PAGE_SIZE

Extraction: TypeAlias = Iterator[StoredChunk | tuple[int, DeadLetter] | DeadLetter]
"""Chunks, dead letters with their numbers, and the dead letters that damaged chunks become."""

_TABLE_LEAF: Final = 0x0D
_MAX_LOCAL: Final = PAGE_SIZE - 35
_MIN_LOCAL: Final = (PAGE_SIZE - 12) * 32 // 255 - 23
_MAP_ENTRIES: Final = PAGE_SIZE // 5
_FREE: Final = b"\x02\0\0\0\0"
"""Entry of the pointer map for a page on the free list."""

_SIZES: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)
"""Bytes of a value, by its serial type below 12."""

_CHUNK_COLUMNS: Final = 7
_LETTER_COLUMNS: Final = 9


def read_pages(path: Path, now: UnixSeconds) -> Extraction:
    """Every row that can be read, in the order of the pages."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield from _Pages(descriptor).rows(now)
    finally:
        os.close(descriptor)


class _Pages:
    """The pages of one file, numbered from 1."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._count = -(-os.fstat(descriptor).st_size // PAGE_SIZE)
        self._map = (0, b"")  # the pointer map that was read last, with its page
        self._free = self._free_list()

    def rows(self, now: UnixSeconds) -> Extraction:
        for number in range(1, self._count + 1):
            page = self._page(number)
            if page[100 if number == 1 else 0] != _TABLE_LEAF or self._is_free(number):
                continue
            for rowid, record in self._cells(page, 100 if number == 1 else 0):
                try:
                    yield from _intact_rows(rowid, record, now)
                except DamagedRow:
                    continue

    def _page(self, number: int) -> bytes:
        """A page; zeros where the file ends or the disk gives nothing."""
        try:
            page = os.pread(self._descriptor, PAGE_SIZE, (number - 1) * PAGE_SIZE)
        except OSError:
            page = b""
        return page.ljust(PAGE_SIZE, b"\0")

    def _free_list(self) -> bytearray:
        """A byte for each page, 1 for those on the free list as far as it can be followed."""
        free = bytearray(self._count + 1)
        trunk = int.from_bytes(self._page(1)[32:36])
        while 1 < trunk <= self._count and not free[trunk]:
            free[trunk] = 1
            page = self._page(trunk)
            for index in range(2, 2 + min(int.from_bytes(page[4:8]), PAGE_SIZE // 4 - 2)):
                leaf = int.from_bytes(page[4 * index : 4 * index + 4])
                if 1 < leaf <= self._count:
                    free[leaf] = 1
            trunk = int.from_bytes(page[:4])
        return free

    def _is_free(self, number: int) -> bool:
        """Whether a page holds only what was deleted: the free list says so, or the pointer map does."""
        index = (number - 2) % (_MAP_ENTRIES + 1)
        at = number - index
        if self._free[number] or number < 2 or index == 0:
            return bool(self._free[number])
        if self._map[0] != at:
            self._map = at, self._page(at)
        return self._map[1][5 * (index - 1) : 5 * index] == _FREE

    def _cells(self, page: bytes, start: int) -> Iterator[tuple[int, list[Any]]]:
        """Row IDs and records of a leaf."""
        count = int.from_bytes(page[start + 3 : start + 5])
        for index in range(min(count, PAGE_SIZE // 4)):
            pointer = start + 8 + 2 * index
            try:
                size, at = _varint(page, int.from_bytes(page[pointer : pointer + 2]))
                rowid, at = _varint(page, at)
                yield rowid, _record(self._payload(page, at, size))
            except (IndexError, ValueError):
                continue

    def _payload(self, page: bytes, at: int, size: int) -> bytes:
        """A record's bytes, from its leaf and its overflow pages."""
        if size <= _MAX_LOCAL:
            return page[at : at + size]
        local = _MIN_LOCAL + (size - _MIN_LOCAL) % (PAGE_SIZE - 4)
        if local > _MAX_LOCAL:
            local = _MIN_LOCAL
        if size > self._count * PAGE_SIZE:
            raise ValueError("larger than the file")
        parts = [page[at : at + local]]
        following = int.from_bytes(page[at + local : at + local + 4])
        missing = size - local
        while missing > 0:
            if not 1 < following <= self._count:
                parts.append(bytes(missing))  # the checksum will tell
                break
            overflow = self._page(following)
            parts.append(overflow[4 : 4 + missing])
            missing -= PAGE_SIZE - 4
            following = int.from_bytes(overflow[:4])
        return b"".join(parts)


def _intact_rows(rowid: int, record: list[Any], now: UnixSeconds) -> Extraction:
    if len(record) == _CHUNK_COLUMNS and isinstance(record[5], bytes) and isinstance(record[6], bytes):
        row = [rowid, record[1], record[2], _seconds(record[3]), *record[4:]]
        try:
            yield rows.stored_chunk(row)
        except DamagedRow:
            yield from rows.letters_of_damaged(row, rows.lane_of(row), now)
    elif len(record) == _LETTER_COLUMNS:
        yield rowid, rows.dead_letter([_seconds(record[1]), *record[2:]])


def _seconds(value: Any) -> float:
    """A time as it was kept; SQLite keeps whole ones as integers. Whatever else stands there, the checksum tells."""
    return float(value) if isinstance(value, int | float) else 0.0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of up to nine bytes, and where the next thing begins."""
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _record(data: bytes) -> list[Any]:
    """The values of a record; numbers and bytes as the tables of the spool have them."""
    end, at = _varint(data, 0)
    types = []
    while at < end:
        kind, at = _varint(data, at)
        types.append(kind)
    values: list[Any] = []
    at = end
    for kind in types:
        size = _SIZES[kind] if kind < 12 else (kind - 12) // 2
        part = data[at : at + size]
        if len(part) != size:
            raise ValueError("cut off")
        values.append(_value(kind, part))
        at += size
    return values


def _value(kind: int, part: bytes) -> Any:
    match kind:
        case 0 | 10 | 11:
            return None
        case 7:
            return unpack(">d", part)[0]
        case 8 | 9:
            return kind - 8
        case _ if kind < 7:
            return int.from_bytes(part, signed=True)
        case _:
            return part
