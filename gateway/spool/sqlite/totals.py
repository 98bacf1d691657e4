"""The running totals of the spool as of the last commit. A start reads them instead of counting rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw

from gateway.model import Lane
from gateway.spool.sqlite.rows import lane_text


@dataclass(slots=True)
class LaneTotals:
    """The waiting events of a lane."""

    number: int
    """The lane's number in the keys of its chunks."""
    text: bytes
    """The lane as its chunks' rows encode it."""
    events: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Totals:
    """A copy of the totals in the database. The database thread changes it after a commit; any thread may read it."""

    lanes: dict[Lane, LaneTotals] = field(default_factory=dict)
    last_id: int = 0
    """The highest ID that was assigned to a chunk."""
    last_lane: int = 0
    """The highest number that a lane has or had."""
    last_letter: int = 0
    """The highest number that was assigned to a dead letter."""
    letters: int = 0
    letter_bytes: int = 0
    """Estimated size of the dead letters."""
    empty: dict[Lane, None] = field(default_factory=dict)
    """Lanes without a waiting event, in the order in which they became empty."""
    free_numbers: list[int] = field(default_factory=list)
    """Numbers below `last_lane` that no lane has: they are used again, since there are only 2**19."""


def load_totals(connection: apsw.Connection) -> Totals:
    """Read the totals: one row a lane, however large the backlog is."""
    totals = Totals()
    for number, destination, event_set, tag, events, size, last_id in connection.execute("SELECT * FROM lane"):
        lane = Lane(destination, event_set, tag)
        totals.lanes[lane] = LaneTotals(number, lane_text(lane), events, size)
        totals.last_id = max(totals.last_id, last_id)
        totals.last_lane = max(totals.last_lane, number)
        if not events:
            totals.empty[lane] = None
    used = {lane_totals.number for lane_totals in totals.lanes.values()}
    totals.free_numbers = [number for number in range(1, totals.last_lane) if number not in used]
    ((totals.letters, totals.letter_bytes),) = connection.execute("SELECT letters, bytes FROM dead_letter_total")
    totals.last_letter = connection.execute("SELECT seq FROM sqlite_sequence").get or 0
    return totals
