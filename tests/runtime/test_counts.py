"""Counters of a worker over several processes: none falls, and the ledger's invariant holds for the sums."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Backlog, Lane, Stage
from gateway.runtime.counts import WorkerCounts
from gateway.telemetry import Coverage, KeyCoverage, LaneCounts, Snapshot, SpoolStatistics

LANE = Lane("store", "1", "rudderstack")
OTHER = Lane("store", "1", "spring")


def counters(orphans: int = 0, **of_lane: int) -> Snapshot:
    """The counters of a process with one lane, and with `orphans` events of that lane."""
    snapshot = Snapshot(orphans=[Backlog(LANE, orphans, 1, 0.0)] if orphans else [])
    if of_lane:
        snapshot.ledger.lanes[LANE] = LaneCounts(**of_lane)
    return snapshot


def sums(counts: WorkerCounts) -> LaneCounts:
    """The sums over all lanes."""
    total = LaneCounts()
    for lane in counts.total().ledger.lanes.values():
        total.add(lane)
    return total


def test_the_counters_of_a_process_that_ended_are_kept() -> None:
    counts = WorkerCounts(0)
    ended = counters(accepted=8, delivered=8, batches=2)
    ended.ledger.requests["/v1/batch", 200] = 5
    ended.ledger.dead["store", Stage.MAPPING, "unmapped_event"] = 3
    ended.ledger.call_seconds["store"].observe(0.2)
    ended.loop_lag.observe(0.01)
    ended.spool = SpoolStatistics(commits=7)
    ended.coverage = {"store": Coverage(9, {"em": KeyCoverage(7, {"malformed": 2})}, {"madid_zero": 1})}
    counts.update(ended, 1)
    counts.update(counters(accepted=2, delivered=1), 2)
    total = counts.total()
    assert (sums(counts).accepted, sums(counts).delivered, sums(counts).batches) == (10, 9, 2)
    assert total.ledger.requests == {("/v1/batch", 200): 5}
    assert total.ledger.dead == {("store", Stage.MAPPING, "unmapped_event"): 3}
    assert total.ledger.call_seconds["store"].count == 1
    assert total.loop_lag.count == 1
    assert total.spool == SpoolStatistics(commits=7)
    assert total.coverage == ended.coverage


def test_newer_counters_of_the_same_process_replace_the_earlier_ones() -> None:
    counts = WorkerCounts(0)
    counts.update(counters(accepted=1), 1)
    counts.update(counters(accepted=5, delivered=2), 1)
    assert sums(counts) == LaneCounts(accepted=5, delivered=2)


def test_the_counters_of_an_earlier_process_that_arrive_late_are_ignored() -> None:
    counts = WorkerCounts(0)
    counts.update(counters(accepted=5, delivered=5), 1)
    counts.update(counters(accepted=1), 2)
    counts.update(counters(accepted=4), 1)
    assert sums(counts).accepted == 6


def test_waiting_events_are_not_counted_as_recovered_when_the_successor_recovers_them() -> None:
    counts = WorkerCounts(0)
    counts.update(counters(recovered=1, accepted=9, delivered=4, dead=1), 1)
    assert sums(counts).waiting == 5, "they wait in the spool until the successor starts"
    counts.update(counters(recovered=5), 2)
    assert sums(counts) == LaneCounts(recovered=1, accepted=9, delivered=4, dead=1)
    counts.update(counters(recovered=5, delivered=5), 2)
    assert sums(counts) == LaneCounts(recovered=1, accepted=9, delivered=9, dead=1)
    assert sums(counts).waiting == 0


def test_events_that_were_accepted_but_not_counted_before_the_end_are_counted_as_recovered() -> None:
    counts = WorkerCounts(0)
    counts.update(counters(accepted=9, delivered=4), 1)
    counts.update(counters(recovered=7), 2)
    assert sums(counts) == LaneCounts(recovered=2, accepted=9, delivered=4)
    assert sums(counts).waiting == 7


def test_events_that_ended_but_were_not_counted_before_the_end_are_counted_as_delivered() -> None:
    counts = WorkerCounts(0)
    counts.update(counters(accepted=9, delivered=4), 1)
    counts.update(counters(recovered=3), 2)
    assert sums(counts) == LaneCounts(accepted=9, delivered=6)
    assert sums(counts).waiting == 3


def test_waiting_events_of_a_removed_destination_are_kept_until_it_is_back() -> None:
    counts = WorkerCounts(0)
    counts.update(counters(accepted=9, delivered=4), 1)
    counts.update(counters(orphans=5), 2)
    assert sums(counts) == LaneCounts(accepted=9, delivered=4)
    counts.update(counters(recovered=5), 2)
    assert sums(counts) == LaneCounts(accepted=9, delivered=4)
    counts.update(counters(recovered=5, delivered=5), 2)
    assert sums(counts).waiting == 0


def test_a_lane_that_the_successor_drops_when_it_is_idle_changes_no_sum() -> None:
    counts = WorkerCounts(0)
    counts.update(counters(accepted=9, delivered=4), 1)
    counts.update(counters(recovered=5), 2)
    dropped = Snapshot()
    dropped.ledger.lanes[Lane("store", "1", "")] = LaneCounts(recovered=5, delivered=5)
    counts.update(dropped, 2)
    assert sums(counts) == LaneCounts(accepted=9, delivered=9)


def test_lanes_of_ended_processes_are_merged() -> None:
    """Senders choose the upload tags, so the supervisor must not keep all that there ever were."""
    counts = WorkerCounts(0)
    for process in range(1, 50):
        snapshot = Snapshot()
        snapshot.ledger.lanes[Lane("store", "1", f"tag-{process}")] = LaneCounts(accepted=1, delivered=1)
        counts.update(snapshot, process)
    assert len(counts.total().ledger.lanes) <= 3
    assert sums(counts) == LaneCounts(accepted=49, delivered=49)


class SimulatedWorker:
    """A spool, and a process that counts what it does with it until it is killed."""

    def __init__(self) -> None:
        self.waiting = dict.fromkeys((LANE, OTHER), 0)
        self.accepted = 0
        self.number = 0
        self.restart()

    def restart(self) -> None:
        self.number += 1
        self.counters = Snapshot()
        for lane, events in self.waiting.items():
            if events:
                self.counters.ledger.lanes[lane].recovered = events

    def accept(self, lane: Lane, events: int) -> None:
        self.waiting[lane] += events
        self.accepted += events
        self.counters.ledger.lanes[lane].accepted += events

    def end(self, lane: Lane, events: int, *, as_dead: bool) -> None:
        events = min(events, self.waiting[lane])
        self.waiting[lane] -= events
        counts = self.counters.ledger.lanes[lane]
        if as_dead:
            counts.dead += events
        else:
            counts.delivered += events

    def read(self) -> Snapshot:
        copied = Snapshot()
        copied.add(self.counters)
        return copied


LANES = st.sampled_from([LANE, OTHER])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), LANES, st.integers(1, 9)),
        st.tuples(st.just("deliver"), LANES, st.integers(1, 9)),
        st.tuples(st.just("refuse"), LANES, st.integers(1, 9)),
        st.tuples(st.just("read"), LANES, st.just(0)),
        st.tuples(st.just("kill"), LANES, st.just(0)),
    ),
    max_size=40,
)


@given(STEPS)
def test_no_sum_falls_and_the_invariant_holds_at_every_reading(steps: list[tuple[str, Lane, int]]) -> None:
    worker, counts = SimulatedWorker(), WorkerCounts(0)
    before = LaneCounts()
    for action, lane, events in steps:
        match action:
            case "accept":
                worker.accept(lane, events)
            case "kill":
                worker.restart()
            case "read":
                counts.update(worker.read(), worker.number)
                now = sums(counts)
                assert all(value >= earlier for value, earlier in zip(values(now), values(before), strict=True))
                assert now.waiting == sum(worker.waiting.values())
                assert now.accepted <= worker.accepted, "nothing is invented"
                before = now
            case _:
                worker.end(lane, events, as_dead=action == "refuse")


def values(counts: LaneCounts) -> Iterator[int]:
    return iter((counts.recovered, counts.accepted, counts.delivered, counts.dead, counts.batches))
