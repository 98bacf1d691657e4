"""What becomes of a damaged file: it is set aside under a new name, and what can be read of it goes on in a fresh one.

The order of the steps survives a crash between any two of them: the fresh file is complete before the damaged one
moves.
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

_FRESH = ".rescued"
_ROWS = 200
"""Rows of one transaction: with chunks of 60 kB some 12 MB."""


@dataclass(frozen=True, slots=True)
class RecoveryResult:
    """What a rescue saved and where the damaged file is now."""

    events: int
    dead_letters: int
    aside: Path


def recover(limits: StorageLimits, reason: str, now: UnixSeconds) -> RecoveryResult:
    """Put a fresh file with everything readable in the place of a damaged one. Nobody may have it open.

    Raises `apsw.Error` and `OSError` when the disk takes no fresh file.
    """
    path = limits.path
    log.error("the spool %s is damaged (%s): it is being rescued", path, reason)
    _write_log_back(limits)
    fresh = files.beside(path, _FRESH)
    _remove(fresh)
    files.make_private(fresh)
    database = Database(replace(limits, path=fresh))
    try:
        complete = _copy(path, now, database)
        saved = database.statistics()
    finally:
        database.close()
    aside = _free_name(path, now)
    _swap(path, fresh, aside)
    log.error(
        "the spool goes on with what was readable: %d events and %d dead letters. The damaged file is kept as %s",
        saved.events, saved.dead_letters, aside,
    )  # fmt: skip
    if not complete:
        log.error("not everything fitted on the disk: make room and rescue %s by hand", aside)
    return RecoveryResult(saved.events, saved.dead_letters, aside)


def finish_recovery(path: Path, now: UnixSeconds) -> None:
    """Go on where a crash interrupted a rescue; and set a log aside whose database somebody removed."""
    log_file = files.beside(path, files.WAL)
    fresh = files.beside(path, _FRESH)
    if not fresh.exists():
        if not files.size(path) and files.size(log_file):
            aside = files.beside(_free_name(path, now), files.WAL)
            log.error("%s has no database: it was set aside as %s", log_file, aside)
            log_file.rename(aside)
        return
    if path.exists():
        _remove(fresh)  # not complete: the damage will be found again
        return
    log.error("a rescue of the spool %s was interrupted: it is finished now", path)
    # The log belongs to the file that was set aside already.
    _swap(path, fresh, _free_name(path, now))


def _write_log_back(limits: StorageLimits) -> None:
    """The log holds the newest pages; with them in their places one file is left to read."""
    try:
        connection = apsw.Connection(str(limits.path), vfs=limits.vfs or None)
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.close(force=True)
    except apsw.Error as error:
        log.error("the log beside %s cannot be read: %s", limits.path, error)  # noqa: TRY400 (not our fault)


def _copy(path: Path, now: UnixSeconds, database: Database) -> bool:
    """Put rows into the fresh file; false when it had no room for all."""
    seen: set[tuple[bool, int]] = set()
    damaged = False

    def fresh(number: int, *, chunk: bool) -> bool:
        """Whether no copy of it was found before."""
        known = (chunk, number) in seen
        seen.add((chunk, number))
        return not known

    # Letters that keep their numbers go first, so that those of damaged chunks get other ones.
    for again in (False, True):
        found = read_pages(path, now)
        while rows := list(islice(found, _ROWS)):
            try:
                with database.commit() as transaction:
                    for row in rows:
                        match row:
                            case DeadLetter():
                                damaged = True
                                transaction.keep_letters([row] if again else [])
                            case StoredChunk() if not again and fresh(row.id, chunk=True):
                                transaction.put_back(row)
                            case (int() as number, DeadLetter() as letter) if not again and fresh(number, chunk=False):
                                transaction.put_letter_back(number, letter)
                            case _:
                                pass
            except apsw.FullError:
                return False
            if database.log_pages > database.limits.log_pages:
                database.checkpoint()
        if not damaged:
            break
    return True


def _swap(path: Path, fresh: Path, aside: Path) -> None:
    """Put the fresh file in the damaged one's place."""
    for suffix in ("", files.WAL):
        if (moved := files.beside(path, suffix)).exists():
            moved.rename(files.beside(aside, suffix))
    files.sync_folder(path.parent)
    fresh.rename(path)
    files.sync_folder(path.parent)


def _free_name(path: Path, now: UnixSeconds) -> Path:
    name = files.beside(path, strftime(".damaged-%Y%m%dT%H%M%SZ", gmtime(now)))
    number = 1
    aside = name
    while aside.exists():
        number += 1
        aside = files.beside(name, f"-{number}")
    return aside


def _remove(path: Path) -> None:
    for suffix in ("", files.WAL):
        files.beside(path, suffix).unlink(missing_ok=True)
