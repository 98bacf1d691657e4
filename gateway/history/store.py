"""Tables of the history, and how they are written and read. All functions run on the thread of the file.

A statement of SQLite releases the interpreter for each row that it returns, and gets it back late from a busy event
loop. Therefore all values of a minute are written by one statement, and the values of a series are read as one row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

import orjson

from gateway.history.model import (
    HOUR,
    HOURS_KEPT,
    MAX_POINTS,
    MAX_SERIES,
    METRICS,
    MINUTE,
    MINUTES_KEPT,
    HistoryPage,
    HistoryQuery,
    Kind,
    Metric,
    Series,
)
from gateway.history.samples import Sample, SeriesKey

SCHEMA = """
CREATE TABLE series(id INTEGER PRIMARY KEY, metric TEXT NOT NULL, labels TEXT NOT NULL, UNIQUE(metric, labels));
CREATE TABLE minute(series INTEGER, at INTEGER, value REAL, PRIMARY KEY(series, at)) WITHOUT ROWID;
CREATE TABLE hour(series INTEGER, at INTEGER, value REAL, PRIMARY KEY(series, at)) WITHOUT ROWID;
CREATE TABLE recorded(step INTEGER, at INTEGER, PRIMARY KEY(step, at)) WITHOUT ROWID
"""
"""`labels` is a JSON array. `at` is the unix time at which the minute or hour begins. Values of zero are not stored;
`recorded` has the minutes and hours in which the gateway ran."""

MAX_STORED_SERIES = 1000
"""Series in the file; with more, new ones are not recorded. Bounds the file to about 120 MB; it usually has a few."""
MAX_BYTES = 256 * 2**20

_TABLES = ((MINUTE, "minute", MINUTES_KEPT), (HOUR, "hour", HOURS_KEPT))
_COMBINE = {
    Kind.COUNTER: ("value + excluded.value", "sum(value)"),
    Kind.GAUGE: ("max(value, excluded.value)", "max(value)"),
}

_METRIC_NAMES = frozenset(metric.value for metric in Metric)


def write(connection: sqlite3.Connection, at: int, values: Sample) -> int:
    """Add the values of the minute that contains `at`; the number of series for which there was no space."""
    ids = _series_ids(connection)
    new = [key for kind in values for key in kind if key not in ids]
    space = max(0, MAX_STORED_SERIES - len(ids))
    for key in new[:space]:
        row = key.metric.value, _encode_labels(key.labels)
        ids[key] = connection.execute("INSERT INTO series(metric, labels) VALUES (?, ?) RETURNING id", row).fetchone()[
            0
        ]
    for kind, given in ((Kind.COUNTER, values.counters), (Kind.GAUGE, values.gauges)):
        rows = orjson.dumps([[ids[key], value] for key, value in given.items() if key in ids]).decode()
        for step, table, _ in _TABLES:
            connection.execute(
                f"INSERT INTO {table} SELECT json_extract(value, '$[0]'), ?1, json_extract(value, '$[1]')"  # noqa: S608
                f" FROM json_each(?2) WHERE true ON CONFLICT DO UPDATE SET value = {_COMBINE[kind][0]}",
                (at - at % step, rows),
            )
    for step, _, _ in _TABLES:
        connection.execute("INSERT OR IGNORE INTO recorded VALUES (?, ?)", (step, at - at % step))
    return max(0, len(new) - space)


def prune(connection: sqlite3.Connection, now: int) -> None:
    """Delete values that are older than their table keeps, and series that have no values."""
    for step, table, kept in _TABLES:
        connection.execute(f"DELETE FROM {table} WHERE at < ?", (now - kept - step,))  # noqa: S608 (a constant)
        connection.execute("DELETE FROM recorded WHERE step = ? AND at < ?", (step, now - kept - step))
    connection.execute(
        "DELETE FROM series WHERE NOT EXISTS (SELECT 1 FROM minute WHERE series = id)"
        " AND NOT EXISTS (SELECT 1 FROM hour WHERE series = id)"
    )


def read(connection: sqlite3.Connection, query: HistoryQuery, now: float) -> HistoryPage:
    """The answer to a query."""
    step = step_of(query, now)
    since = int(query.since) // step * step
    count = min(MAX_POINTS, max(0, -int(-(query.until - since) // step)))
    table_step, table, _ = _TABLES[step % HOUR == 0]
    span = since, step, since + count * step, table_step
    slots = connection.execute(
        "SELECT json_group_array(DISTINCT (at - ?1) / ?2) FROM recorded WHERE step = ?4 AND at >= ?1 AND at < ?3", span
    ).fetchone()[0]
    recorded = [False] * count
    for slot in orjson.loads(slots):
        recorded[slot] = True
    ids = _series_ids(connection)
    matching = sorted(key for key in ids if key.metric in query.metrics and _has_labels(key, query.where))
    series = []
    for key in matching[:MAX_SERIES]:
        combine = _COMBINE[METRICS[key.metric].kind][1]
        row = connection.execute(
            "SELECT json_group_array(json_array(slot, value)) FROM ("  # noqa: S608 (constants)
            f"SELECT (at - ?1) / ?2 AS slot, {combine} AS value FROM {table}"
            " WHERE series = ?4 AND at >= ?1 AND at < ?3 GROUP BY slot)",
            (*span[:3], ids[key]),
        ).fetchone()[0]
        if points := orjson.loads(row):
            values = [0.0] * count
            for slot, value in points:
                values[slot] = value
            series.append(Series(key.metric, _labels(key), values))
    is_complete = len(matching) <= MAX_SERIES and len(ids) < MAX_STORED_SERIES
    return HistoryPage(float(since), step, recorded, series, is_complete)


def step_of(query: HistoryQuery, now: float) -> int:
    """The step of the answer: a multiple of an hour where values per minute are not kept for all of the time."""
    step = max(MINUTE, query.step - query.step % MINUTE)
    if query.since < now - MINUTES_KEPT:
        step = _up(step, HOUR)
    elif step > HOUR:
        step = _up(step, HOUR)  # read from the hours
    while (query.until - query.since) / step > MAX_POINTS - 1:
        step *= 2
    return step


def _up(step: int, unit: int) -> int:
    return -(-step // unit) * unit


def _series_ids(connection: sqlite3.Connection) -> dict[SeriesKey, int]:
    encoded = connection.execute("SELECT json_group_array(json_array(id, metric, json(labels))) FROM series").fetchone()
    return {
        SeriesKey(Metric(metric), tuple(labels)): number
        for number, metric, labels in orjson.loads(encoded[0])
        if metric in _METRIC_NAMES
    }


def _labels(key: SeriesKey) -> Mapping[str, str]:
    return dict(zip(METRICS[key.metric].labels, key.labels, strict=True))


def _has_labels(key: SeriesKey, where: Mapping[str, str]) -> bool:
    labels = _labels(key)
    return all(labels.get(name) == value for name, value in where.items())


def _encode_labels(labels: Sequence[str]) -> str:
    return orjson.dumps(labels).decode()
