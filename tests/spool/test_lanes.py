"""Lanes that come and go: a sender that uses a new upload tag for each event must not fill the memory or the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.model import ChunkId, Lane
from gateway.spool import SpoolFull
from gateway.spool.memory import MemorySpool
from gateway.spool.sqlite import maintenance, transaction
from gateway.spool.sqlite.connection_manager import ConnectionManager
from gateway.spool.sqlite.maintenance import MAX_EMPTY_LANES, STEP_LANES
from gateway.spool.sqlite.schema import MAX_LANES
from gateway.spool.sqlite.storage_limits import StorageLimits
from gateway.spool.sqlite.totals import Totals, load_totals
from tests.spool.builders import ALL, LANE, MIB, NAME, START, chunk, payloads


def new_manager(folder: Path) -> ConnectionManager:
    """Return the engine without its thread: calls return when they are done."""
    return ConnectionManager(StorageLimits(folder / NAME, 64 * MIB, free_disk=lambda _: 2**60), lambda: 1_700_000_000.0)


def tagged(number: int) -> Lane:
    return LANE._replace(upload_tag=f"tag-{number}")


def append(manager: ConnectionManager, *lanes: Lane) -> list[ChunkId]:
    chunks = [chunk(b"%d" % index, lane=lane) for index, lane in enumerate(lanes)]
    ids = [stored.id for stored in manager.do(lambda store: store.append(chunks, []))]
    manager.after_call()
    return ids


def acknowledge(manager: ConnectionManager, lane: Lane, chunk_id: ChunkId) -> None:
    manager.do(lambda store: store.acknowledge(lane, [chunk_id], [], None))
    manager.after_call()


def totals(manager: ConnectionManager) -> Totals:
    assert manager._store is not None
    return manager._store.database.totals


def rows(manager: ConnectionManager) -> int:
    assert manager._store is not None
    count: int = manager._store.database.connection.execute("SELECT count(*) FROM lane").get
    return count


def test_ten_thousand_lanes_come_and_go_in_bounded_memory_and_ids_grow(tmp_path: Path) -> None:
    manager = new_manager(tmp_path)
    manager.open()
    (kept,) = append(manager, LANE)
    last = kept
    for start in range(0, 10_000, 50):
        lanes = [tagged(number) for number in range(start, start + 50)]
        for lane, chunk_id in zip(lanes, append(manager, *lanes), strict=True):
            assert chunk_id > last
            last = chunk_id
            acknowledge(manager, lane, chunk_id)
        assert len(totals(manager).lanes) <= MAX_EMPTY_LANES + 200
        assert rows(manager) == len(totals(manager).lanes)
    assert totals(manager).last_lane <= MAX_EMPTY_LANES + 200, "numbers are used again"
    assert manager.statistics().events == 1
    assert payloads(manager.do(lambda store: store.read(LANE, START, ALL, ALL))) == [b"0"]
    with pytest.raises(KeyError):
        acknowledge(manager, tagged(0), ChunkId(2))
    manager.close()

    manager.open()
    (after,) = append(manager, tagged(1))
    assert after > last
    assert load_totals(manager._store.database.connection) == totals(manager)  # type: ignore[union-attr]
    manager.close()


def test_the_lane_with_the_highest_id_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "MAX_EMPTY_LANES", 0)
    manager = new_manager(tmp_path)
    manager.open()
    for number in range(20):
        (chunk_id,) = append(manager, tagged(number))
        acknowledge(manager, tagged(number), chunk_id)
    assert list(totals(manager).lanes) == [tagged(19)]
    manager.close()
    manager.open()
    assert append(manager, LANE) == [21]
    manager.close()


def test_one_step_deletes_a_bounded_number_of_lanes_and_none_with_events(tmp_path: Path) -> None:
    manager = new_manager(tmp_path)
    manager.open()
    count = MAX_EMPTY_LANES + 500
    lanes = [tagged(number) for number in range(count)]
    ids = append(manager, *lanes, *lanes[:10])
    for lane, chunk_id in zip(lanes, ids, strict=False):
        manager.do(lambda store: store.acknowledge(lane, [chunk_id], [], None))  # noqa: B023 (done when it returns)
    assert len(totals(manager).lanes) == count
    manager.after_call()
    assert count - STEP_LANES <= len(totals(manager).lanes) < count
    for _ in range(20):
        manager.after_call()
    assert MAX_EMPTY_LANES - STEP_LANES <= len(totals(manager).lanes) <= MAX_EMPTY_LANES + 10
    assert all(lane in totals(manager).lanes for lane in lanes[:10])
    manager.close()


def test_a_lane_number_is_not_used_twice_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "MAX_EMPTY_LANES", 3)
    manager = new_manager(tmp_path)
    manager.open()
    waiting: dict[Lane, ChunkId] = {}
    for number in range(200):
        for lane, chunk_id in zip(
            lanes := [tagged(number), tagged(1000 + number)], append(manager, *lanes), strict=True
        ):
            waiting[lane] = chunk_id
        if number % 3:
            oldest = next(iter(waiting))
            acknowledge(manager, oldest, waiting.pop(oldest))
        numbers = [lane_totals.number for lane_totals in totals(manager).lanes.values()]
        assert len(numbers) == len(set(numbers))
        if number % 50 == 0:
            manager.close()
            manager.open()
    for lane, chunk_id in waiting.items():
        (stored,) = manager.do(lambda store: store.read(lane, START, ALL, ALL))  # noqa: B023 (done when it returns)
        assert (stored.id, stored.chunk.lane) == (chunk_id, lane)
    manager.close()


def test_a_failed_transaction_gives_its_lane_numbers_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "MAX_LANES", 3)
    manager = new_manager(tmp_path)
    manager.open()
    append(manager, tagged(0))
    for _ in range(3):
        with pytest.raises(SpoolFull, match="upload tags"):
            append(manager, tagged(1), tagged(2), tagged(3))
    append(manager, tagged(1), tagged(2))
    assert sorted(each.number for each in totals(manager).lanes.values()) == [1, 2, 3]
    manager.close()


def test_the_highest_lane_number_can_be_used(tmp_path: Path) -> None:
    manager = new_manager(tmp_path)
    manager.open()
    totals(manager).last_lane = MAX_LANES - 1
    (chunk_id,) = append(manager, tagged(0))
    assert totals(manager).lanes[tagged(0)].number == MAX_LANES
    assert len(manager.do(lambda store: store.read(tagged(0), START, ALL, ALL))) == 1
    manager.close()
    (backlog,) = manager.open()
    assert backlog.events == 1
    acknowledge(manager, tagged(0), chunk_id)
    manager.close()


async def test_the_memory_engine_keeps_no_empty_lane() -> None:
    spool = MemorySpool(max_bytes=MIB, clock=lambda: 0.0)
    await spool.open()
    for number in range(1000):
        (stored,) = await spool.append([chunk(b"1", lane=tagged(number))], [])
        await spool.acknowledge(tagged(number), [stored.id])
    assert len(spool._lanes) == 0
    await spool.close()
