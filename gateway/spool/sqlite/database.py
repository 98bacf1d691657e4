"""One open database: its connection, and a copy of its totals in memory.

The totals are updated in the same transactions as the rows that they count, so that a start reads a few rows however
large the backlog is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import fstat
from pathlib import Path
from typing import Any

import apsw

from gateway.model import Backlog, UnixSeconds
from gateway.spool.sqlite import files
from gateway.spool.sqlite.rows import key_of
from gateway.spool.sqlite.schema import PAGE_SIZE, TOTALS_TRIGGERS, prepare
from gateway.spool.sqlite.storage_limits import StorageLimits
from gateway.spool.sqlite.totals import LaneTotals, Totals, load_totals
from gateway.spool.sqlite.transaction import Transaction
from gateway.telemetry import SpoolStatistics

STATUS_RANGE = 0x7FFFFFFF
"""A status counter of SQLite wraps to 0 beyond this."""


class FileShortened(Exception):
    """Another program shortened a file of the open database. What was cut off is lost unless the log has it."""


class FileRemoved(Exception):
    """Another program removed or replaced a file of the open database. The open file still has everything."""


class Database:
    """An open database. After any exception it is as it was before."""

    def __init__(self, limits: StorageLimits) -> None:
        """Raises `apsw.Error` and `SpoolUnavailable`."""
        self.limits = limits
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        self.connection = apsw.Connection(str(limits.path), flags=flags, vfs=limits.vfs or None)
        self.totals = Totals()
        self._files: tuple[files.OpenFile, ...] = ()  # the file and its log
        # As of the last checkpoint, the only operation that changes the file.
        self._file_size = 0
        # As of the last commit.
        self.log_pages = 0  # pages in the write-ahead log that no checkpoint has copied
        self.commits = 0
        self.purged = 0  # dead letters that were deleted because of age or space, or not stored for lack of it
        # As of the last call of `measure`.
        self.file_pages = 0
        self.free_pages = 0
        self.unmeasured_pages = 0  # written since then
        try:
            prepare(self.connection)
            self.connection.execute(TOTALS_TRIGGERS)
            self.connection.pragma("max_page_count", limits.last_page)
            self._load()
            self.measure_log()  # counts the pages that an earlier connection left in the log
            self._files = tuple(files.OpenFile(files.sibling(limits.path, suffix)) for suffix in ("", files.WAL))
            self._file_size = self._files[0].size()
        except BaseException:
            self.abandon()
            raise

    def close(self) -> None:
        """Checkpoint the log and close the connection."""
        self.connection.close()
        self._close_files()

    def abandon(self) -> None:
        """Close the connection without a checkpoint: the files may be damaged."""
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.connection.close(force=True)
        self._close_files()

    def _close_files(self) -> None:
        for file in self._files:
            file.close()
        self._files = ()

    def check_files(self) -> None:
        """Raise `FileShortened` or `FileRemoved` when another program shortened or deleted the file or its log.

        Runs before each commit and each checkpoint, and takes 2 microseconds.
        """
        file, log = self._files
        state, log_state = fstat(file.descriptor), fstat(log.descriptor)
        log_length = self.log_length if self.log_pages else 0
        if state.st_size < self._file_size or log_state.st_size < log_length:
            raise FileShortened(
                f"another program shortened it: it has {state.st_size} bytes where at least {self._file_size} are "
                f"expected, and its write-ahead log has {log_state.st_size} where at least {log_length} are expected"
            )
        if not (state.st_nlink and log_state.st_nlink):
            removed = "its write-ahead log" if state.st_nlink else "it"
            raise FileRemoved(f"another program removed or replaced {removed}")

    def check_places(self) -> None:
        """Raise `FileRemoved` when the open file or its log is not at its path, where the next start will look for it.

        Finds a renamed file too, which `check_files` does not.
        """
        for file, name in zip(self._files, ("it", "its write-ahead log"), strict=True):
            if not file.is_in_place():
                raise FileRemoved(f"another program moved, removed or replaced {name}")

    def copy_to(self, path: Path) -> None:
        """Write a complete copy to an empty file, and make it durable. Reads the open files, wherever they are now."""
        self.connection.execute("VACUUM INTO ?", (str(path),))
        files.sync_file(path)

    @contextmanager
    def commit(self) -> Iterator[Transaction]:
        """Run one transaction. The totals in memory change when it is durable, and not before."""
        connection = self.connection
        transaction = Transaction(connection, self.totals)
        written = self._status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)
        spilled = self._status(apsw.SQLITE_DBSTATUS_CACHE_SPILL)
        try:
            yield transaction
            transaction.finish()
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        transaction.apply_totals()
        self.commits += 1
        self.purged += transaction.purged
        # The pages were written to the log, each once, unless the transaction was larger than the cache. SQLite's WAL
        # hook reports the same number, but calling it costs each commit another wait for the GIL.
        written = (self._status(apsw.SQLITE_DBSTATUS_CACHE_WRITE) - written) & STATUS_RANGE
        self.unmeasured_pages += written
        if self._status(apsw.SQLITE_DBSTATUS_CACHE_SPILL) == spilled:
            self.log_pages += written
        else:
            self.measure_log()

    @property
    def used_pages(self) -> int:
        """Upper bound of the used pages of the file: pages written since the last measurement count as additional."""
        return self.file_pages - self.free_pages + self.unmeasured_pages

    @property
    def log_length(self) -> int:
        """Bytes of the log up to the last commit that is known to be durable."""
        return 32 + self.log_pages * (24 + PAGE_SIZE)

    @property
    def empty(self) -> bool:
        """Whether the spool has no waiting event."""
        return not any(totals.events for totals in self.totals.lanes.values())

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """Copy the log into the database, so that the log starts over; `TRUNCATE` also shortens the log to 0 bytes.

        Raises `FileShortened` and `FileRemoved`: a checkpoint would fill a shortened file with zeros, and the log that
        still has its pages would be overwritten.
        """
        self.check_files()
        try:
            self._checkpoint(mode)
        finally:
            self._file_size = self._files[0].size()

    def measure_log(self) -> None:
        """Read how many pages of the log no checkpoint has copied."""
        self._checkpoint("NOOP")

    def _checkpoint(self, mode: str) -> None:
        row: Any = self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        _, written, copied = row
        self.log_pages = 0 if written == copied else written

    def measure(self) -> None:
        """Read the size of the file and its free pages."""
        connection = self.connection
        self.file_pages = connection.execute("PRAGMA page_count").get
        self.free_pages = connection.execute("PRAGMA freelist_count").get
        self.unmeasured_pages = 0

    def backlogs(self) -> list[Backlog]:
        """Return the backlog of each lane that has one."""
        return [
            Backlog(lane, totals.events, totals.bytes, self._oldest(totals))
            for lane, totals in self.totals.lanes.items()
            if totals.events
        ]

    def statistics(self) -> SpoolStatistics:
        """Return a snapshot of the counts as of the last commit."""
        lanes = list(self.totals.lanes.values())
        return SpoolStatistics(
            events=sum(totals.events for totals in lanes),
            bytes=sum(totals.bytes for totals in lanes),
            dead_letters=self.totals.letters,
            dead_letter_bytes=self.totals.letter_bytes,
            purged=self.purged,
            size=self.used_pages * PAGE_SIZE,
            max_bytes=self.limits.max_bytes,
            commits=self.commits,
        )

    def _load(self) -> None:
        connection = self.connection
        with connection:
            # Delete empty lanes, except the one that has the highest ID.
            connection.execute(
                "DELETE FROM lane WHERE events = 0 AND last_id < (SELECT max(last_id) FROM lane)"
                " AND NOT EXISTS (SELECT 1 FROM chunk WHERE key >= number << 44 AND key < (number + 1) << 44)"
            )
        self.totals = load_totals(connection)
        self.measure()

    def _oldest(self, totals: LaneTotals) -> UnixSeconds | None:
        stored_at: UnixSeconds | None = self.connection.execute(
            "SELECT stored_at FROM chunk WHERE key >= ? AND key < ? ORDER BY key LIMIT 1",
            (key_of(totals.number, 0), key_of(totals.number + 1, 0)),
        ).get
        return stored_at

    def _status(self, counter: int) -> int:
        return self.connection.status(counter)[0]
