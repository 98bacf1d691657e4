"""Recovers a damaged file: copies its readable rows into a new file, and keeps the damaged one under another name.

A crash between any two steps loses nothing: the new file is complete before the damaged one is renamed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from time import gmtime, strftime

import apsw

from gateway.model import DeadLetter, StoredChunk, UnixSeconds
from gateway.spool.sqlite import files
from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.recovery.page_reader import read_pages
from gateway.spool.sqlite.storage_limits import StorageLimits

log = logging.getLogger("gateway.spool")

_NEW_FILE = ".recovered"
"""Suffix of the new file while rows are copied."""
_ROWS = 200
"""Rows copied in one transaction: about 12 MB with chunks of 60 kB."""


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """The recovered events and dead letters, and the new path of the damaged file."""

    events: int
    dead_letters: int
    aside: Path
    """The damaged file."""


def recover(limits: StorageLimits, reason: str, now: UnixSeconds) -> RecoveryResult:
    """Replace a damaged file by a new one with all readable rows. The file must not be open.

    Raises `apsw.Error` and `OSError` when the new file cannot be written.
    """
    path = limits.path
    log.error("recovering the spool %s into a new file: %s", path, reason)
    _checkpoint(limits)
    new_file = files.sibling(path, _NEW_FILE)
    _remove(new_file)
    files.make_private(new_file)
    database = Database(replace(limits, path=new_file))
    try:
        complete = _copy_rows(path, now, database)
        recovered = database.statistics()
    finally:
        database.close()
    aside = _unused_path(path, now)
    _swap(path, new_file, aside)
    log.error(
        "recovered the spool %s: %d events and %d dead letters were readable. The old file is kept as %s. Check the "
        "health of the disk, and delete the old file when it is not needed any more",
        path, recovered.events, recovered.dead_letters, aside,
    )  # fmt: skip
    if not complete:
        log.error(
            "the recovery of the spool %s is incomplete: not all readable rows fitted on the disk. They are still in "
            "%s: free space, put a copy of it as spool.sqlite into another spool.path, and run `gateway spool recover`",
            path, aside,
        )  # fmt: skip
    return RecoveryResult(recovered.events, recovered.dead_letters, aside)


def finish_recovery(path: Path, now: UnixSeconds) -> None:
    """Finish a recovery that a crash interrupted, and set aside a write-ahead log whose database was deleted."""
    log_file = files.sibling(path, files.WAL)
    new_file = files.sibling(path, _NEW_FILE)
    if not new_file.exists():
        if not files.size(path) and files.size(log_file):
            aside = files.sibling(_unused_path(path, now), files.WAL)
            log.error(
                "renaming %s to %s: its database %s does not exist or is empty. Check whether the database was deleted "
                "by mistake",
                log_file, aside, path,
            )  # fmt: skip
            log_file.rename(aside)
        return
    if path.exists():
        _remove(new_file)  # incomplete: the damage will be found again
        return
    log.error("finishing the recovery of the spool %s, which was interrupted", path)
    # A log that is still there belongs to the damaged file, which was renamed already.
    _swap(path, new_file, _unused_path(path, now))


def _checkpoint(limits: StorageLimits) -> None:
    """Copy the newest pages from the write-ahead log into the database, so that only one file must be read."""
    try:
        connection = apsw.Connection(str(limits.path), vfs=limits.vfs or None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close(force=True)
    except apsw.Error as error:
        log.error(  # noqa: TRY400 (a traceback adds nothing)
            "the write-ahead log of %s cannot be read, its newest events may be lost: %s", limits.path, error
        )


def _copy_rows(path: Path, now: UnixSeconds, database: Database) -> bool:
    """Copy the readable rows into the new file, and return whether all of them fitted."""
    seen: set[tuple[bool, int]] = set()
    damaged = False

    def is_first(number: int, *, chunk: bool) -> bool:
        """Whether no copy of this chunk or dead letter was read before."""
        known = (chunk, number) in seen
        seen.add((chunk, number))
        return not known

    # The first pass copies chunks, and dead letters under their numbers. The second pass adds the dead letters that
    # replace damaged chunks, so that these get numbers that are not in use.
    for second_pass in (False, True):
        remaining = read_pages(path, now)
        while rows := list(islice(remaining, _ROWS)):
            try:
                with database.commit() as transaction:
                    for row in rows:
                        match row:
                            case DeadLetter():
                                damaged = True
                                transaction.store_letters([row] if second_pass else [])
                            case StoredChunk() if not second_pass and is_first(row.id, chunk=True):
                                transaction.restore(row)
                            case (int() as number, DeadLetter() as letter) if not second_pass and is_first(
                                number, chunk=False
                            ):
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


def _swap(path: Path, new_file: Path, aside: Path) -> None:
    """Rename the damaged file to `aside`, and the new file to `path`."""
    for suffix in ("", files.WAL):
        if (damaged := files.sibling(path, suffix)).exists():
            damaged.rename(files.sibling(aside, suffix))
    files.sync_folder(path.parent)
    new_file.rename(path)
    files.sync_folder(path.parent)


def _unused_path(path: Path, now: UnixSeconds) -> Path:
    """Return a path for the damaged file that does not exist yet."""
    name = files.sibling(path, strftime(".damaged-%Y%m%dT%H%M%SZ", gmtime(now)))
    number = 1
    aside = name
    while aside.exists():
        number += 1
        aside = files.sibling(name, f"-{number}")
    return aside


def _remove(path: Path) -> None:
    for suffix in ("", files.WAL):
        files.sibling(path, suffix).unlink(missing_ok=True)
