"""Whether a database is sound, as far as can be told in a given time."""

from __future__ import annotations

import time
from collections.abc import Callable

import apsw

START_CHECK_SECONDS = 0.1
"""Seconds that a start spends on it: enough for some 100 MB, and the same for any backlog beyond. What is not looked
at is found when it is read, and rescued then."""

_STEPS = 1000
"""Steps of the database's machine between two looks at the clock."""


def find_damage(
    connection: apsw.Connection, seconds: float | None, clock: Callable[[], float] = time.monotonic
) -> str | None:
    """What is wrong with the database; None when nothing was found, in that time (None: however long it takes)."""
    if seconds is not None:
        deadline = clock() + seconds
        connection.set_progress_handler(lambda: clock() > deadline, _STEPS)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check(1)")]
    except apsw.InterruptError:
        return None
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return str(error)
    finally:
        connection.set_progress_handler(None, 0)
    return None if found == ["ok"] else found[0].strip()
