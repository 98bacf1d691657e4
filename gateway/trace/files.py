"""The files of the event trace: one for each process, also those of processes that a gateway does not have any more."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

from gateway.identifiers import short_id
from gateway.model import UnixSeconds
from gateway.trace import store
from gateway.trace.model import TraceResult

_NAME = re.compile(r"trace(?:-([1-9]\d{0,3}))?\.sqlite", re.ASCII).fullmatch


def trace_file(folder: Path, number: int) -> Path:
    """The file of process `number`."""
    return folder / (f"trace-{number}.sqlite" if number else "trace.sqlite")


def discard_trace(path: Path) -> None:
    """Delete the file of a process that does not trace events any more, so that no ID stays on the disk."""
    for suffix in ("", "-wal", "-shm", "-journal", ".damaged"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def find_in_ended(folder: Path, running: Collection[int], since: UnixSeconds, identifier: str) -> Iterator[TraceResult]:
    """Search the files of processes that are not `running`, and delete those without events after `since`.

    A file that cannot be read is left out, since its process may be starting.
    """
    for path in sorted(folder.glob("trace*.sqlite")):
        match = _NAME(path.name)
        if match is None or int(match[1] or 0) in running:
            continue
        if path.stat().st_mtime < since:
            discard_trace(path)
            continue
        try:
            with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=ro", uri=True, timeout=0.1)) as connection:
                yield store.find(connection, short_id(identifier) or "")
        except sqlite3.Error:
            continue
