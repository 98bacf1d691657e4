"""Reads the rows of a database that SQLite cannot read any more: page by page, skipping damaged ones.

The newest content of a page is in the write-ahead log if it has a valid frame of the page, otherwise in the database
file, which may be shorter than the database, empty or missing. The B-trees are not followed, so a damaged page costs
only the rows on it. Deleted rows do not reappear: pages on the free list are skipped. Altered rows are detected by
their checksums. (SQLite: database file format.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from struct import unpack
from typing import Any, Final, TypeAlias

from gateway.model import DeadLetter, StoredChunk, UnixSeconds
from gateway.spool.sqlite import files, rows
from gateway.spool.sqlite.recovery.wal import LogPages, read_log
from gateway.spool.sqlite.rows import DamagedRow
from gateway.spool.sqlite.schema import PAGE_SIZE

RecoveredRow: TypeAlias = StoredChunk | tuple[int, DeadLetter] | DeadLetter
"""A chunk, a dead letter with its number, or a dead letter that replaces an event of a damaged chunk."""

_TABLE_LEAF: Final = 0x0D
"""Type of a page that holds rows."""
_MAX_LOCAL: Final = PAGE_SIZE - 35
"""Largest record, in bytes, that has no overflow pages."""
_MIN_LOCAL: Final = (PAGE_SIZE - 12) * 32 // 255 - 23
"""Fewest bytes of a larger record that stay on the leaf."""
_MAP_ENTRIES: Final = PAGE_SIZE // 5
"""Entries of a pointer map page."""
_FREE: Final = b"\x02\0\0\0\0"
"""Pointer map entry of a page on the free list."""
_MAX_RECORD: Final = 96 * 2**20
"""Bytes of the largest record that is read. A chunk is smaller (`batch.max_bytes` is at most 64 MiB); a damaged length
must not make recovery use more memory."""

_SIZES: Final = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)
"""Bytes of a value, by its serial type (0 to 11)."""

_MAX_HEADER: Final = 100
"""As many bytes as the header of a record has at most: its length, and eleven columns with nine bytes each."""

_CHUNK_COLUMNS: Final = 7
_LETTER_COLUMNS: Final = 11


def read_pages(path: Path, now: UnixSeconds, log_end: int | None = None) -> Iterator[RecoveredRow]:
    """Yield every row that can be read, in the order of the pages. Stale pages may repeat a row.

    Bytes of the log beyond `log_end` are ignored. The database must not be open in this process: closing the file here
    would release SQLite's locks on it.
    """
    log_path = files.sibling(path, files.WAL)
    log = read_log(log_path, log_end)
    with ExitStack() as opened:
        descriptors = []
        for each in (path, log_path):
            try:
                descriptors.append(os.open(each, os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            opened.callback(os.close, descriptors[-1])
        database, log_file = descriptors
        yield from _Pages(database, log_file, log).rows(now)


class _Pages:
    """The newest pages of a database, numbered from 1."""

    def __init__(self, database: int, log_file: int, log: LogPages) -> None:
        """`database` and `log_file` are file descriptors."""
        self._database = database
        self._log_file = log_file
        self._log_offsets = log.offsets
        # The last transaction of the log says how many pages the database has. Pages after them in the file are stale:
        # they were moved or deleted when the database was shortened.
        self._count = log.page_count
        if not (log.page_count and log.is_complete):
            self._count = max(log.page_count, -(-os.fstat(database).st_size // PAGE_SIZE))
        self._map = (0, b"")  # page number and content of the pointer map that was read last
        self._free = self._free_list()  # by page number

    def rows(self, now: UnixSeconds) -> Iterator[RecoveredRow]:
        for number in range(1, self._count + 1):
            page = self._page(number)
            if page[100 if number == 1 else 0] != _TABLE_LEAF or self._is_free(number):
                continue
            for rowid, record in self._cells(page, 100 if number == 1 else 0):
                try:
                    yield from _recovered_rows(rowid, record, now)
                except DamagedRow:
                    continue

    def _page(self, number: int) -> bytes:
        """Return a page, padded with zeros when the file is too short or the disk cannot read it."""
        offset = self._log_offsets.get(number)
        try:
            if offset is not None:
                page = os.pread(self._log_file, PAGE_SIZE, offset)
            else:
                page = os.pread(self._database, PAGE_SIZE, (number - 1) * PAGE_SIZE)
        except OSError:
            page = b""
        return page.ljust(PAGE_SIZE, b"\0")

    def _free_list(self) -> bytearray:
        """Return a byte for each page: 1 if it is on the free list, as far as that is readable."""
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
        """Whether a page holds only deleted rows, according to the free list or the pointer map."""
        index = (number - 2) % (_MAP_ENTRIES + 1)
        map_number = number - index
        if self._free[number] or number < 2 or index == 0:
            return bool(self._free[number])
        if self._map[0] != map_number:
            self._map = map_number, self._page(map_number)
        return self._map[1][5 * (index - 1) : 5 * index] == _FREE

    def _cells(self, page: bytes, start: int) -> Iterator[tuple[int, list[Any]]]:
        """Yield the row IDs and records of a leaf page; unreadable records are skipped."""
        count = int.from_bytes(page[start + 3 : start + 5])
        for index in range(min(count, PAGE_SIZE // 4)):
            pointer = start + 8 + 2 * index
            try:
                size, offset = _varint(page, int.from_bytes(page[pointer : pointer + 2]))
                rowid, offset = _varint(page, offset)
                yield rowid, _record(self._payload(page, offset, size))
            except (IndexError, ValueError):
                continue

    def _payload(self, page: bytes, offset: int, size: int) -> bytes:
        """Return the bytes of a record from its leaf and its overflow pages."""
        if size <= _MAX_LOCAL:
            return page[offset : offset + size]
        local = _MIN_LOCAL + (size - _MIN_LOCAL) % (PAGE_SIZE - 4)
        if local > _MAX_LOCAL:
            local = _MIN_LOCAL
        if size > min(self._count * PAGE_SIZE, _MAX_RECORD):
            raise ValueError("larger than any record")
        parts = [page[offset : offset + local]]
        following = int.from_bytes(page[offset + local : offset + local + 4])
        missing = size - local
        while missing > 0:
            if not 1 < following <= self._count:
                parts.append(bytes(missing))  # the row's checksum will not match
                break
            overflow = self._page(following)
            parts.append(overflow[4 : 4 + missing])
            missing -= PAGE_SIZE - 4
            following = int.from_bytes(overflow[:4])
        return b"".join(parts)


def _recovered_rows(rowid: int, record: list[Any], now: UnixSeconds) -> Iterator[RecoveredRow]:
    """Yield the chunk or dead letter of a record, or the dead letters of a damaged chunk. Raises `DamagedRow`."""
    if len(record) == _CHUNK_COLUMNS and isinstance(record[5], bytes) and isinstance(record[6], bytes):
        row = [rowid, record[1], record[2], _seconds(record[3]), *record[4:]]
        try:
            yield rows.stored_chunk(row)
        except DamagedRow:
            yield from rows.letters_of_damaged(row, rows.lane_of(row), now)
    elif len(record) == _LETTER_COLUMNS:
        yield rowid, rows.dead_letter([_seconds(record[1]), *record[2:]])


def _seconds(value: Any) -> float:
    """Return a stored time. SQLite stores whole numbers as integers; another type fails the checksum."""
    return float(value) if isinstance(value, int | float) else 0.0


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """Return an integer of up to nine bytes, and the offset after it."""
    value = 0
    for index in range(8):
        byte = data[offset + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, offset + index + 1
    return value << 8 | data[offset + 8], offset + 9


def _record(data: bytes) -> list[Any]:
    """Return the values of a record: None, integers, floats, and bytes for blobs and text."""
    end, offset = _varint(data, 0)
    if end > _MAX_HEADER:
        raise ValueError("the header is damaged")
    types = []
    while offset < end:
        serial_type, offset = _varint(data, offset)
        types.append(serial_type)
    values: list[Any] = []
    offset = end
    for serial_type in types:
        size = _SIZES[serial_type] if serial_type < 12 else (serial_type - 12) // 2
        part = data[offset : offset + size]
        if len(part) != size:
            raise ValueError("truncated")
        values.append(_value(serial_type, part))
        offset += size
    return values


def _value(serial_type: int, part: bytes) -> Any:
    match serial_type:
        case 0 | 10 | 11:
            return None
        case 7:
            return unpack(">d", part)[0]
        case 8 | 9:
            return serial_type - 8
        case _ if serial_type < 7:
            return int.from_bytes(part, signed=True)
        case _:
            return part
