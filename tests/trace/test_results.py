from pathlib import Path

import pytest

from gateway.telemetry import LaneStatistics
from gateway.trace import (
    TracedEvent,
    TraceGap,
    TraceRecorder,
    TraceResult,
    TraceState,
    WaitingReason,
    find_in_ended,
    merge,
    with_waiting_reasons,
    without_ids,
)
from tests.trace.builders import LANE, NOW, body, chunk


def event(state: TraceState = TraceState.WAITING, stored_at: float = NOW) -> TracedEvent:
    return TracedEvent("m1", "1001", LANE.destination, LANE.event_set, LANE.tag_hash, stored_at, state)


def lane(waiting: int = 1, **changes: object) -> LaneStatistics:
    values = {
        "lane": LANE,
        "waiting_events": waiting,
        "waiting_bytes": 0,
        "oldest_at": NOW,
        "in_flight": 0,
        "last_outcome": None,
        "calls_per_second": 1.0,
        "concurrency": 1,
        "blocked": None,
        **changes,
    }
    return LaneStatistics(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("statistics", "reason"),
    [
        (lane(), WaitingReason("batch")),
        (lane(in_flight=1), WaitingReason("batch")),
        (lane(in_flight=1, oldest_at=None), WaitingReason("in_flight")),
        (lane(in_flight=1, oldest_at=NOW + 1), WaitingReason("in_flight")),
        (lane(in_flight=1, throttled_until=NOW + 60), WaitingReason("throttled", NOW + 60)),
        (lane(blocked="token", throttled_until=NOW + 60), WaitingReason("token")),
    ],
)
def test_the_state_of_the_lane_says_why_an_event_waits(statistics: LaneStatistics, reason: WaitingReason) -> None:
    (traced,) = with_waiting_reasons(TraceResult([event()]), [statistics]).events
    assert (traced.state, traced.waiting) == (TraceState.WAITING, reason)


@pytest.mark.parametrize("lanes", [[], [lane(0)]])
def test_an_event_of_an_empty_lane_does_not_wait(lanes: list[LaneStatistics]) -> None:
    (traced,) = with_waiting_reasons(TraceResult([event()]), lanes).events
    assert (traced.state, traced.waiting) == (TraceState.UNKNOWN, None)


def test_an_event_that_ended_has_no_reason() -> None:
    result = TraceResult([event(TraceState.DELIVERED)])
    assert with_waiting_reasons(result, [lane()]) == result


def test_the_results_of_several_processes_are_one() -> None:
    gap = TraceGap(NOW, NOW + 1, 5)
    one = TraceResult([event(stored_at=NOW + 5)], recorded_since=NOW, gaps=[gap])
    other = TraceResult([event(stored_at=NOW + 2)], recorded_since=NOW + 1, failure="unreadable")
    merged = merge([one, other, TraceResult(is_cut=True)])
    assert [traced.stored_at for traced in merged.events] == [NOW + 2, NOW + 5]
    assert (merged.recorded_since, merged.gaps, merged.failure) == (NOW + 1, [gap], "unreadable")
    assert merged.is_cut
    assert merged.is_enabled


def test_ids_can_be_hidden() -> None:
    (traced,) = without_ids(TraceResult([event()])).events
    assert (traced.message_id, traced.order_id, traced.destination) == (None, None, "store")


async def test_the_files_of_ended_processes_are_searched_and_deleted_when_they_are_old(tmp_path: Path) -> None:
    for number in (0, 1, 2):
        trace = TraceRecorder(tmp_path / f"trace-{number}.sqlite", days=7, max_bytes=2**22)
        trace.stored([chunk(number, body(f"m{number}", "1001"))])
        await trace.close()
    (tmp_path / "trace-3.sqlite").write_bytes(b"damaged" * 1000)
    (tmp_path / "trace-0.sqlite").rename(tmp_path / "trace.sqlite")
    found = list(find_in_ended(tmp_path, {0, 1}, 0.0, "1001"))
    assert [traced.message_id for result in found for traced in result.events] == ["m2"]
    assert list(find_in_ended(tmp_path, {0, 1}, 2.0**40, "1001")) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trace-1.sqlite", "trace.sqlite"]
