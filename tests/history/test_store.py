import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.history import HistoryQuery, Metric
from gateway.history.model import HOUR, HOURS_KEPT, MAX_POINTS, MINUTE, MINUTES_KEPT
from gateway.history.samples import Sample, SeriesKey
from gateway.history.store import MAX_STORED_SERIES, SCHEMA, prune, read, step_of, write

NOON = 1_800_000_000 // HOUR * HOUR
STORE = SeriesKey(Metric.DELIVERED, ("store", "1148"))
WAITING = SeriesKey(Metric.WAITING, ("store", "1148"))


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    yield connection
    connection.close()


def count(connection: sqlite3.Connection, at: int, *, delivered: float = 0, waiting: float = 0) -> None:
    counters = {STORE: delivered} if delivered else {}
    gauges = {WAITING: waiting} if waiting else {}
    write(connection, at, Sample(counters, gauges))


def values(
    connection: sqlite3.Connection, metric: Metric, since: int, until: int, step: int, now: int | None = None
) -> list[float]:
    page = read(connection, HistoryQuery([metric], since, until, step), until if now is None else now)
    return list(page.series[0].values) if page.series else []


def test_values_of_a_minute_are_added_up_and_states_are_the_highest(connection: sqlite3.Connection) -> None:
    count(connection, NOON, delivered=5, waiting=9)
    count(connection, NOON + 30, delivered=2, waiting=4)
    count(connection, NOON + 60, delivered=1, waiting=2)
    span = NOON, NOON + 180
    assert values(connection, Metric.DELIVERED, *span, MINUTE) == [7, 1, 0]
    assert values(connection, Metric.WAITING, *span, MINUTE) == [9, 2, 0]
    assert values(connection, Metric.DELIVERED, *span, 180) == [8]
    assert values(connection, Metric.WAITING, *span, 180) == [9]


def test_steps_in_which_the_gateway_did_not_run_are_marked(connection: sqlite3.Connection) -> None:
    count(connection, NOON, delivered=1)
    count(connection, NOON + 120)
    page = read(connection, HistoryQuery([Metric.DELIVERED], NOON, NOON + 180), NOON + 180)
    assert page.recorded == [True, False, True]


def test_old_times_are_answered_per_hour(connection: sqlite3.Connection) -> None:
    for minute in range(120):
        count(connection, NOON + minute * 60, delivered=1)
    now = NOON + MINUTES_KEPT + HOUR
    prune(connection, now + 2 * HOUR)
    page = read(connection, HistoryQuery([Metric.DELIVERED], NOON, NOON + 2 * HOUR), now)
    assert page.step == HOUR
    assert page.series[0].values == [60, 60]
    assert page.recorded == [True, True]


def test_values_beyond_their_time_are_deleted_and_so_are_their_series(connection: sqlite3.Connection) -> None:
    count(connection, NOON, delivered=1)
    prune(connection, NOON + MINUTES_KEPT - HOUR)
    assert connection.execute("SELECT count(*) FROM minute").fetchone() == (1,)
    prune(connection, NOON + MINUTES_KEPT + HOUR)
    assert connection.execute("SELECT count(*) FROM minute").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM series").fetchone() == (1,)
    prune(connection, NOON + HOURS_KEPT + 2 * HOUR)
    for table in ("hour", "recorded", "series"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_series_beyond_the_limit_are_left_out_and_the_answer_says_so(connection: sqlite3.Connection) -> None:
    keys = [SeriesKey(Metric.RECEIVED, (f"source-{number}",)) for number in range(MAX_STORED_SERIES + 3)]
    assert write(connection, NOON, Sample(dict.fromkeys(keys, 1.0), {})) == 3
    assert write(connection, NOON + 60, Sample({keys[0]: 1.0}, {})) == 0
    page = read(connection, HistoryQuery([Metric.RECEIVED], NOON, NOON + 60, where={"source": "source-0"}), NOON)
    assert [series.labels for series in page.series] == [{"source": "source-0"}]
    assert not page.is_complete


def test_only_series_with_all_labels_of_the_query_are_returned(connection: sqlite3.Connection) -> None:
    others = [SeriesKey(Metric.DELIVERED, ("crm", "1148")), SeriesKey(Metric.RECEIVED, ("shop",))]
    write(connection, NOON, Sample({STORE: 1.0, **dict.fromkeys(others, 2.0)}, {}))
    query = HistoryQuery([Metric.DELIVERED, Metric.RECEIVED], NOON, NOON + 60, where={"destination": "store"})
    page = read(connection, query, NOON)
    assert [(series.metric, series.labels["destination"]) for series in page.series] == [("delivered", "store")]


@given(
    ages=st.tuples(st.integers(0, 100 * 86_400), st.integers(0, 100 * 86_400)),
    step=st.integers(1, 10 * 86_400),
)
def test_an_answer_has_a_bounded_number_of_steps_that_cover_the_time(ages: tuple[int, int], step: int) -> None:
    now = NOON + 17
    query = HistoryQuery([Metric.DELIVERED], now - max(ages), now - min(ages), step)
    chosen = step_of(query, now)
    assert chosen >= step - step % MINUTE
    assert chosen % MINUTE == 0
    assert chosen % HOUR == 0 or query.since >= now - MINUTES_KEPT
    first = query.since // chosen * chosen
    assert -(-(query.until - first) // chosen) <= MAX_POINTS
