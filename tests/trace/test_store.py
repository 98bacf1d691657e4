import sqlite3
from collections.abc import Iterator

import pytest

from gateway.model import Backlog, ChunkId
from gateway.trace import Ending, TraceGap, TraceState
from gateway.trace.model import MAX_TRACED
from gateway.trace.store import (
    MAX_GAPS,
    add_chunks,
    add_ending,
    add_gap,
    begin,
    end,
    find,
    lose_endings,
    prune,
    touch,
)
from tests.trace.builders import LANE, NOW, body, chunk, trace


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = trace()
    yield connection
    connection.close()


def delivered(*ids: int, events: list[bytes] | None = None, at: float = NOW + 5) -> Ending:
    return Ending([ChunkId(number) for number in ids], at, TraceState.DELIVERED, 1, None, "A1", events)


def dead(*ids: int, events: list[bytes] | None = None) -> Ending:
    return Ending([ChunkId(number) for number in ids], NOW + 7, TraceState.DEAD_LETTERED, 3, "meta_100", "A2", events)


def states(connection: sqlite3.Connection, *identifiers: str) -> list[list[str]]:
    return [[event.state.value for event in find(connection, identifier).events] for identifier in identifiers]


def test_an_event_is_found_by_its_message_id_and_by_its_order_id(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body("m1", "1001"), body("m2", "1002"))])
    for identifier in ("m2", "1002"):
        (event,) = find(connection, identifier).events
        assert (event.message_id, event.order_id) == ("m2", "1002")
        assert (event.destination, event.event_set, event.tag_hash) == ("store", LANE.event_set, LANE.tag_hash)
        assert (event.state, event.stored_at, event.ended_at) == (TraceState.WAITING, NOW, None)


def test_an_unknown_id_finds_nothing_and_says_since_when_events_are_known(connection: sqlite3.Connection) -> None:
    result = find(connection, "1001")
    assert (result.events, result.recorded_since, result.gaps) == ([], NOW, [])


def test_an_id_that_is_both_a_message_id_and_an_order_id_is_one_event(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body("1001", "1001"))])
    assert len(find(connection, "1001").events) == 1


def test_a_chunk_that_was_delivered_is_so_for_all_of_its_events(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body("m1"), body("m2")), chunk(8, body("m3")), chunk(9, body("m4"))])
    add_ending(connection, delivered(7, 8))
    assert states(connection, "m1", "m2", "m3", "m4") == [["delivered"], ["delivered"], ["delivered"], ["waiting"]]
    (event,) = find(connection, "m2").events
    assert (event.ended_at, event.attempts, event.meta_trace_id, event.code) == (NOW + 5, 1, "A1", None)


def test_a_refused_event_is_told_apart_from_the_rest_of_its_chunk(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body("m1"), body("m2")), chunk(8, body("m3"), body("m4"))])
    add_ending(connection, dead(7, 8, events=[body("m3")]))
    assert states(connection, "m1", "m3", "m4") == [["waiting"], ["dead_lettered"], ["waiting"]]
    add_ending(connection, delivered(7))  # the spool keeps the rest under the first ID
    assert states(connection, "m1", "m2", "m3", "m4") == [
        ["delivered"],
        ["delivered"],
        ["dead_lettered"],
        ["delivered"],
    ]
    (event,) = find(connection, "m3").events
    assert (event.code, event.attempts, event.meta_trace_id, event.ended_at) == ("meta_100", 3, "A2", NOW + 7)


def test_of_equal_events_as_many_end_as_were_acknowledged(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body("m1"), body("m1"), body("m1"))])
    add_ending(connection, dead(7, events=[body("m1"), body("m1")]))
    assert sorted(states(connection, "m1")[0]) == ["dead_lettered", "dead_lettered", "waiting"]
    add_ending(connection, dead(7, events=[body("m1")]))
    assert states(connection, "m1") == [["dead_lettered"] * 3]


def test_events_without_an_id_are_left_out(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body(None), body("m1"), body(None)), chunk(8, body(None))])
    assert connection.execute("SELECT count(*) FROM event").fetchone() == (1,)
    add_ending(connection, delivered(7, 8))
    assert states(connection, "m1") == [["delivered"]]


