"""A SQLite VFS that injects disk faults and simulates power cuts.

It counts the operations that change the disk (writes, syncs, truncations, deletions) and can fail any of them: with an
I/O error, with no space, or after half a write. `power_cut` writes a possible state of a real disk after a power cut:
everything that was synced, and a random part of the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Self

import apsw

SECTOR = 512
_NAMES = count()


@dataclass
class Fault:
    """Fails `times` consecutive changes of the disk, from the `at`-th on."""

    at: int
    code: int = apsw.SQLITE_IOERR_WRITE
    times: int = 1
    half: bool = False
    """Whether a failed write writes the first half of its data."""
    only: str = ""
    """Count and fail only `write`, `sync`, `truncate` or `delete`; empty for all of them."""
    fired: int = 0
    """Changes that failed."""


@dataclass
class _Content:
    """The content of a file, split into the synced part and the changes that a power cut may lose."""

    synced: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    """Writes since the last sync: offset and bytes, or a new length and None."""

    def sync(self) -> None:
        for change in self.pending:
            _apply(self.synced, change)
        self.pending.clear()


def _apply(content: bytearray, change: tuple[int, bytes | None]) -> None:
    offset, written = change
    if written is None:
        del content[offset:]
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(written)] = written


class Disk(apsw.VFS):
    """Registered by `with Disk() as disk:`; a spool uses it when `vfs` is `disk.name`."""

    def __init__(self) -> None:
        self.name = f"disk-{next(_NAMES)}"
        super().__init__(self.name, "")
        self.changes = 0
        self.fault: Fault | None = None
        self.contents: dict[str, _Content] = defaultdict(_Content)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[Fault]:
        """Apply a fault inside the `with` block; changes are counted from its start."""
        self.changes, self.fault = 0, fault
        try:
            yield fault
        finally:
            self.fault = None

    def step(self, kind: str) -> Fault | None:
        """Count a change, and return the fault if the change must fail."""
        fault = self.fault
        if fault and fault.only not in {"", kind}:
            return None
        self.changes += 1
        if fault and fault.at <= self.changes < fault.at + fault.times:
            fault.fired += 1
            return fault
        return None

    def power_cut(self, into: Path, random: Random) -> None:
        """Write the files in a possible state after a power cut: each unsynced sector is written or lost at random."""
        into.mkdir()
        for name, content in self.contents.items():
            remaining = bytearray(content.synced)
            for offset, written in content.pending:
                if written is None:
                    if random.random() < 0.5:
                        del remaining[offset:]
                    continue
                for start in range(0, len(written), SECTOR):
                    if random.random() < 0.5:
                        _apply(remaining, (offset + start, written[start : start + SECTOR]))
            (into / Path(name).name).write_bytes(remaining)

    # Methods that SQLite calls.

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        if fault := self.step("delete"):
            raise apsw.exception_for(fault.code)
        super().xDelete(filename, syncdir)
        self.contents.pop(filename, None)

    def excepthook(self, *_: object) -> bool:
        """Do not print the exceptions that are raised on purpose."""
        return True


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._disk = disk
        self._content = disk.contents[name.filename() if isinstance(name, apsw.URIFilename) else str(name)]

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        if fault := self._disk.step("write"):
            if fault.half:
                self._write(data[: len(data) // 2], offset)
            raise apsw.exception_for(fault.code)
        self._write(data, offset)

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._content.pending.append((offset, bytes(data)))

    def xSync(self, flags: int) -> None:  # noqa: N802
        if fault := self._disk.step("sync"):
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC if fault.code != apsw.SQLITE_FULL else fault.code)
        super().xSync(flags)
        self._content.sync()

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        if fault := self._disk.step("truncate"):
            raise apsw.exception_for(fault.code)
        super().xTruncate(newsize)
        self._content.pending.append((newsize, None))

    def excepthook(self, *_: object) -> bool:
        return True
