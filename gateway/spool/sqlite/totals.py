"""The running totals of the spool, as they stand after the last commit: what a start reads instead of counting."""

from __future__ import annotations

from dataclasses import dataclass, field

import apsw

from gateway.model import Lane
from gateway.spool.sqlite.rows import lane_text


@dataclass(slots=True)
class LaneTotals:
    """What waits in a lane."""

    number: int
    """The lane's, in keys."""
    text: bytes
    """Its name as it stands in the rows of its chunks."""
    events: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Totals:
    """The mirror of the totals in the database. The writer's thread changes it, behind a commit; others may read."""

    lanes: dict[Lane, LaneTotals] = field(default_factory=dict)
    last_id: int = 0
    """The highest ID that a chunk was given."""
    last_lane: int = 0
    last_letter: int = 0
    """The highest number that a dead letter was given."""
    letters: int = 0
    letter_bytes: int = 0


def load_totals(connection: apsw.Connection) -> Totals:
    """Read the totals; a few rows, whatever waits."""
    totals = Totals()
    for number, destination, event_set, tag, events, size, last_id in connection.execute("SELECT * FROM lane"):
        lane = Lane(destination, event_set, tag)
        totals.lanes[lane] = LaneTotals(number, lane_text(lane), events, size)
        totals.last_id = max(totals.last_id, last_id)
        totals.last_lane = max(totals.last_lane, number)
    ((totals.letters, totals.letter_bytes),) = connection.execute("SELECT letters, bytes FROM dead_letter_total")
    totals.last_letter = connection.execute("SELECT seq FROM sqlite_sequence").get or 0
    return totals
