"""Checks a database for damage within a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable

import apsw

START_CHECK_SECONDS = 0.1
"""Time limit of the check at start, in seconds: enough for about 100 MB, and independent of the backlog. Damage on
pages that were not checked is found when they are read, and the file is recovered then."""

_STEPS = 1000
"""Instructions of SQLite's virtual machine between two checks of the time limit."""


def find_damage(
    connection: apsw.Connection, seconds: float | None, clock: Callable[[], float] = time.monotonic
) -> str | None:
    """Return a description of the first damage; None when none was found within `seconds` (None: no limit)."""
    if seconds is not None:
        deadline = clock() + seconds
        connection.set_progress_handler(lambda: clock() > deadline, _STEPS)
    try:
        messages = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
    except apsw.InterruptError:
        return None
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return None if messages == ["ok"] else messages[0].strip()
