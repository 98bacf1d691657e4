"""Size limits of the database in pages: the limit of `append`, the reserve of `acknowledge`, the write-ahead log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.model import Chunk, DeadLetter
from gateway.spool.size_accounting import CHUNK_OVERHEAD, acknowledge_reserve, dead_letter_size
from gateway.spool.sqlite import files
from gateway.spool.sqlite.schema import PAGE_SIZE

_MIB = 2**20
_OVERFLOW_BYTES = PAGE_SIZE - 4
"""Payload bytes on one overflow page. (SQLite: database file format.)"""

_LOCAL_BYTES = 1100
"""Bytes of a large row that stay on its B-tree page."""


@dataclass(frozen=True, slots=True)
class StorageLimits:
    """The path of the database and its size limits."""

    path: Path
    max_bytes: int
    vfs: str = ""
    """Name of the SQLite VFS; empty for the default. Tests use one that injects faults."""
    free_disk: Callable[[Path], int] = files.free_disk
    """Returns the free bytes on the disk of a directory."""
    letter_bytes: int = 2**63
    """Bytes of dead letters beyond which new ones replace old ones."""

    @property
    def cap_pages(self) -> int:
        """Pages that `append` may fill."""
        return self.max_bytes // PAGE_SIZE

    @property
    def reserve(self) -> int:
        """Bytes beyond `max_bytes` that only `acknowledge` may use."""
        return acknowledge_reserve(self.max_bytes)

    @property
    def last_page(self) -> int:
        """Pages that the file may have at most; SQLite enforces it (`max_page_count`)."""
        return self.cap_pages + self.reserve // PAGE_SIZE

    @property
    def log_pages(self) -> int:
        """Pages in the write-ahead log at which a checkpoint runs; few enough for it to take a few milliseconds."""
        return min(4 * _MIB, max(_MIB, self.max_bytes // 8)) // PAGE_SIZE

    @property
    def extra_disk(self) -> int:
        """Bytes of disk that are needed in addition to `max_bytes`: for acknowledgements and the write-ahead log."""
        return self.reserve + 2 * self.log_pages * PAGE_SIZE


def pages_of(chunks: Sequence[Chunk], letters: Sequence[DeadLetter]) -> int:
    """Return the most pages that the chunks and dead letters can take.

    Small rows are counted as if each page held only rows of that size, so that space at the end of a page is unused.
    """
    pages = 6  # growth of the inner pages of the B-trees
    shared = 0  # bytes on pages that several rows share
    sizes = [len(chunk.payload) + CHUNK_OVERHEAD for chunk in chunks]
    sizes += [dead_letter_size(letter) for letter in letters]
    for size in sizes:
        if size > PAGE_SIZE:
            pages += size // _OVERFLOW_BYTES + 1
            shared += _LOCAL_BYTES
        else:
            shared += PAGE_SIZE // (PAGE_SIZE // size)
    return pages + shared // PAGE_SIZE + 1
