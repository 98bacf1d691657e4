"""Looks at every row of a spool that nobody uses, however long it takes: for the operator's commands."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from gateway.model import Backlog
from gateway.spool.protocol import SpoolUnavailable
from gateway.spool.sqlite import files, rows
from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.recovery.quick_check import find_damage
from gateway.spool.sqlite.recovery.recover import RecoveryResult, finish_recovery, recover
from gateway.spool.sqlite.rows import DamagedRow
from gateway.spool.sqlite.storage_limits import StorageLimits

_NO_CAP = 2**44


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What was found."""

    events: int
    """That wait and are intact."""
    dead_letters: int
    """That are intact."""
    faults: tuple[str, ...]
    """A sentence each; empty when all is well."""


def verify(path: Path) -> VerifyResult:
    """Look at everything. Raises `SpoolUnavailable` when the spool is in use, or not there."""
    with files.locked(path):
        finish_recovery(path, time.time())
        _need(path)
        try:
            database = Database(StorageLimits(path, _NO_CAP))
        except (apsw.CorruptError, apsw.NotADBError) as error:
            return VerifyResult(0, 0, (str(error),))
        try:
            return _look(database)
        finally:
            database.abandon()


def backlogs(path: Path) -> list[Backlog]:
    """What waits, by lane, without looking at it. Raises `SpoolUnavailable` when the spool is in use, or not there."""
    with files.locked(path):
        finish_recovery(path, time.time())
        _need(path)
        try:
            database = Database(StorageLimits(path, _NO_CAP))
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise SpoolUnavailable(f"{path} is damaged ({error}); `gateway spool verify` says more") from None
        try:
            return database.backlogs()
        finally:
            database.abandon()


def recover_file(path: Path) -> RecoveryResult:
    """Set a spool aside and go on with what is readable, whether it looks damaged or not.

    Raises `SpoolUnavailable` when the spool is in use, or not there.
    """
    with files.locked(path):
        finish_recovery(path, time.time())
        _need(path)
        return recover(StorageLimits(path, _NO_CAP), "the operator says so", time.time())


def _need(path: Path) -> None:
    if not path.exists():
        raise SpoolUnavailable(f"there is no spool {path}: give the spool.path of the settings")


def _look(database: Database) -> VerifyResult:
    faults: list[str] = []
    if found := find_damage(database.connection, None):
        faults.append(found)
    events, letters = 0, 0
    try:
        counts: dict[int, list[int]] = {}
        for lane, count, size, fault in _chunks(database):
            if fault:
                faults.append(fault)
            else:
                events += count
            counted = counts.setdefault(lane, [0, 0])
            counted[0] += count
            counted[1] += size
        for name, totals in database.totals.lanes.items():
            if (here := counts.pop(totals.number, [0, 0])) != [totals.events, totals.bytes]:
                faults.append(f"{name} counts {totals.events} events in {totals.bytes} bytes and has {here}")
        faults += [
            f"{counted[0]} events wait in a lane {number} that is not there" for number, counted in counts.items()
        ]
        for row in database.connection.execute("SELECT * FROM dead_letter"):
            try:
                rows.dead_letter(row[1:])
                letters += 1
            except DamagedRow as error:
                faults.append(f"dead letter {row[0]}: {error}")
    except apsw.CorruptError as error:
        faults.append(str(error))
    return VerifyResult(events, letters, tuple(faults))


def _chunks(database: Database) -> Iterator[tuple[int, int, int, str | None]]:
    """Lane number, events, bytes and fault of every chunk."""
    for row in database.connection.execute("SELECT * FROM chunk ORDER BY key"):
        fault = None
        try:
            rows.stored_chunk(row)
        except DamagedRow as error:
            fault = f"chunk {rows.id_of(row[0])}: {error}"
        yield rows.lane_number(row[0]), row[1], len(row[6]), fault