def test_a_replayed_event_has_two_entries_the_older_first(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body("m1"))])
    add_ending(connection, dead(7))
    add_chunks(connection, [chunk(8, body("m1"), at=NOW + 60)])
    assert states(connection, "m1") == [["dead_lettered", "waiting"]]


def test_an_answer_has_a_limited_number_of_events(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, *[body(f"m{number}", "same") for number in range(MAX_TRACED + 1)])])
    result = find(connection, "same")
    assert (len(result.events), result.is_cut) == (MAX_TRACED, True)


def test_after_a_kill_events_that_left_the_spool_are_unknown_and_there_is_a_gap(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body("m1")), chunk(8, body("m2"), at=NOW + 10)])
    other = LANE._replace(event_set="1024")
    add_chunks(connection, [chunk(9, body("m3"), lane=other)])
    touch(connection, NOW + 20)
    begin(connection, NOW + 50, [Backlog(LANE, 1, 100, NOW + 10)])
    assert states(connection, "m1", "m2", "m3") == [["unknown"], ["waiting"], ["unknown"]]
    assert find(connection, "m1").gaps == [TraceGap(NOW + 20, NOW + 50, 0)]


def test_after_an_orderly_end_there_is_no_gap(connection: sqlite3.Connection) -> None:
    touch(connection, NOW + 20)
    end(connection)
    begin(connection, NOW + 50, [])
    assert find(connection, "m1").gaps == []


def test_where_ends_were_lost_an_event_is_unknown_until_its_own_end_is_recorded(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(7, body("m1")), chunk(8, body("m2")), chunk(9, body("m3"), at=NOW + 60)])
    lose_endings(connection, NOW + 30)
    add_ending(connection, delivered(8))
    assert states(connection, "m1", "m2", "m3") == [["unknown"], ["delivered"], ["waiting"]]


def test_old_events_are_deleted_and_the_answer_says_since_when_events_are_known(connection: sqlite3.Connection) -> None:
    add_chunks(connection, [chunk(number, body(f"m{number}"), at=NOW + number) for number in range(10)])
    add_ending(connection, dead(2, events=[body("m2")]))
    add_gap(connection, TraceGap(NOW + 1, NOW + 2, 5))
    assert prune(connection, NOW + 4, is_large=False)
    assert not prune(connection, NOW + 4, is_large=False)
    assert states(connection, "m3", "m4") == [[], ["waiting"]]
    result = find(connection, "m3")
    assert (result.recorded_since, result.gaps) == (NOW + 4, [])
    assert connection.execute("SELECT count(*) FROM ending").fetchone() == (0,)


def test_a_large_file_loses_its_oldest_events_step_by_step(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.trace.store.PRUNED_EVENTS", 4)
    add_chunks(connection, [chunk(number, body(f"m{number}"), body("x"), at=NOW + number) for number in range(5)])
    assert prune(connection, NOW - 100, is_large=True)
    assert states(connection, "m1", "m2") == [[], ["waiting"]]
    assert find(connection, "m1").recorded_since == NOW + 2
    while prune(connection, NOW - 100, is_large=True):
        pass
    assert find(connection, "x").events == []


def test_a_chunk_larger_than_a_step_is_deleted_as_a_whole(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.trace.store.PRUNED_EVENTS", 4)
    add_chunks(connection, [chunk(1, *[body("a")] * 9), chunk(2, body("b"))])
    assert prune(connection, NOW - 100, is_large=True)
    assert states(connection, "a", "b") == [[], ["waiting"]]


def test_the_number_of_gaps_is_limited_and_no_event_of_them_is_forgotten(connection: sqlite3.Connection) -> None:
    for number in range(MAX_GAPS + 20):
        add_gap(connection, TraceGap(NOW + 10 * number, NOW + 10 * number + 1, 3))
    gaps = find(connection, "m1").gaps
    assert len(gaps) == MAX_GAPS
    assert sum(gap.events for gap in gaps) == 3 * (MAX_GAPS + 20)
    assert gaps[0] == TraceGap(NOW, NOW + 201, 63)
