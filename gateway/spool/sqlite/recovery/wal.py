"""Reads the write-ahead log of a database without SQLite, which deletes the log of an empty database.

A log is a header and frames, each with one page. The last frame of a transaction names the size of the database after
it. The checksum of a frame covers everything before it, and its salts are those of the header: frames that an earlier
use of the same file left behind have others. (SQLite: database file format, the WAL.)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final, NamedTuple

from gateway.spool.sqlite.schema import PAGE_SIZE

HEADER_SIZE: Final = 32
FRAME_HEADER_SIZE: Final = 24
FRAME_SIZE: Final = FRAME_HEADER_SIZE + PAGE_SIZE

_MAGIC: Final = 0x377F0682
"""The lowest bit is set if checksums read the file as big-endian numbers."""
_VERSION: Final = 3_007_000
_HEADER: Final = Struct(">8I")
_FRAME_HEADER: Final = Struct(">2I8s2I")
"""Page number, size of the database in pages (0: the transaction has more frames), salts, checksum."""
_BUFFER: Final = 2**20


class LogPages(NamedTuple):
    """The committed pages of a log."""

    offsets: Mapping[int, int]
    """By page number, where the newest content of the page starts in the log."""
    page_count: int
    """Pages of the database after the last committed transaction; 0 when the log has none."""
    is_complete: bool
    """False when a frame in the middle of the log is damaged: the database may be newer than the pages of the log."""


EMPTY: Final = LogPages({}, 0, is_complete=True)


def read_log(path: Path, end: int | None = None) -> LogPages:
    """Find the pages of all valid frames up to the last committed transaction; a missing log is empty.

    Frames beyond `end` (bytes) are ignored. The memory grows with the number of different pages in the log.
    """
    try:
        with path.open("rb", buffering=_BUFFER) as file:
            return _read(file, end)
    except FileNotFoundError:
        return EMPTY


def _read(file: BinaryIO, end: int | None) -> LogPages:
    header = file.read(HEADER_SIZE)
    if len(header) < HEADER_SIZE:
        return EMPTY
    magic, version, page_size, _, _, _, *expected = _HEADER.unpack(header)
    order = ">" if magic & 1 else "<"
    checksum = _checksum(Struct(f"{order}6I").unpack_from(header), (0, 0))
    if (magic & ~1, version, page_size, expected) != (_MAGIC, _VERSION, PAGE_SIZE, list(checksum)):
        return EMPTY
    salts = header[16:24]
    read_words = Struct(f"{order}{2 + PAGE_SIZE // 4}I").unpack

    offsets: dict[int, int] = {}
    transaction: dict[int, int] = {}  # pages of frames after the last committed transaction
    page_count = 0
    offset = HEADER_SIZE
    while end is None or offset + FRAME_SIZE <= end:
        frame = _read_frame(file)
        if len(frame) < FRAME_SIZE:
            is_readable = offset + FRAME_SIZE > os.fstat(file.fileno()).st_size
            return LogPages(offsets, page_count, is_complete=is_readable)
        number, size, frame_salts, *expected = _FRAME_HEADER.unpack_from(frame)
        if frame_salts != salts or number == 0:
            break
        checksum = _checksum(read_words(frame[:8] + frame[FRAME_HEADER_SIZE:]), checksum)
        if list(checksum) != expected:
            return LogPages(offsets, page_count, is_complete=not _has_frame(file, salts))
        transaction[number] = offset + FRAME_HEADER_SIZE
        if size:
            offsets.update(transaction)
            transaction.clear()
            page_count = size
        offset += FRAME_SIZE
    return LogPages(offsets, page_count, is_complete=True)


def _has_frame(file: BinaryIO, salts: bytes) -> bool:
    """Whether the rest of the log has a frame with these salts: then the frame before it was not the last one."""
    while len(frame := _read_frame(file)) == FRAME_SIZE:
        if frame[8:16] == salts:
            return True
    return False


def _read_frame(file: BinaryIO) -> bytes:
    """Return the next frame; less than a frame at the end of the log, or where the disk cannot read it."""
    try:
        return file.read(FRAME_SIZE)
    except OSError:
        return b""


def _checksum(words: tuple[int, ...], previous: tuple[int, int]) -> tuple[int, int]:
    """Continue a checksum with more words. Takes about 50 microseconds a page."""
    first, second = previous
    values = iter(words)
    for left, right in zip(values, values, strict=True):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return first, second
