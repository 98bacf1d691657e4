"""The times at which requests are sent, and the times from which their latencies count."""

from __future__ import annotations

import pytest

from bench.pacing import ClosedLoop, ConstantRate, LoadResult
from tests.bench.fakes import Clock, FakeConnection


def started_constant_rate(
    clock: Clock, *, rate: float, total: int, connections: int = 1
) -> tuple[ConstantRate, list[FakeConnection]]:
    pacing = ConstantRate(LoadResult(1), clock, rate=rate, total=total)
    opened = [FakeConnection() for _ in range(connections)]
    for connection in opened:
        pacing.connection_ready(connection)
    pacing.start()
    return pacing, opened


def test_due_times_are_equally_spaced_and_errors_do_not_accumulate() -> None:
    clock = Clock(50.0)
    pacing, _ = started_constant_rate(clock, rate=3.0, total=1)
    assert pacing.due_time(0) == 50.0
    assert pacing.due_time(3_000_000) == pytest.approx(50.0 + 1_000_000.0, abs=1e-6)


def test_a_request_is_not_sent_before_it_is_due() -> None:
    clock = Clock()
    pacing, (first, second) = started_constant_rate(clock, rate=10.0, total=5, connections=2)
    pacing.send_due()
    assert [len(first.sent), len(second.sent)] == [1, 0]
    clock.now += 0.05
    pacing.send_due()
    assert [len(first.sent), len(second.sent)] == [1, 0]
    clock.now += 0.06
    pacing.send_due()
    ((number, due),) = second.sent
    assert number == 1
    assert due == pytest.approx(1000.1)
    assert not pacing.all_due


def test_a_late_check_sends_all_due_requests_with_their_own_due_times() -> None:
    clock = Clock()
    pacing, connections = started_constant_rate(clock, rate=10.0, total=100, connections=8)
    clock.now += 0.35
    pacing.send_due()
    due_times = [due for connection in connections for _, due in connection.sent]
    assert due_times == [pytest.approx(1000.0 + number / 10) for number in range(4)]


def test_a_stall_of_the_server_delays_every_request_that_is_due_during_it() -> None:
    """With coordinated omission, one slow request and 99 fast ones would be counted instead."""
    clock = Clock()
    pacing, (connection,) = started_constant_rate(clock, rate=100.0, total=100)
    pacing.send_due()
    clock.now += 1.0  # the server sends no response for a second
    pacing.send_due()
    ended = False
    while not ended:  # then it answers each request within a tenth of a millisecond
        clock.now += 0.0001
        ended = pacing.response_received(connection, connection.sent[-1][1], succeeded=True)
    load = pacing.load
    assert load.responses == 100
    assert load.percentile(0.5) == pytest.approx(0.5, rel=0.05)
    assert load.percentile(0.99) == pytest.approx(0.99, rel=0.05)


def test_a_stall_of_the_server_in_a_closed_loop_delays_one_request() -> None:
    clock = Clock()
    pacing = ClosedLoop(LoadResult(1), clock, seconds=60.0, max_requests=100)
    connection = FakeConnection()
    pacing.start()
    pacing.connection_ready(connection)
    clock.now += 1.0
    while not pacing.response_received(connection, connection.sent[-1][1], succeeded=True):
        clock.now += 0.0001
    assert pacing.load.percentile(0.98) < 0.001
    assert pacing.load.percentile(1.0) >= 1.0


def test_the_oldest_queued_request_is_sent_first() -> None:
    clock = Clock()
    pacing, (connection,) = started_constant_rate(clock, rate=10.0, total=4)
    clock.now += 1.0
    pacing.send_due()
    for _ in range(3):
        pacing.response_received(connection, connection.sent[-1][1], succeeded=True)
    assert [due for _, due in connection.sent] == sorted(due for _, due in connection.sent)
    assert [number for number, _ in connection.sent] == [0, 1, 2, 3]


def test_a_constant_rate_load_ends_with_the_last_response() -> None:
    clock = Clock()
    pacing, connections = started_constant_rate(clock, rate=10.0, total=2, connections=2)
    clock.now += 0.2
    pacing.send_due()
    assert pacing.all_due
    assert not pacing.response_received(connections[0], 1000.0, succeeded=True)
    clock.now += 4.8
    assert pacing.response_received(connections[1], 1000.1, succeeded=False)
    assert pacing.load.seconds == pytest.approx(5.0)
    assert pacing.load.failures == 1
    assert pacing.load.events_per_second == pytest.approx(1 / 5.0)


def test_a_closed_loop_sends_at_most_max_requests_and_none_after_its_end() -> None:
    clock = Clock()
    pacing = ClosedLoop(LoadResult(10), clock, seconds=10.0, max_requests=3)
    connections = [FakeConnection(), FakeConnection()]
    pacing.start()
    for connection in connections:
        pacing.connection_ready(connection)
    clock.now += 1.0
    assert not pacing.response_received(connections[0], 1000.0, succeeded=True)
    assert not pacing.response_received(connections[1], 1000.0, succeeded=True)
    assert pacing.response_received(connections[0], 1001.0, succeeded=True)
    assert sum(len(connection.sent) for connection in connections) == 3
    assert pacing.load.events_per_second == pytest.approx(30.0)

    unlimited = ClosedLoop(LoadResult(1), clock, seconds=1.0, max_requests=None)
    unlimited.start()
    connection = FakeConnection()
    unlimited.connection_ready(connection)
    clock.now += 1.5
    assert unlimited.response_received(connection, clock.now - 1.5, succeeded=True)
    assert len(connection.sent) == 1
