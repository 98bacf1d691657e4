"""How large the database may become, in its own unit: the cap for `append`, the reserve for `settle`, the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.model import Chunk, DeadLetter
from gateway.spool.size_accounting import CHUNK_OVERHEAD, acknowledge_reserve, dead_letter_size
from gateway.spool.sqlite import files
from gateway.spool.sqlite.schema import PAGE_SIZE

_MIB = 2**20
_USABLE = PAGE_SIZE - 4
"""Bytes of a payload on one overflow page."""

_STUMP = 1100
"""Bytes of a large row that stay in the tree."""


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """Where the database lies and how large it may become."""

    path: Path
    max_bytes: int
    vfs: str = ""
    """SQLite's way to the disk; empty: the usual. Tests put one here that breaks."""
    free_disk: Callable[[Path], int] = files.free_disk
    """Bytes that may still be written below a folder."""

    @property
    def cap_pages(self) -> int:
        """Pages that `append` may fill."""
        return self.max_bytes // PAGE_SIZE

    @property
    def reserve(self) -> int:
        """Bytes beyond `max_bytes` that only `settle` may use."""
        return acknowledge_reserve(self.max_bytes)

    @property
    def last_page(self) -> int:
        """Pages that nothing may exceed; the database itself is told."""
        return self.cap_pages + self.reserve // PAGE_SIZE

    @property
    def log_pages(self) -> int:
        """Pages in the write-ahead log at which it is written back; small enough to take a few milliseconds."""
        return min(16 * _MIB, max(_MIB, self.max_bytes // 8)) // PAGE_SIZE

    @property
    def beside(self) -> int:
        """Bytes of disk that are needed beside `max_bytes`, for settling and for the log."""
        return self.reserve + 2 * self.log_pages * PAGE_SIZE


def pages_of(chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> int:
    """Pages that all of it takes at most: rows are counted as if no other size of row filled a page's end."""
    pages = 6  # what the trees above grow by
    shared = 0  # bytes of pages that several rows share
    sizes = [len(chunk.payload) + CHUNK_OVERHEAD for chunk in chunks]
    sizes += [dead_letter_size(letter) for letter in letters]
    for size in sizes:
        if size > PAGE_SIZE:
            pages += size // _USABLE + 1
            shared += _STUMP
        else:
            shared += PAGE_SIZE // (PAGE_SIZE // size)
    return pages + shared // PAGE_SIZE + 1
