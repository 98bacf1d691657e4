"""Tables of the event trace, and how they are written and read. All functions run on the thread of the file.

Events are numbered in the order in which they became durable. A chunk has a range of these numbers and the outcome of
all its events but those in `ending`, which were acknowledged apart from the rest. Statements handle many rows at once,
because SQLite releases the interpreter for each row that a statement returns.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter

import orjson

from gateway.identifiers import NO_IDS, EventIds, ids_of_mapped
from gateway.model import Backlog, StoredChunk, UnixSeconds, split_events
from gateway.trace.model import MAX_TRACED, Ending, TracedEvent, TraceGap, TraceResult, TraceState

SCHEMA = """
CREATE TABLE event(number INTEGER PRIMARY KEY, message_id TEXT, order_id TEXT);
CREATE INDEX event_message ON event(message_id) WHERE message_id IS NOT NULL;
CREATE INDEX event_order ON event(order_id) WHERE order_id IS NOT NULL;
CREATE TABLE chunk(first INTEGER PRIMARY KEY, events INTEGER, id INTEGER, lane TEXT, stored_at REAL,
    state TEXT, ended_at REAL, attempts INTEGER, code TEXT, trace TEXT);
CREATE INDEX chunk_open ON chunk(id) WHERE ended_at IS NULL;
CREATE TABLE ending(event INTEGER PRIMARY KEY, state TEXT, ended_at REAL, attempts INTEGER, code TEXT, trace TEXT);
CREATE TABLE gap(since REAL, until REAL, events INTEGER);
CREATE TABLE span(since REAL, until REAL)
"""
"""`lane` is `str(Lane)`, without the upload tag. `id` is the ID in the spool. `span` has one row: since when events are
traced, and when the file was written last; `until` is NULL after an orderly end."""

MAX_GAPS = 100
"""Gaps that are kept; beyond it the two oldest become one."""
PRUNED_EVENTS = 5000
"""Events that are deleted in one transaction, or more if a chunk is larger."""
PRUNED_CHUNKS = 1000

_OPEN = "ended_at IS NULL AND id IN (SELECT value FROM json_each(?1))"

_FIND = """
SELECT json_group_array(json_array(message_id, order_id, lane, stored_at, coalesce(ending.state, chunk.state),
    iif(ending.event, ending.ended_at, chunk.ended_at), iif(ending.event, ending.attempts, chunk.attempts),
    iif(ending.event, ending.code, chunk.code), iif(ending.event, ending.trace, chunk.trace)))
