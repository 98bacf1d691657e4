import sqlite3
from pathlib import Path

import pytest

from gateway.model import ChunkId
from gateway.trace import Ending, TraceRecorder, TraceState
from gateway.trace.recorder import MAX_QUEUED_ENDINGS, MAX_QUEUED_EVENTS
from tests.trace.builders import NOW, body, chunk


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def recorder(path: Path | None, clock: Clock, max_bytes: int = 2**22) -> TraceRecorder:
    return TraceRecorder(path, days=7, max_bytes=max_bytes, clock=clock)


def delivered(number: int) -> Ending:
    return Ending([ChunkId(number)], NOW + 1, TraceState.DELIVERED, 1)


async def state_of(trace: TraceRecorder, identifier: str) -> list[str]:
    return [event.state.value for event in (await trace.find(identifier)).events]


async def test_an_event_is_found_at_once_and_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    trace = recorder(tmp_path / "trace.sqlite", clock)
    trace.stored([chunk(1, body("m1")), chunk(2, body("m2"))])
    assert await state_of(trace, "m1") == ["waiting"]
    trace.ended(delivered(1))
    await trace.close()
    trace = recorder(tmp_path / "trace.sqlite", clock)
    assert await state_of(trace, "m1") == ["delivered"]
    assert (await trace.find("m1")).gaps == []
    await trace.close()


async def test_under_load_events_are_left_out_and_the_gap_is_known() -> None:
    clock = Clock()
    trace = recorder(None, clock)
    many = [chunk(number, body(f"m{number}")) for number in range(MAX_QUEUED_EVENTS + 300)]
    trace.stored(many)
    clock.now += 0.125  # 250 more events are allowed, but the queue is full
    trace.stored([chunk(10**6, body("later"))])
    assert await state_of(trace, "m0") == ["waiting"]
    result = await trace.find(f"m{MAX_QUEUED_EVENTS}")
    assert result.events == []
    assert [(gap.since, gap.until, gap.events) for gap in result.gaps] == [(NOW, NOW + 0.125, 301)]
    trace.stored([chunk(10**6 + number, body(f"n{number}")) for number in range(300)])
    assert await state_of(trace, "n249") == ["waiting"]
    assert await state_of(trace, "n250") == []
    clock.now += 10
    trace.stored(many)
    assert len(await state_of(trace, "m1")) == 2
    await trace.close()


async def test_ends_that_do_not_fit_make_the_waiting_events_unknown() -> None:
    trace = recorder(None, Clock())
    trace.stored([chunk(1, body("m1"))])
    trace.ended(Ending([ChunkId(0)] * MAX_QUEUED_ENDINGS, NOW, TraceState.DELIVERED, 1))
    trace.ended(delivered(1))
    assert await state_of(trace, "m1") == ["unknown"]
    await trace.close()


async def test_a_file_that_cannot_be_written_costs_its_events_and_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "missing"
    trace = recorder(folder / "trace.sqlite", Clock())
    trace.stored([chunk(1, body("m1"))])
    result = await trace.find("m1")
    assert "No such file" in (result.failure or "")
    folder.mkdir()
    trace._file._retry_at = 0.0
    trace.stored([chunk(2, body("m2"))])
    assert await state_of(trace, "m2") == ["waiting"]
    result = await trace.find("m1")
    assert (result.events, [gap.events for gap in result.gaps], result.failure) == ([], [1], None)
    await trace.close()


async def test_a_file_that_is_damaged_meanwhile_is_replaced_and_its_time_is_not_claimed(tmp_path: Path) -> None:
    clock = Clock()
    trace = recorder(tmp_path / "trace.sqlite", clock)
    await trace.start([])
    trace._file._handle(sqlite3.DatabaseError("not a database"))  # as after a failed read: the file is opened again
    (tmp_path / "trace.sqlite").write_bytes(b"damaged" * 2000)
    trace._file._retry_at = 0.0
    clock.now += 60
    trace.stored([chunk(1, body("m1"))])
    assert (
        await trace.find("m1")
    ).failure == "The trace cannot be written: trace.sqlite was damaged, and its records are lost."
    clock.now += 60
    trace.stored([chunk(2, body("m2"))])
    result = await trace.find("m2")
    assert (len(result.events), result.recorded_since, result.failure) == (1, NOW + 120, None)
    await trace.close()


async def test_the_file_keeps_its_maximum_size(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "trace.sqlite"
    trace = recorder(path, clock, max_bytes=2**20)
    for step in range(20):
        ids = [f"m{step}-{number}" for number in range(1000)]
        trace.stored([chunk(step * 1000 + number, body(name), at=clock.now) for number, name in enumerate(ids)])
        clock.now += 10
        await trace.write()
        while trace._may_prune:
            await trace._prune()
    assert await state_of(trace, "m19-999") == ["waiting"]
    result = await trace.find("m0-0")
    assert result.events == []
    assert result.recorded_since is not None
    assert result.recorded_since > NOW
    await trace.close()
    assert path.stat().st_size <= 2**20


async def test_events_are_deleted_after_their_days() -> None:
    clock = Clock()
    trace = recorder(None, clock)
    trace.stored([chunk(1, body("m1"))])
    await trace.write()
    clock.now += 7 * 86_400 + 1
    trace.stored([chunk(2, body("m2"), at=clock.now)])
    await trace.write()
    await trace._prune()
    assert await state_of(trace, "m1") == []
    assert await state_of(trace, "m2") == ["waiting"]
    await trace.close()


@pytest.mark.parametrize("identifier", ["", "\0", "\ud800", "x" * 10_000, "%", "'; DROP TABLE event; --"])
async def test_any_text_can_be_searched(identifier: str) -> None:
    trace = recorder(None, Clock())
    trace.stored([chunk(1, body("m1"))])
    assert await state_of(trace, identifier) == []
    await trace.close()
