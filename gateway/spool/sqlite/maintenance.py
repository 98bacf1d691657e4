"""What keeps the files small: writing the log back, and giving free pages back to the disk, in short steps.

Nothing here is on an event's way: it runs behind a call's answer, or when no call came for a while.
"""

from __future__ import annotations

import logging

import apsw

from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.schema import PAGE_SIZE

log = logging.getLogger("gateway.spool")

STEP_PAGES = 256
"""Pages that one step gives back, a few milliseconds, the longest that a commit waits for it; and the most that may be
written before the file is measured again."""

MIN_FREE_PAGES = 2 * 2**20 // PAGE_SIZE
"""Free pages that stay in the file: the next events take them without growing it again."""


class SpoolMaintenance:
    """Looks after one open database. A fault here is told once and tried again; it is no caller's."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._failing = False  # since the last checkpoint that worked
        self._retry_at = 0  # pages in the log at which a failed checkpoint is tried again

    def after_call(self) -> None:
        """Write the log back when it is long, and look at the file's size when it may have changed by much."""
        if self._database.unmeasured_pages >= STEP_PAGES:
            self._database.measure()
        if self._database.log_pages >= max(self._database.limits.log_pages, self._retry_at):
            self._checkpoint("PASSIVE")

    def idle(self) -> bool:
        """One step; whether there is more to do at once."""
        database = self._database
        if self._failing:
            return self._checkpoint("PASSIVE")
        if database.unmeasured_pages:
            database.measure()
        # A quarter of what is in use stays as well, so that a file which breathes is not cut and grown in turns.
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

    def _checkpoint(self, mode: str) -> bool:
        database = self._database
        try:
            database.checkpoint(mode)
        except apsw.Error as error:
            self._log_failure(error)
            self._retry_at = database.log_pages + database.limits.log_pages // 4
            return False
        if self._failing:
            log.info("the spool's log could be written back again")
        self._failing = False
        self._retry_at = 0
        return False

    def _log_failure(self, error: apsw.Error) -> None:
        if not self._failing:
            log.warning("the spool's log could not be written back, it is tried again: %s", error)
        self._failing = True
