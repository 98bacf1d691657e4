"""Owns the connection: opens it under the lock, reopens it after disk failures, replaces a damaged or removed file.

It converts the exceptions of the database and the disk into `SpoolUnavailable`. Everything runs on the database thread
except `statistics`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import apsw

from gateway.model import Backlog, UnixSeconds
from gateway.spool.protocol import SpoolUnavailable
from gateway.spool.sqlite import files
from gateway.spool.sqlite.database import Database, FileRemoved, FileShortened
from gateway.spool.sqlite.maintenance import SpoolMaintenance
from gateway.spool.sqlite.recovery import (
    START_CHECK_SECONDS,
    find_damage,
    finish_recovery,
    missing_beside_log,
    recover,
    write_anew,
)
from gateway.spool.sqlite.storage_limits import StorageLimits
from gateway.spool.sqlite.store import Store
from gateway.telemetry import SpoolStatistics

log = logging.getLogger("gateway.spool")

T = TypeVar("T")

MAX_FAILURES: Final = 3
"""Consecutive failed calls after which the connection is reopened: a disk that recovered may need new file handles."""

REPAIR_INTERVAL: Final = 60.0
"""Seconds between two recoveries of a file in use. Each keeps the old file, and a broken disk damages the new one too:
without an interval, recoveries would fill the disk. Also the seconds between two log lines about the same failure."""

_DAMAGE_ERRORS: Final = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError)
"""Exceptions that mean a damaged file. `UnicodeDecodeError`: a lane's name in the file is not UTF-8 any more."""


