"""Recovers a damaged file: copies its readable rows into a new file, and keeps the damaged one under another name.

The write-ahead log is read without SQLite, and kept with the damaged file. A crash between any two steps loses nothing:
the new file is complete before the damaged one is renamed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import gmtime, strftime
from typing import Final

import apsw

from gateway.model import DeadLetter, StoredChunk, UnixSeconds
from gateway.spool.size_accounting import dead_letter_size
from gateway.spool.sqlite import files
from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.recovery.page_reader import RecoveredRow, read_pages
from gateway.spool.sqlite.storage_limits import StorageLimits

log = logging.getLogger("gateway.spool")

_NEW_FILE = ".recovered"
"""Suffix of the new file while rows are copied."""
_ROWS = 200
_BYTES = 8 * 2**20
"""Rows and bytes that are copied in one transaction."""


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """The recovered events and dead letters, and the new path of the damaged file."""

    events: int
    dead_letters: int
    aside: Path
    """The damaged file."""


def recover(limits: StorageLimits, reason: str, now: UnixSeconds, log_end: int | None = None) -> RecoveryResult:
    """Replace a damaged, empty or missing file by a new one with all readable rows of it and its write-ahead log.

    The file must not be open, and SQLite must not open it before: it deletes the log of an empty database, and a
    checkpoint of a damaged one overwrites the log. Bytes of the log beyond `log_end` are ignored.
    Raises `apsw.Error` and `OSError` when the new file cannot be written.
    """
    path = limits.path
    log.error("recovering the spool %s into a new file: %s", path, reason)
    # While the new file is incomplete, there is a file at the path: see `finish_recovery`.
    files.make_private(path)
    new_file = files.sibling(path, _NEW_FILE)
    _remove(new_file)
    files.make_private(new_file)
    database = Database(replace(limits, path=new_file))
    try:
        is_complete = _copy_rows(lambda: read_pages(path, now, log_end), database)
        database.checkpoint("TRUNCATE")  # an error of the checkpoint at `close` would not be reported
        recovered = database.statistics()
    finally:
        database.close()
    aside = _unused_path(path, now)
    _swap_in(path, new_file, aside)
    log.error(
        "recovered the spool %s: %d events and %d dead letters were readable. The old file is kept as %s. Check the "
        "health of the disk, and delete the old file when it is not needed any more",
        path, recovered.events, recovered.dead_letters, aside,
    )  # fmt: skip
    if not is_complete:
        log.error(
            "the recovery of the spool %s is incomplete: not all readable rows fitted on the disk. They are still in "
            "%s: free space, put a copy of it as spool.sqlite into another spool.path, and run `gateway spool recover`",
            path, aside,
        )  # fmt: skip
    return RecoveryResult(recovered.events, recovered.dead_letters, aside)


def write_anew(database: Database, now: UnixSeconds) -> Path:
    """Write a complete new file for an open database whose file another program removed or replaced.

    `finish_recovery` puts it at the path, after the database was closed. Returns the new name of the file that was at
    the path. Raises `apsw.Error` and `OSError`; nothing is changed then.
    """
    path = database.limits.path
    new_file = files.sibling(path, _NEW_FILE)
    files.make_private(path)  # as in `recover`
    _remove(new_file)
    files.make_private(new_file)
    database.copy_to(new_file)
    aside = _unused_path(path, now)
    path.rename(aside)
    files.sync_folder(path.parent)
    return aside


def finish_recovery(path: Path, now: UnixSeconds) -> bool:
    """Finish a recovery whose new file is complete, such as after a crash, and return whether there was one.

    The new file is complete if there is no file at the path: it was renamed already.
    """
    new_file = files.sibling(path, _NEW_FILE)
    if not new_file.exists():
        return False
    if path.exists():
        _remove(new_file)  # incomplete: the damage will be found again
        return False
    log.error("putting the recovered file at the path of the spool %s", path)
    # A log that is still there belongs to the file that was renamed.
    _swap_in(path, new_file, _unused_path(path, now))
    return True


def missing_beside_log(path: Path) -> str | None:
    """Return why a database must be recovered before SQLite opens it; None if it need not be.

    SQLite deletes the log of an empty database, and with it all events that no checkpoint has copied.
    """
    if files.size(path) or not files.size(files.sibling(path, files.WAL)):
        return None
    return "the database is empty or missing, but its write-ahead log is not; was it truncated or deleted by mistake?"


def _copy_rows(read: Callable[[], Iterator[RecoveredRow]], database: Database) -> bool:
    """Copy the readable rows into the new file, and return whether all of them fitted."""
    chunks, letters = _NumberSet(), _NumberSet()  # those that were copied: stale pages may repeat a row
    damaged = False
    # The first pass copies chunks, and dead letters under their numbers. The second pass adds the dead letters that
    # replace damaged chunks, so that these get numbers that are not in use.
    for second_pass in (False, True):
        for group in _groups(read()):
            try:
                with database.commit() as transaction:
                    for row in group:
                        match row:
                            case DeadLetter():
                                damaged = True
                                transaction.store_letters([row] if second_pass else [])
                            case StoredChunk() if not second_pass and chunks.add(row.id):
                                transaction.restore(row)
                            case (int() as number, DeadLetter() as letter) if not second_pass and letters.add(number):
                                transaction.restore_letter(number, letter)
                            case _:
                                pass
            except apsw.FullError:
                return False
            if database.log_pages > database.limits.log_pages:
                database.checkpoint()
        if not damaged:
            break
    return True


def _groups(recovered: Iterator[RecoveredRow]) -> Iterator[list[RecoveredRow]]:
    """Yield the rows in groups for one transaction each, bounded in rows and bytes."""
    group: list[RecoveredRow] = []
    size = 0
    for row in recovered:
        group.append(row)
        match row:
            case StoredChunk():
                size += len(row.chunk.payload)
            case DeadLetter() | (_, DeadLetter()):
                letter = row if isinstance(row, DeadLetter) else row[1]
                size += dead_letter_size(letter)
        if len(group) == _ROWS or size >= _BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


class _NumberSet:
    """A set of positive integers, mostly consecutive ones. One takes a bit, where a Python set takes 60 bytes."""

    _BITS: Final = 12
    """Numbers that differ only in these bits share a page."""

    def __init__(self) -> None:
        self._pages: dict[int, bytearray] = {}

    def add(self, number: int) -> bool:
        """Add a number, and return whether it was new."""
        page = self._pages.get(number >> self._BITS)
        if page is None:
            page = self._pages[number >> self._BITS] = bytearray(1 << self._BITS - 3)
        index, bit = divmod(number & (1 << self._BITS) - 1, 8)
        is_new = not page[index] >> bit & 1
        page[index] |= 1 << bit
        return is_new


def _swap_in(path: Path, new_file: Path, aside: Path) -> None:
    """Rename the file at the path and its log to `aside`, and then the new file to the path."""
    for suffix in ("", files.WAL):
        if (damaged := files.sibling(path, suffix)).exists():
            damaged.rename(files.sibling(aside, suffix))
    files.sync_folder(path.parent)
    new_file.rename(path)
    files.sync_folder(path.parent)


def _unused_path(path: Path, now: UnixSeconds) -> Path:
    """Return a path for the damaged file; neither it nor the path of its log exists yet."""
    name = files.sibling(path, strftime(".damaged-%Y%m%dT%H%M%SZ", gmtime(now)))
    number = 1
    aside = name
    while aside.exists() or files.sibling(aside, files.WAL).exists():
        number += 1
        aside = files.sibling(name, f"-{number}")
    return aside


def _remove(path: Path) -> None:
    for suffix in ("", files.WAL):
        files.sibling(path, suffix).unlink(missing_ok=True)
