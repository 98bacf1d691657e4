"""Keeps one connection well: opened under the lock, opened anew when it is in doubt, replaced when its file is damaged.

It turns what the database and the disk throw into the room's exceptions. All of it runs on the writer's thread, but
`statistics`.
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
"""Calls in a row that may fail before the connection is opened anew: the disk may be back under another handle."""

_DAMAGE_ERRORS: Final = (apsw.CorruptError, apsw.NotADBError, UnicodeDecodeError)
"""Beside what the database finds by itself: a name that is no text any more."""


class ConnectionManager:
    """The life of the connection. `do` gives a store to work with."""

    def __init__(self, limits: StorageLimits, clock: Callable[[], UnixSeconds]) -> None:
        self._limits = limits
        self._clock = clock
        # The writer's thread changes these.
        self._lock: files.Lock | None = None  # held while open
        self._store: Store | None = None  # None while closed, and while the connection has to be opened anew
        self._maintenance: SpoolMaintenance | None = None  # of the same database
        self._failures = 0  # calls in a row that the disk failed
        self._valid_log_length: int | None = None  # bytes of the log that hold, after a connection was given up
        self._statistics = SpoolStatistics(0, 0, 0, 0, limits.max_bytes, 0)  # when there is no store

    def open(self) -> Sequence[Backlog]:
        """Take the lock and make it ready; what waits."""
        path = self._limits.path
        try:
            files.make_folder(path.parent)
            self._lock = files.Lock(files.beside(path, ".lock"))
            finish_recovery(path, self._clock())
            self._check_disk()
            store = self._open_store()
        except (apsw.Error, OSError) as error:
            self._release()
            raise SpoolUnavailable(
                f"the spool {path} cannot be opened: {error}. Make its folder writable for this process"
            ) from error
        except BaseException:
            self._release()
            raise
        return store.database.backlogs()

    def close(self) -> None:
        """Write the log back and let go."""
        if self._store:
            self._statistics = self.statistics()
            try:
                self._store.database.close()
            except apsw.Error as error:
                log.warning("the spool was left without writing its log back: %s", error)
        self._release()

    def do(self, work: Callable[[Store], T]) -> T:
        """Work with a store. Raises `SpoolUnavailable` where the disk or the database fails; nothing was changed."""
        try:
            store = self._store or self._open_store()
            try:
                result = work(store)
            except _DAMAGE_ERRORS as error:
                result = work(self._replace_damaged(store, str(error)))
        except (apsw.Error, OSError) as error:
            self._note_failure()
            raise SpoolUnavailable(
                f"the disk of the spool {self._limits.path} failed: {error}. Nothing was taken; "
                "it is tried again with the next call. Look at the disk's room, its mount and its health"
            ) from error
        self._failures = 0
        return result

    def statistics(self) -> SpoolStatistics:
        """A snapshot. Any thread may ask."""
        store = self._store
        return store.database.statistics() if store else self._statistics

    def after_call(self) -> None:
        """What is due behind a call's answer."""
        if self._maintenance:
            self._maintenance.after_call()

    def idle(self) -> bool:
        """What is due when no call comes; whether there is more at once."""
        return self._maintenance.idle() if self._maintenance else False

    def _open_store(self) -> Store:
        try:
            if self._valid_log_length is not None:
                files.truncate(files.beside(self._limits.path, files.WAL), self._valid_log_length)
            files.make_private(self._limits.path)
            database = Database(self._limits)
            if found := find_damage(database.connection, START_CHECK_SECONDS):
                database.abandon()
                database = self._recover(found)
        except _DAMAGE_ERRORS as error:
            database = self._recover(str(error))
        return self._use(database)

    def _use(self, database: Database) -> Store:
        self._store = store = Store(database, self._clock)
        self._maintenance = SpoolMaintenance(database)
        self._valid_log_length = None
        return store

    def _replace_damaged(self, store: Store, reason: str) -> Store:
        """The file turned out to be damaged while in use."""
        before = store.database.totals
        self._abandon_store(store)
        store = self._use(self._recover(reason))
        # IDs and numbers go on from where callers saw them, and callers may settle what could not be read.
        totals = store.database.totals
        totals.last_id = store.lost_up_to = max(before.last_id, totals.last_id)
        return store

    def _recover(self, reason: str) -> Database:
        recover(self._limits, reason, self._clock())
        return Database(self._limits)

    def _note_failure(self) -> None:
        self._failures += 1
        store = self._store
        if store and (store.database.connection.in_transaction or self._failures >= MAX_FAILURES):
            self._abandon_store(store)
            self._failures = 0

    def _abandon_store(self, store: Store) -> None:
        """Let go of a connection without trusting it.

        A transaction that failed in its last step may stand whole in the log, and a new connection would take it for
        done although its caller was told that it is not. So the log is cut behind what was acknowledged.
        """
        self._statistics = self.statistics()
        self._valid_log_length = store.database.log_length
        self._store = self._maintenance = None
        store.database.abandon()

    def _check_disk(self) -> None:
        """Refuse a cap that the disk could not hold: at a full disk nothing can leave either."""
        path, limits = self._limits.path, self._limits
        there = files.size(path) + files.size(files.beside(path, files.WAL))
        needed = limits.max_bytes + limits.beside
        if (free := limits.free_disk(path.parent)) + there < needed:
            raise SpoolUnavailable(
                f"spool.max_bytes is {limits.max_bytes} and {limits.beside} more are needed beside it, but the disk of "
                f"{path.parent} has {free} bytes free: lower spool.max_bytes or make room on the disk"
            )

    def _release(self) -> None:
        self._store = self._maintenance = None
        if self._lock:
            self._lock.release()
            self._lock = None
