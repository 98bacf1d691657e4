"""A disk between SQLite and the real one that breaks when a test says so, and that forgets what was not synced.

It counts what changes the disk (writes, syncs, truncations, deletions) and can fail any of them: with an I/O error,
with no space, or after half a write. `power_cut` writes what a real disk may hold after one: everything that was
synced, and any part of what was not.
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
    """The `at`-th change of the disk fails, and as many after it as `times` says."""

    at: int
    code: int = apsw.SQLITE_IOERR_WRITE
    times: int = 1
    half: bool = False
    """Whether a write that fails leaves half of itself."""
    only: str = ""
    """`write`, `sync`, `truncate` or `delete`: nothing else counts; empty: everything does."""
    fired: int = 0


@dataclass
class _Content:
    """What a file would hold after a power cut."""

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
    """Register with `with Disk() as disk:` and give `disk.name` to the spool."""

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
    def broken(self, fault: Fault) -> Iterator[Fault]:
        """Let it fail for a while; changes are counted from here."""
        self.changes, self.fault = 0, fault
        try:
            yield fault
        finally:
            self.fault = None

    def step(self, kind: str) -> Fault | None:
        """Count a change; the fault that hits it."""
        fault = self.fault
        if fault and fault.only not in {"", kind}:
            return None
        self.changes += 1
        if fault and fault.at <= self.changes < fault.at + fault.times:
            fault.fired += 1
            return fault
        return None

    def power_cut(self, into: Path, random: Random) -> None:
        """Write the files as they may be after a power cut, in sectors that came through or did not."""
        into.mkdir()
        for name, content in self.contents.items():
            left = bytearray(content.synced)
            for offset, written in content.pending:
                if written is None:
                    if random.random() < 0.5:
                        del left[offset:]
                    continue
                for start in range(0, len(written), SECTOR):
                    if random.random() < 0.5:
                        _apply(left, (offset + start, written[start : start + SECTOR]))
            (into / Path(name).name).write_bytes(left)

    # What SQLite calls.

    def xOpen(self, name: Any, flags: list[int]) -> Any:  # noqa: N802
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        if fault := self.step("delete"):
            raise apsw.exception_for(fault.code)
        super().xDelete(filename, syncdir)
        self.contents.pop(filename, None)

    def excepthook(self, *_: object) -> bool:
        """The faults are no news."""
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
