"""Opens text files: compression, encoding, and how much was read."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from gateway.importer.inputs import STDIN, encoding_of, open_binary
from gateway.importer.lines import Lines


class TextFile:
    """The lines of a file. Close it."""

    def __init__(self, name: str, encoding: str | None) -> None:
        """Raises `GatewayError` when it cannot be opened."""
        self.name = name
        content, self._file = open_binary(name)
        self._size = _size_of(self._file)
        beginning = content.read(io.DEFAULT_BUFFER_SIZE)
        joined = cast("BinaryIO", _Prefixed(beginning, content))
        self.lines = Lines(io.TextIOWrapper(joined, encoding=encoding_of(beginning, encoding), newline=""))

    def position(self) -> float | None:
        """Share of the file that was read, from 0 to 1; None if its size is not known."""
        return min(1.0, self._file.tell() / self._size) if self._size else None

    def close(self) -> None:
        """Close the file."""
        if self.name != STDIN:
            self._file.close()


def _size_of(file: BinaryIO) -> int:
    """Bytes of a file; 0 for a pipe."""
    if not file.seekable():
        return 0
    at = file.tell()
    size = file.seek(0, io.SEEK_END)
    file.seek(at)
    return size


class _Prefixed(io.BufferedIOBase):
    """A file of which the first bytes were read already."""

    def __init__(self, beginning: bytes, rest: BinaryIO) -> None:
        self._beginning = beginning
        self._rest = rest

    def readable(self) -> bool:
        return True

    def read1(self, size: int = -1, /) -> bytes:
        if self._beginning:
            beginning, self._beginning = self._beginning, b""
            return beginning
        return self._rest.read(size)

    def read(self, size: int | None = -1, /) -> bytes:
        return self.read1(-1 if size is None else size)
