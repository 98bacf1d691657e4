"""One open database: its connection, and a mirror of the totals that stand in it.

The totals are kept in the same transactions as what they count, so that a start reads a few rows however much waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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
"""A status of the database begins at 0 again beyond this."""


class Database:
    """An open database. After any exception it is as it was before."""

    def __init__(self, limits: StorageLimits) -> None:
        """Raises `apsw.Error` and `SpoolUnavailable`."""
        self.limits = limits
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        self.connection = apsw.Connection(str(limits.path), flags=flags, vfs=limits.vfs or None)
        self.totals = Totals()
        # As they stand after the last commit.
        self.log_pages = 0  # in the log and not written back
        self.commits = 0
        # As they stood when they were last looked at, and what was written since.
        self.file_pages = 0
        self.free_pages = 0
        self.unmeasured_pages = 0
        try:
            prepare(self.connection)
            self.connection.execute(TOTALS_TRIGGERS)
            self.connection.pragma("max_page_count", limits.last_page)
            self._load()
        except BaseException:
            self.abandon()
            raise
        self.checkpoint("NOOP")  # what an earlier connection left in the log
        self._inode = limits.path.stat().st_ino

    def close(self) -> None:
        """Write the log back and let go."""
        self.connection.close()

    def abandon(self) -> None:
        """Let go without touching the files: they may be damaged."""
        self.connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.connection.close(force=True)

    @contextmanager
    def commit(self) -> Iterator[Transaction]:
        """One transaction; what it changed is mirrored when it is durable, and not before."""
        connection = self.connection
        transaction = Transaction(connection, self.totals)
        written, spilt = self._status(apsw.SQLITE_DBSTATUS_CACHE_WRITE), self._status(apsw.SQLITE_DBSTATUS_CACHE_SPILL)
        try:
            yield transaction
            transaction.finish()
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        transaction.note_totals()
        self.commits += 1
        # What was written went into the log, each page once, but for a transaction that the cache could not hold. A
        # hook would be told the same, at the price of a hold-up in each commit.
        written = (self._status(apsw.SQLITE_DBSTATUS_CACHE_WRITE) - written) & STATUS_RANGE
        self.unmeasured_pages += written
        if self._status(apsw.SQLITE_DBSTATUS_CACHE_SPILL) == spilt:
            self.log_pages += written
        else:
            self.checkpoint("NOOP")

    @property
    def used_pages(self) -> int:
        """Pages of the file that hold something, at most: what was written since the last look counts as new."""
        return self.file_pages - self.free_pages + self.unmeasured_pages

    @property
    def log_length(self) -> int:
        """Bytes of the log up to the last commit that we know to be durable."""
        return 32 + self.log_pages * (24 + PAGE_SIZE)

    @property
    def empty(self) -> bool:
        """Whether no event waits."""
        return not any(totals.events for totals in self.totals.lanes.values())

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """Write the log back, so that it starts over; `TRUNCATE` gives its room back as well, `NOOP` only looks."""
        row: Any = self.connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        _, written, done = row
        self.log_pages = 0 if written == done else written

    @property
    def is_ours(self) -> bool:
        """Whether the file that we write is still the one that the next start will find."""
        return files.inode(self.limits.path) == self._inode

    def measure(self) -> None:
        """Look at the size of the file."""
        connection = self.connection
        self.file_pages = connection.execute("PRAGMA page_count").get
        self.free_pages = connection.execute("PRAGMA freelist_count").get
        self.unmeasured_pages = 0

    def backlogs(self) -> list[Backlog]:
        """What waits, by lane."""
        return [
            Backlog(lane, totals.events, totals.bytes, self._oldest(totals))
            for lane, totals in self.totals.lanes.items()
            if totals.events
        ]

    def statistics(self) -> SpoolStatistics:
        """A snapshot after the last commit."""
        lanes = list(self.totals.lanes.values())
        return SpoolStatistics(
            events=sum(totals.events for totals in lanes),
            bytes=sum(totals.bytes for totals in lanes),
            dead_letters=self.totals.letters,
            size=self.used_pages * PAGE_SIZE,
            max_bytes=self.limits.max_bytes,
            commits=self.commits,
        )

    def _load(self) -> None:
        connection = self.connection
        with connection:
            # Lanes that nobody waits in go, but for the one that remembers the highest ID.
            connection.execute(
                "DELETE FROM lane WHERE events = 0 AND last_id < (SELECT max(last_id) FROM lane)"
                " AND NOT EXISTS (SELECT 1 FROM chunk WHERE key >= number << 44 AND key < (number + 1) << 44)"
            )
        self.totals = load_totals(connection)
        self.measure()

    def _oldest(self, totals: LaneTotals) -> UnixSeconds | None:
        found: UnixSeconds | None = self.connection.execute(
            "SELECT stored_at FROM chunk WHERE key >= ? AND key < ? ORDER BY key LIMIT 1",
            (key_of(totals.number, 0), key_of(totals.number + 1, 0)),
        ).get
        return found

    def _status(self, what: int) -> int:
        return self.connection.status(what)[0]
