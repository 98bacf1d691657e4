"""Full verification, backlog listing and recovery of a spool that is not in use, for the `gateway spool` commands."""

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
from gateway.spool.sqlite.recovery.recover import RecoveryResult, finish_recovery, missing_beside_log, recover
from gateway.spool.sqlite.rows import DamagedRow
from gateway.spool.sqlite.storage_limits import StorageLimits

_UNLIMITED = 2**44
"""`max_bytes` for commands that must work on a spool of any size."""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The result of a verification."""

    events: int
    """Intact waiting events."""
    dead_letters: int
    """Intact dead letters."""
    faults: tuple[str, ...]
    """One description for each fault; empty when the spool is intact."""


def verify(path: Path) -> VerifyResult:
    """Read and check every row. Raises `SpoolUnavailable` when the spool is in use or does not exist."""
    with files.locked(path):
        finish_recovery(path, time.time())
        _require_file(path)
        if reason := missing_beside_log(path):
            return VerifyResult(0, 0, (reason,))
        try:
            database = Database(StorageLimits(path, _UNLIMITED))
        except (apsw.CorruptError, apsw.NotADBError) as error:
            return VerifyResult(0, 0, (str(error),))
        try:
            return _verify_rows(database)
        finally:
            database.abandon()


def backlogs(path: Path) -> list[Backlog]:
    """Return the backlog of each lane from the stored totals, without reading the chunks.

    Raises `SpoolUnavailable` when the spool is in use, does not exist or is damaged.
    """
    with files.locked(path):
        finish_recovery(path, time.time())
        _require_file(path)
        if reason := missing_beside_log(path):
            raise _damaged(path, reason)
        try:
            database = Database(StorageLimits(path, _UNLIMITED))
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise _damaged(path, error) from None
        try:
            return database.backlogs()
        finally:
            database.abandon()


def recover_file(path: Path) -> RecoveryResult:
    """Recover a spool into a new file, whether damage was found or not.

    Raises `SpoolUnavailable` when the spool is in use or does not exist.
    """
    with files.locked(path):
        finish_recovery(path, time.time())
        _require_file(path)
        return recover(StorageLimits(path, _UNLIMITED), "requested by `gateway spool recover`", time.time())


def _damaged(path: Path, reason: object) -> SpoolUnavailable:
    return SpoolUnavailable(f"{path} is damaged ({reason}); recover it with `gateway spool recover`")


def _require_file(path: Path) -> None:
    if not path.exists() and not missing_beside_log(path):
        raise SpoolUnavailable(f"the spool {path} does not exist; check spool.path in the settings")


def _verify_rows(database: Database) -> VerifyResult:
    faults: list[str] = []
    if damage := find_damage(database.connection, None):
        faults.append(damage)
    events, letters = 0, 0
    try:
        sums: dict[int, list[int]] = {}  # events and bytes, by the lane's number
        for number, count, size, fault in _chunks(database):
            if fault:
                faults.append(fault)
            else:
                events += count
            lane_sums = sums.setdefault(number, [0, 0])
            lane_sums[0] += count
            lane_sums[1] += size
        for lane, totals in database.totals.lanes.items():
            stored_events, stored_bytes = sums.pop(totals.number, [0, 0])
            if (stored_events, stored_bytes) != (totals.events, totals.bytes):
                faults.append(
                    f"lane {lane}: its totals are {totals.events} events and {totals.bytes} bytes, but its chunks have "
                    f"{stored_events} events and {stored_bytes} bytes"
                )
        faults += [
            f"lane number {number} has {lane_events} events but does not exist in the table of lanes"
            for number, (lane_events, _) in sums.items()
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
    """Yield the lane number, events, bytes and fault (or None) of every chunk."""
    for row in database.connection.execute("SELECT * FROM chunk ORDER BY key"):
        fault = None
        try:
            rows.stored_chunk(row)
        except DamagedRow as error:
            fault = f"chunk {rows.id_of(row[0])}: {error}"
        yield rows.lane_number(row[0]), row[1], len(row[6]), fault
