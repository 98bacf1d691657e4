"""A small SQLite file for records that the gateway can lose: the history and the event trace.

It has a thread of its own, so that nothing else waits for its disk. A file that is damaged is set aside and replaced by
an empty one. A file that cannot be used for another reason (locked, read-only, full disk) is tried again after a while.
Each problem is one log line, and none stops the gateway.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

log = logging.getLogger("gateway.records")

T = TypeVar("T")

PAGE_SIZE = 4096
RETRY_SECONDS = 30.0
"""Seconds after which a file that could not be used is tried again."""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SIDE_FILES = ("-wal", "-shm", "-journal")


class RecordsUnavailable(Exception):
    """The file cannot be used now. The message is a clause that says why."""


class RecordFile:
    """One file. `run` is called on the event loop; the work runs on the file's thread, one after the other."""

    def __init__(self, path: Path | None, schema: str, *, max_bytes: int) -> None:
        """`path` None: the records are in memory. `schema`: its tables; a file with other tables is replaced.

        `max_bytes`: limit of the file, beyond which a write fails; its write-ahead log adds a few megabytes.
        """
        self._path = path
        self._name = path.name if path is not None else "records in memory"
        self._schema = schema
        self._max_pages = max(16, max_bytes // PAGE_SIZE)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._is_closed = False  # only the loop's thread changes this
        # Only the thread changes these.
        self._connection: sqlite3.Connection | None = None
        self._retry_at = 0.0  # monotonic time before which a file that failed is not opened again
        self._problem = ""  # that was logged last; empty since the file worked

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction. Raises `RecordsUnavailable`, and keeps nothing of the transaction then."""
        if self._is_closed:
            raise RecordsUnavailable("the gateway is stopping")
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, work)

    async def close(self) -> None:
        """Finish the work that was submitted, and close the file. Later calls raise `RecordsUnavailable`."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.get_running_loop().run_in_executor(self._executor, self._close)
            self._executor.shutdown(wait=False)

    def used_bytes(self, connection: sqlite3.Connection) -> int:
        """Bytes of the pages that hold records. For `work`, on the thread."""
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        return int((pages - free) * PAGE_SIZE)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            connection = self._open()
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise RecordsUnavailable(self._handle(error)) from error
        except OSError as error:
            raise RecordsUnavailable(self._report(error.strerror or type(error).__name__)) from error
        if self._problem:
            log.info("%s can be used again", self._name)
            self._problem = ""
        return result

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        if time.monotonic() < self._retry_at:
            raise RecordsUnavailable(self._problem)
        self._retry_at = time.monotonic() + RETRY_SECONDS
        connection = self._connect()
        if not self._has_tables(connection):
            connection.close()
            self._set_aside("was written by another version")
            connection = self._connect()
        self._connection = connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        """Open the file, with its tables if it was empty."""
        if self._path is not None:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        name = self._path or ":memory:"
        connection = sqlite3.connect(name, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")  # the last records may be lost with the power
            connection.execute(f"PRAGMA max_page_count={self._max_pages}")
            if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                connection.executescript(f"BEGIN; {self._schema}; COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    def _has_tables(self, connection: sqlite3.Connection) -> bool:
        query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
        present = sorted(_normalised(sql) for (sql,) in connection.execute(query))
        return present == sorted(_normalised(statement) for statement in self._schema.split(";"))

    def _handle(self, error: sqlite3.Error) -> str:
        """Make the next call find a file that can be used; the problem as a clause."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code != sqlite3.SQLITE_FULL or self._connection is None:
            self._close()
        if code in _DAMAGED and self._path is not None:
            with suppress(OSError):  # else the next call finds the damaged file again, and reports it
                self._set_aside("is damaged")
                self._retry_at = 0.0
                return f"{self._name} was damaged, and its records are lost"
        return self._report(str(error))

    def _report(self, problem: str) -> str:
        if problem != self._problem:
            self._problem = problem
            log.warning(
                "%s cannot be used: %s. The gateway works without it, and tries again every %g s",
                self._name,
                problem,
                RETRY_SECONDS,
            )
        return problem

    def _set_aside(self, problem: str) -> None:
        """Rename the file, over an earlier one that was set aside. Raises `OSError`."""
        if self._path is None:
            return
        aside = self._path.with_name(self._name + ".damaged")
        for suffix in _SIDE_FILES:
            self._path.with_name(self._name + suffix).unlink(missing_ok=True)
        self._path.replace(aside)
        log.warning("%s %s. It was renamed to %s, and an empty one takes its place", self._name, problem, aside.name)

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _normalised(sql: str) -> str:
    return " ".join(sql.split())
