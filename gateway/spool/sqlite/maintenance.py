"""Keeps the files small, in short steps.

Copies the write-ahead log into the database (checkpoints), returns free pages to the disk, and deletes empty lanes. A
call waits for it only if it arrives during a step: maintenance runs after a call's result is delivered, or when there
has been no call for a while.
"""

from __future__ import annotations

import logging
from itertools import islice

import apsw

from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.schema import PAGE_SIZE

log = logging.getLogger("gateway.spool")

STEP_PAGES = 256
"""Pages that one step returns to the disk: it takes a few milliseconds, the longest delay of a commit. Also the number
of pages written after which the file is measured again."""

MIN_FREE_PAGES = 2 * 2**20 // PAGE_SIZE
"""Free pages that stay in the file, so that the next events do not grow it again."""


MAX_EMPTY_LANES = 1000
"""Lanes without events that stay, so that a lane in use is not deleted and inserted again all the time."""
STEP_LANES = 100
"""Lanes that one step deletes: it takes a few milliseconds."""


class SpoolMaintenance:
    """Maintains one open database. A failure is logged once and retried; callers do not see it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._failing = False  # since the last successful checkpoint
        self._retry_at = 0  # pages in the log at which a failed checkpoint is retried

    def after_call(self) -> None:
        """Run a checkpoint when the log is long, and measure the file when its size may have changed by much."""
        if self._database.unmeasured_pages >= STEP_PAGES:
            self._database.measure()
        if len(self._database.totals.empty) > MAX_EMPTY_LANES:
            self._delete_lanes()
        if self._database.log_pages >= max(self._database.limits.log_pages, self._retry_at):
            self._checkpoint("PASSIVE")

    def idle(self) -> bool:
        """Run one step, and return whether another one should follow at once."""
        database = self._database
        if self._failing:
            return self._checkpoint("PASSIVE")
        if database.unmeasured_pages:
            database.measure()
        # Free pages up to a quarter of the used ones stay too, so that a fluctuating load does not shrink and grow the
        # file in turns.
        excess = database.free_pages - max(MIN_FREE_PAGES, database.used_pages // 4)
        if excess > 0:
            return self._vacuum(min(excess, STEP_PAGES))
        if database.log_pages:
            self._checkpoint("TRUNCATE" if database.empty else "PASSIVE")
        return False

    def _vacuum(self, pages: int) -> bool:
        try:
            self._database.connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            self._database.measure()
        except apsw.Error as error:
            self._log_failure(error)
            return False
        self.after_call()
        return not self._failing

    def _delete_lanes(self) -> None:
        try:
            with self._database.commit() as transaction:
                transaction.delete_empty_lanes(list(islice(self._database.totals.empty, STEP_LANES)))
        except apsw.Error as error:
            self._log_failure(error)

    def _checkpoint(self, mode: str) -> bool:
        database = self._database
        try:
            database.checkpoint(mode)
        except apsw.Error as error:
            self._log_failure(error)
            self._retry_at = database.log_pages + database.limits.log_pages // 4
            return False
        if self._failing:
            log.info("maintenance of the spool %s succeeded again", database.limits.path)
        self._failing = False
        self._retry_at = 0
        return False

    def _log_failure(self, error: apsw.Error) -> None:
        if not self._failing:
            log.warning(
                "maintenance of the spool %s failed: %s. It is retried, and the files may grow until it succeeds. "
                "Check the free space and the health of the disk",
                self._database.limits.path, error,
            )  # fmt: skip
        self._failing = True