FROM (
    SELECT * FROM event WHERE message_id = ?1 UNION SELECT * FROM event WHERE order_id = ?1 ORDER BY number LIMIT ?2
)
JOIN chunk ON first = (SELECT max(first) FROM chunk WHERE first <= number)
LEFT JOIN ending ON event = number
"""


def begin(connection: sqlite3.Connection, now: UnixSeconds, backlogs: Iterable[Backlog]) -> None:
    """Continue after a start. `backlogs`: what the spool contains.

    Events that are not in it have ended, but the process was killed before that was recorded.
    """
    span = connection.execute("SELECT since, until FROM span").fetchone()
    if span is None:
        connection.execute("INSERT INTO span VALUES (?, ?)", (now, now))
    elif span[1] is not None:
        add_gap(connection, TraceGap(span[1], now, 0))
    oldest = {str(backlog.lane): backlog.oldest_stored_at for backlog in backlogs if backlog.events}
    connection.execute(
        "UPDATE chunk SET state = ?1 WHERE state = 'waiting'"
        " AND stored_at < coalesce((SELECT value FROM json_each(?2) WHERE key = lane), ?3)",
        (TraceState.UNKNOWN, orjson.dumps(oldest).decode(), now),
    )
    touch(connection, now)


def end(connection: sqlite3.Connection) -> None:
    """Record that everything was written."""
    connection.execute("UPDATE span SET until = NULL")


def touch(connection: sqlite3.Connection, now: UnixSeconds) -> None:
    """Record that everything up to now was written. A file that replaced a damaged one begins now."""
    if not connection.execute("UPDATE span SET until = ?", (now,)).rowcount:
        connection.execute("INSERT INTO span VALUES (?1, ?1)", (now,))


def add_chunks(connection: sqlite3.Connection, chunks: Iterable[StoredChunk]) -> None:
    """Add the events of chunks that became durable. Those without an ID are left out: nobody can ask for them."""
    number = connection.execute("SELECT coalesce(max(number), 0) FROM event").fetchone()[0]
    events: list[tuple[int, str | None, str | None]] = []
    rows: list[tuple[int, int, int, str, float]] = []
    for stored in chunks:
        first = number + 1
        for body in split_events(stored.chunk.payload):
            ids = ids_of_mapped(body)
            if ids != NO_IDS:
                number += 1
                events.append((number, *ids))
        if number >= first:
            rows.append((first, number + 1 - first, stored.id, str(stored.chunk.lane), stored.stored_at))
    connection.execute(f"INSERT INTO event SELECT {_columns(3)} FROM json_each(?)", (_json(events),))  # noqa: S608
    connection.execute(
        "INSERT INTO chunk(first, events, id, lane, stored_at, attempts, state)"  # noqa: S608
        f" SELECT {_columns(5)}, 0, 'waiting' FROM json_each(?)",
        (_json(rows),),
    )


def add_ending(connection: sqlite3.Connection, ending: Ending) -> None:
    """Record what became of chunks, or of some events of them."""
    ids = _json(ending.ids)
    outcome = ending.state, ending.at, ending.attempts, ending.code, ending.meta_trace_id
    if ending.events is None:
        connection.execute(
            f"UPDATE chunk SET state = ?2, ended_at = ?3, attempts = ?4, code = ?5, trace = ?6 WHERE {_OPEN}",  # noqa: S608
            (ids, *outcome),
        )
        return
    waiting = connection.execute(
        "SELECT json_group_array(json_array(number, message_id, order_id)) FROM chunk"  # noqa: S608
        f" JOIN event ON number >= first AND number < first + events WHERE {_OPEN}"
        " AND NOT EXISTS (SELECT 1 FROM ending WHERE event = number)",
        (ids,),
    ).fetchone()[0]
    ended = Counter(map(ids_of_mapped, ending.events))
    numbers = []
    for number, message_id, order_id in orjson.loads(waiting):
        key = EventIds(message_id, order_id)
        if ended[key]:
            ended[key] -= 1
            numbers.append(number)
    connection.execute(
        "INSERT INTO ending SELECT value, ?2, ?3, ?4, ?5, ?6 FROM json_each(?1) WHERE true",
        (_json(numbers), *outcome),
    )
    connection.execute(f"UPDATE chunk SET id = ?2 WHERE {_OPEN}", (ids, ending.ids[0]))  # noqa: S608


def add_gap(connection: sqlite3.Connection, gap: TraceGap) -> None:
    """Record that events were stored without being traced."""
    connection.execute("INSERT INTO gap VALUES (?, ?, ?)", (gap.since, gap.until, gap.events))
    gaps = [TraceGap(*row) for row in connection.execute("SELECT since, until, events FROM gap ORDER BY since LIMIT 2")]
    (count,) = connection.execute("SELECT count(*) FROM gap").fetchone()
    if count > MAX_GAPS:
        one, other = gaps
        connection.execute("DELETE FROM gap WHERE since <= ?", (other.since,))
        joined = one.since, max(one.until, other.until), one.events + other.events
        connection.execute("INSERT INTO gap VALUES (?, ?, ?)", joined)


def lose_endings(connection: sqlite3.Connection, until: UnixSeconds) -> None:
    """Record that the ends of some events were not recorded: of all that wait, it is unknown whether they still do."""
    connection.execute(
        "UPDATE chunk SET state = ? WHERE state = 'waiting' AND stored_at <= ?", (TraceState.UNKNOWN, until)
    )


def prune(connection: sqlite3.Connection, since: UnixSeconds, *, is_large: bool) -> bool:
    """Delete some of the oldest events: those from before `since`, or any if the file `is_large`.

    Returns whether something was deleted, so that there may be more to delete.
    """
    oldest = connection.execute("SELECT first, stored_at FROM chunk ORDER BY first LIMIT 1").fetchone()
    if oldest is None or not (is_large or oldest[1] < since):
        return False
    limits = oldest[0], oldest[0] + PRUNED_EVENTS, since, is_large, PRUNED_CHUNKS
    (after,) = connection.execute(
        "SELECT max(first + events) FROM (SELECT * FROM chunk ORDER BY first LIMIT ?5)"
        " WHERE first = ?1 OR (first + events <= ?2 AND (?4 OR stored_at < ?3))",
        limits,
    ).fetchone()
    connection.execute("DELETE FROM event WHERE number < ?", (after,))
    connection.execute("DELETE FROM ending WHERE event < ?", (after,))
    connection.execute("DELETE FROM chunk WHERE first < ?", (after,))
    rest = connection.execute("SELECT stored_at FROM chunk ORDER BY first LIMIT 1").fetchone()
    known_since = rest[0] if is_large and rest else since
    connection.execute("UPDATE span SET since = max(since, ?)", (known_since,))
    connection.execute("DELETE FROM gap WHERE until < (SELECT since FROM span)")
    return True


def find(connection: sqlite3.Connection, identifier: str) -> TraceResult:
    """The events with this message ID or order ID."""
    encoded = connection.execute(_FIND, (identifier, MAX_TRACED + 1)).fetchone()[0]
    found = sorted((_traced(*row) for row in orjson.loads(encoded)), key=attrgetter("stored_at"))
    gaps = [TraceGap(*row) for row in connection.execute("SELECT since, until, events FROM gap ORDER BY since")]
    (since,) = connection.execute("SELECT since FROM span").fetchone() or (None,)
    return TraceResult(found[:MAX_TRACED], len(found) > MAX_TRACED, since, gaps)


def _traced(
    message_id: str | None,
    order_id: str | None,
    lane: str,
    stored_at: float,
    state: str,
    ended_at: float | None,
    attempts: int,
    code: str | None,
    trace: str | None,
) -> TracedEvent:
    destination, event_set, tag_hash = lane.split("/")
    return TracedEvent(
        message_id=message_id,
        order_id=order_id,
        destination=destination,
        event_set=event_set,
        tag_hash=tag_hash,
        stored_at=stored_at,
        state=TraceState(state),
        ended_at=ended_at,
        meta_trace_id=trace,
        attempts=attempts,
        code=code,
    )


def _columns(count: int) -> str:
    return ", ".join(f"json_extract(value, '$[{index}]')" for index in range(count))


def _json(rows: Sequence[object]) -> str:
    return orjson.dumps(rows).decode()
