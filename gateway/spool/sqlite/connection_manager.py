"""Owns the connection: opens it under the lock, reopens it after disk failures, replaces a damaged file.

It converts the exceptions of the database and the disk into `SpoolUnavailable`. Everything runs on the database thread
except `statistics`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import apsw

from gateway.model import Backlog, UnixSeconds
from gateway.spool.protocol import SpoolUnavailable
from gateway.spool.sqlite import files
from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.maintenance import SpoolMaintenance
from gateway.spool.sqlite.recovery import START_CHECK_SECONDS, find_damage, finish_recovery, recover
from gateway.spool.sqlite.storage_limits import StorageLimits
from gateway.spool.sqlite.store import Store
from gateway.telemetry import SpoolStatistics

log = logging.getLogger("gateway.spool")

T = TypeVar("T")

MAX_FAILURES: Final = 3
"""Consecutive failed calls after which the connection is reopened: a disk that recovered may need new file handles."""

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
        self._valid_log_length: int | None = None  # bytes of the log to keep when reopening; None: all
        self._statistics = SpoolStatistics(0, 0, 0, 0, limits.max_bytes, 0)  # used while there is no store

    def open(self) -> Sequence[Backlog]:
        """Take the lock, open the database, and return the backlog of each lane."""
        path = self._limits.path
        try:
            files.make_folder(path.parent)
            self._lock = files.Lock(files.sibling(path, ".lock"))
            finish_recovery(path, self._clock())
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
                self._store.database.close()
            except apsw.Error as error:
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
                result = work(self._replace_damaged(store, str(error)))
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
            self._maintenance.after_call()

    def idle(self) -> bool:
        """Run one step of idle maintenance, and return whether another one should follow at once."""
        return self._maintenance.idle() if self._maintenance else False

    def _open_store(self) -> Store:
        try:
            if self._valid_log_length is not None:
                files.truncate(files.sibling(self._limits.path, files.WAL), self._valid_log_length)
            files.make_private(self._limits.path)
            database = Database(self._limits)
            if damage := find_damage(database.connection, START_CHECK_SECONDS):
                database.abandon()
                database = self._recover(damage)
        except _DAMAGE_ERRORS as error:
            database = self._recover(str(error))
        return self._use(database)

    def _use(self, database: Database) -> Store:
        self._store = store = Store(database, self._clock)
        self._maintenance = SpoolMaintenance(database)
        self._valid_log_length = None
        return store

    def _replace_damaged(self, store: Store, reason: str) -> Store:
        """Recover a file whose damage was found while it was in use."""
        before = store.database.totals
        self._abandon_store(store)
        store = self._use(self._recover(reason))
        # New IDs continue after those that callers have seen, and callers may acknowledge chunks that were lost.
        totals = store.database.totals
        totals.last_id = store.lost_up_to = max(before.last_id, totals.last_id)
        return store

    def _recover(self, reason: str) -> Database:
        recover(self._limits, f"the file is damaged ({reason})", self._clock())
        return Database(self._limits)

    def _note_failure(self) -> None:
        self._failures += 1
        store = self._store
        if store and (store.database.connection.in_transaction or self._failures >= MAX_FAILURES):
            self._abandon_store(store)
            self._failures = 0

    def _abandon_store(self, store: Store) -> None:
        """Close a connection that failed, to be reopened by the next call.

        A transaction that failed in its last step may be complete in the log. A new connection would treat it as
        committed although its caller got an error. So the log is truncated after the last successful commit.
        """
        self._statistics = self.statistics()
        self._valid_log_length = store.database.log_length
        self._store = self._maintenance = None
        store.database.abandon()

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
        if self._lock:
            self._lock.release()
            self._lock = None
