"""When requests are due, and from when their latencies count."""

from __future__ import annotations

import pytest

from bench.pacing import ClosedLoop, EvenRate, Load
from tests.bench.clock import Clock, Wire


def even(clock: Clock, *, rate: float, total: int, wires: int = 1) -> tuple[EvenRate, list[Wire]]:
    pacing = EvenRate(Load(1), clock, rate=rate, total=total)
    made = [Wire() for _ in range(wires)]
    for wire in made:
        pacing.start(wire)
    pacing.begin()
    return pacing, made


def test_requests_are_due_evenly_from_the_beginning_and_no_error_adds_up() -> None:
    clock = Clock(50.0)
    pacing, _ = even(clock, rate=3.0, total=1)
    assert pacing.due(0) == 50.0
    assert pacing.due(3_000_000) == pytest.approx(50.0 + 1_000_000.0, abs=1e-6)


def test_only_what_is_due_is_sent() -> None:
    clock = Clock()
    pacing, (one, two) = even(clock, rate=10.0, total=5, wires=2)
    pacing.tick()
    assert [len(one.sent), len(two.sent)] == [1, 0]
    clock.now += 0.05
    pacing.tick()
    assert [len(one.sent), len(two.sent)] == [1, 0]
    clock.now += 0.06
    pacing.tick()
    ((number, due),) = two.sent
    assert number == 1
    assert due == pytest.approx(1000.1)
    assert not pacing.all_due


def test_a_tick_that_comes_late_sends_all_that_fell_due_with_the_instants_at_which_each_was() -> None:
    clock = Clock()
    pacing, wires = even(clock, rate=10.0, total=100, wires=8)
    clock.now += 0.35
    pacing.tick()
    dues = [due for wire in wires for _, due in wire.sent]
    assert dues == [pytest.approx(1000.0 + number / 10) for number in range(4)]


def test_a_stall_makes_all_the_requests_late_that_fell_due_in_it() -> None:
    """The mistake to avoid (coordinated omission) would count one late request and 99 quick ones."""
    clock = Clock()
    pacing, (wire,) = even(clock, rate=100.0, total=100)
    pacing.tick()
    clock.now += 1.0  # the server answers nothing for a second
    pacing.tick()
    over = False
    while not over:  # then each within a tenth of a millisecond
        clock.now += 0.0001
        over = pacing.answered(wire, wire.sent[-1][1], good=True)
    load = pacing.load
    assert load.answered == 100
    assert load.percentile(0.5) == pytest.approx(0.5, rel=0.05)
    assert load.percentile(0.99) == pytest.approx(0.99, rel=0.05)


def test_the_same_stall_in_a_closed_loop_is_one_late_request() -> None:
    clock = Clock()
    pacing = ClosedLoop(Load(1), clock, seconds=60.0, most=100)
    wire = Wire()
    pacing.begin()
    pacing.start(wire)
    clock.now += 1.0
    while not pacing.answered(wire, wire.sent[-1][1], good=True):
        clock.now += 0.0001
    assert pacing.load.percentile(0.98) < 0.001
    assert pacing.load.percentile(1.0) >= 1.0


def test_what_waits_longest_is_sent_first() -> None:
    clock = Clock()
    pacing, (wire,) = even(clock, rate=10.0, total=4)
    clock.now += 1.0
    pacing.tick()
    for _ in range(3):
        pacing.answered(wire, wire.sent[-1][1], good=True)
    assert [due for _, due in wire.sent] == sorted(due for _, due in wire.sent)
    assert [number for number, _ in wire.sent] == [0, 1, 2, 3]


def test_an_even_load_is_over_with_the_last_answer_and_not_with_the_last_request() -> None:
    clock = Clock()
    pacing, wires = even(clock, rate=10.0, total=2, wires=2)
    clock.now += 0.2
    pacing.tick()
    assert pacing.all_due
    assert not pacing.answered(wires[0], 1000.0, good=True)
    clock.now += 4.8
    assert pacing.answered(wires[1], 1000.1, good=False)
    assert pacing.load.seconds == pytest.approx(5.0)
    assert pacing.load.refused == 1
    assert pacing.load.events_per_second == pytest.approx(1 / 5.0)


def test_a_closed_loop_sends_no_more_than_the_most_and_none_after_the_time() -> None:
    clock = Clock()
    pacing = ClosedLoop(Load(10), clock, seconds=10.0, most=3)
    wires = [Wire(), Wire()]
    pacing.begin()
    for wire in wires:
        pacing.start(wire)
    clock.now += 1.0
    assert not pacing.answered(wires[0], 1000.0, good=True)
    assert not pacing.answered(wires[1], 1000.0, good=True)
    assert pacing.answered(wires[0], 1001.0, good=True)
    assert sum(len(wire.sent) for wire in wires) == 3
    assert pacing.load.events_per_second == pytest.approx(30.0)

    late = ClosedLoop(Load(1), clock, seconds=1.0, most=None)
    late.begin()
    wire = Wire()
    late.start(wire)
    clock.now += 1.5
    assert late.answered(wire, clock.now - 1.5, good=True)
    assert len(wire.sent) == 1