class ConnectionManager:
    """Manages the lifetime of the connection. `do` runs a function on the store."""

    def __init__(self, limits: StorageLimits, clock: Callable[[], UnixSeconds]) -> None:
        self._limits = limits
        self._clock = clock
        # Only the database thread changes these.
        self._lock: files.Lock | None = None  # held while open
        self._store: Store | None = None  # None while closed, and when it must be reopened
        self._maintenance: SpoolMaintenance | None = None  # of the same database as `_store`
        self._failures = 0  # consecutive failed calls
        self._damage: str | None = None  # why the file must be recovered before it is opened again
        self._log_end: int | None = None  # bytes of the log to use when reopening or recovering; None: all
        self._last_id = 0  # highest ID that callers have seen
        self._lost_up_to = 0  # see `Store.lost_up_to`
        self._repaired_at = self._logged_at = -math.inf  # monotonic time
        self._statistics = SpoolStatistics(max_bytes=limits.max_bytes)  # used while there is no store

    def open(self) -> Sequence[Backlog]:
        """Take the lock, open the database, and return the backlog of each lane."""
        path = self._limits.path
        try:
            files.make_folder(path.parent)
            self._lock = files.Lock(files.sibling(path, ".lock"))
            self._check_disk()
            store = self._open_store()
        except (apsw.Error, OSError) as error:
            self._release()
            raise SpoolUnavailable(
                f"the spool {path} cannot be opened: {error}. Check that its directory is writable for this process"
            ) from error
        except BaseException:
            self._release()
            raise
        return store.database.backlogs()

    def close(self) -> None:
        """Checkpoint the log, close the database and release the lock."""
        if self._store:
            self._statistics = self.statistics()
            try:
                self._close_database(self._store)
            except (apsw.Error, OSError, SpoolUnavailable) as error:
                log.warning(
                    "the spool %s was closed without a checkpoint: %s. No event is lost: the next start reads the log",
                    self._limits.path, error,
                )  # fmt: skip
        self._release()

    def do(self, work: Callable[[Store], T]) -> T:
        """Run `work` on the store, and return its result.

        Raises `SpoolUnavailable` when the disk or the database fails; nothing is changed then.
        """
        try:
            store = self._store or self._open_store()
            try:
                result = work(store)
            except _DAMAGE_ERRORS as error:
                self._require_interval(f"the file is damaged again ({error})")
                result = work(self._replace_damaged(store, f"the file is damaged ({error})"))
            except (FileShortened, FileRemoved) as change:
                self._repair(store, change)
                raise SpoolUnavailable(
                    f"{self._limits.path} was written anew: {change}. Nothing was stored; send the request again"
                ) from change
        except (apsw.Error, OSError) as error:
            self._note_failure()
            raise SpoolUnavailable(
                f"the disk of the spool {self._limits.path} failed: {error}. Nothing was stored, and the next call "
                "retries. Check the free space, the mount and the health of the disk"
            ) from error
        self._failures = 0
        return result

    def statistics(self) -> SpoolStatistics:
        """Return a snapshot of the counts. May be called on any thread."""
        store = self._store
        return store.database.statistics() if store else self._statistics

    def after_call(self) -> None:
        """Run the maintenance that is due after a call."""
        if self._maintenance:
            self._maintain(self._maintenance.after_call)

    def idle(self) -> bool:
        """Run one step of idle maintenance, and return whether another one should follow at once."""
        return bool(self._maintenance and self._maintain(self._maintenance.idle))

    def _maintain(self, step: Callable[[], T]) -> T | None:
        """Run a step of maintenance, which also finds changed files."""
        try:
            return step()
        except (FileShortened, FileRemoved) as change:
            if self._store:
                with suppress(SpoolUnavailable, apsw.Error, OSError):  # the next call gets the error
                    self._repair(self._store, change)
            return None

    def _open_store(self) -> Store:
        path = self._limits.path
        if finish_recovery(path, self._clock()):
            self._damage = self._log_end = None
        if self._damage:
            self._require_interval(self._damage)
            self._repaired_at = time.monotonic()
        try:
            if reason := self._damage or missing_beside_log(path):
                database = self._recover(reason)
            else:
                if self._log_end is not None:
                    files.truncate(files.sibling(path, files.WAL), self._log_end)
                files.make_private(path)
                database = Database(self._limits)
                if damage := find_damage(database.connection, START_CHECK_SECONDS):
                    database.abandon()
                    database = self._recover(f"the file is damaged ({damage})")
        except _DAMAGE_ERRORS as error:
            database = self._recover(f"the file is damaged ({error})")
        return self._use(database)

    def _use(self, database: Database) -> Store:
        # New IDs continue after those that callers have seen, and counters after those of an earlier connection.
        database.totals.last_id = max(database.totals.last_id, self._last_id)
        database.commits += self._statistics.commits
        database.purged += self._statistics.purged
        self._store = store = Store(database, self._clock, self._lost_up_to)
        self._maintenance = SpoolMaintenance(database)
        self._log_end = None
        return store

    def _repair(self, store: Store, change: FileShortened | FileRemoved) -> None:
        """Give the path a whole file again, after another program changed it.

        The running process continues with the new file, since a restart would lose what only this process still has:
        the content of a removed file, and the events of a shortened one that wait in memory. Raises `SpoolUnavailable`.
        """
        if time.monotonic() - self._logged_at >= REPAIR_INTERVAL:
            self._logged_at = time.monotonic()
            log.error(
                "the spool %s was changed while in use: %s. Requests get 503 until the file is whole again, which is "
                "written anew now from what is left. Find the program that changed it, or check the disk",
                self._limits.path, change,
            )  # fmt: skip
        self._require_interval(str(change))
        if isinstance(change, FileShortened):
            self._replace_damaged(store, str(change))
        else:
            self._rewrite(store)

    def _require_interval(self, reason: str) -> None:
        """Raise `SpoolUnavailable` when the last recovery is too recent."""
        if (wait := self._repaired_at + REPAIR_INTERVAL - time.monotonic()) > 0:
            raise SpoolUnavailable(
                f"the spool {self._limits.path} cannot be used for {wait:.0f} s: {reason}, and it was recovered only "
                "just before. Check the disk, and that no other program changes the files"
            )

    def _replace_damaged(self, store: Store, reason: str) -> Store:
        """Recover a file whose damage was found while it was in use."""
        # Callers may acknowledge chunks that they have read before, and that are lost.
        self._lost_up_to = max(self._last_id, store.database.totals.last_id)
        self._repaired_at = time.monotonic()
        self._damage = reason
        self._abandon_store(store)
        return self._use(self._recover(reason))

    def _recover(self, reason: str) -> Database:
        self._damage = reason
        recover(self._limits, reason, self._clock(), self._log_end)
        self._damage = None
        return Database(self._limits)

    def _rewrite(self, store: Store) -> None:
        """Write a file anew that was removed, from the open one. Raises `SpoolUnavailable`."""
        path = self._limits.path
        if not (self._lock and self._lock.is_in_place()):
            raise SpoolUnavailable(
                f"the directory {path.parent} was moved, removed or replaced while in use. No event is stored, since "
                "the next start would not find it; waiting events are still delivered. Put the directory back, or "
                "restart the gateway when /status shows no waiting events"
            )
        self._repaired_at = time.monotonic()
        aside = write_anew(store.database, self._clock())
        self._abandon_store(store)
        self._log_end = None
        statistics = self._open_store().database.statistics()
        log.error(
            "wrote the spool %s anew: %d waiting events and %d dead letters. What was at its path is kept as %s",
            path, statistics.events, statistics.dead_letters, aside,
        )  # fmt: skip

    def _close_database(self, store: Store) -> None:
        database = store.database
        try:
            database.check_files()
            database.check_places()
        except FileShortened as change:
            database.abandon()
            log.warning("the spool %s is recovered at the next start: %s", self._limits.path, change)
        except FileRemoved as change:
            log.warning("the spool %s was changed while in use: %s. It is written anew", self._limits.path, change)
            self._rewrite(store)
            if self._store:
                self._store.database.close()
        else:
            database.close()

    def _note_failure(self) -> None:
        self._failures += 1
        store = self._store
        if store and (store.database.connection.in_transaction or self._failures >= MAX_FAILURES):
            try:
                store.database.check_files()
            except FileShortened as change:
                self._damage = str(change)
            except FileRemoved:
                return  # only this connection still has the content
            self._abandon_store(store)
            self._failures = 0

    def _abandon_store(self, store: Store) -> None:
        """Close a connection that failed, to be reopened by the next call.

        A transaction that failed in its last step may be complete in the log. A new connection would treat it as
        committed although its caller got an error. So only the log up to the last successful commit is used.
        """
        database = store.database
        self._statistics = self.statistics()
        self._last_id = max(self._last_id, database.totals.last_id)
        # With all its pages copied, the log may have new pages of a failed transaction only, or still the old ones.
        self._log_end = database.log_length if database.log_pages or not self._damage else None
        self._store = self._maintenance = None
        database.abandon()

    def _check_disk(self) -> None:
        """Raise `SpoolUnavailable` when the disk cannot hold `max_bytes`: a full disk would block delivery too."""
        path, limits = self._limits.path, self._limits
        existing = files.size(path) + files.size(files.sibling(path, files.WAL))
        needed = limits.max_bytes + limits.extra_disk - existing
        if (free := limits.free_disk(path.parent)) < needed:
            raise SpoolUnavailable(
                f"the disk of {path.parent} has {free} bytes free and the spool needs {needed}: spool.max_bytes is "
                f"{limits.max_bytes}, and acknowledgements and the log need {limits.extra_disk} in addition. Lower "
                "spool.max_bytes or free space on the disk"
            )

    def _release(self) -> None:
        self._store = self._maintenance = None
        self._damage = self._log_end = None
        if self._lock:
            self._lock.release()
            self._lock = None
