"""A disk that fails at any step costs the call that met it, and nothing that was acknowledged before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import apsw
import pytest

from gateway.model import Chunk, ChunkId, StoredChunk
from gateway.spool import ALL_DEAD_LETTERS, SpoolUnavailable
from gateway.spool.sqlite.connection_manager import MAX_FAILURES, ConnectionManager
from gateway.spool.sqlite.storage_limits import StorageLimits
from gateway.spool.sqlite.store import Store
from tests.spool.builders import ALL, LANE, MIB, NAME, OTHER, START, bulk, chunk, crash, letter, payloads
from tests.spool.faulty_disk import Disk, Fault


def connection_manager(folder: Path, vfs: str = "", max_bytes: int = 64 * MIB) -> ConnectionManager:
    """The engine without its thread: a call is done when it returns."""
    return ConnectionManager(StorageLimits(folder / NAME, max_bytes, vfs, lambda _: 2**60), lambda: 1_700_000_000.0)


def waiting(connection_manager: ConnectionManager) -> list[bytes]:
    return payloads(connection_manager.do(lambda store: store.read(LANE, START, ALL, ALL)))


def letters(connection_manager: ConnectionManager) -> int:
    found, _ = connection_manager.do(lambda store: store.dead_letters(0, 1000, ALL_DEAD_LETTERS))
    assert connection_manager.statistics().dead_letters == len(found)
    return len(found)


def append(chunks: Sequence[Chunk]) -> Callable[[Store], list[StoredChunk]]:
    return lambda store: store.append(chunks, [])


BEFORE = [b"kept-1" * 3000, b"kept-2", b"kept-3" * 20]
FRESH = b"fresh" * 9000
AFTER = b"after"

FAULTS = {
    "an I/O error": {},
    "half a write": {"half": True},
    "no space": {"code": apsw.SQLITE_FULL},
    "no space after half a write": {"code": apsw.SQLITE_FULL, "half": True},
}


def add(store: Store) -> None:
    store.append([chunk(FRESH), chunk(b"elsewhere", lane=OTHER)], [letter(1)])


def acknowledge(store: Store) -> None:
    store.acknowledge(LANE, [ChunkId(1), ChunkId(2)], [letter(1), letter(2)], rest=chunk(b"rest" * 4000))


def replay(store: Store) -> None:
    store.replay([1], [chunk(b"again")], [])


OUTCOMES: dict[str, tuple[Callable[[Store], None], list[bytes], int]] = {
    "append": (add, [*BEFORE, FRESH], 2),
    "settle": (acknowledge, [b"rest" * 4000, BEFORE[2]], 3),
    "replay": (replay, [*BEFORE, b"again"], 0),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", OUTCOMES)
def test_a_fault_at_any_step_of_a_commit_leaves_all_as_it_was_and_the_next_call_works(
    verb: str, fault: str, tmp_path: Path
) -> None:
    call, done, done_letters = OUTCOMES[verb]
    steps = 0
    while True:
        steps += 1
        folder = tmp_path / str(steps)
        with Disk() as disk:
            fixture = connection_manager(folder, disk.name)
            fixture.open()
            fixture.do(lambda store: store.append([chunk(body) for body in BEFORE], [letter(0)]))

            with disk.broken(Fault(steps, **FAULTS[fault])) as broken:  # type: ignore[arg-type]
                try:
                    fixture.do(call)
                except SpoolUnavailable:
                    assert broken.fired
            if not broken.fired:
                assert (waiting(fixture), letters(fixture)) == (done, done_letters)
                fixture.close()
                break

            assert (waiting(fixture), letters(fixture)) == (BEFORE, 1)
            (after,) = fixture.do(append([chunk(AFTER)]))
            assert after.id > 3
            assert waiting(fixture) == [*BEFORE, AFTER]

            killed = connection_manager(crash(folder, tmp_path / f"killed-{steps}"))
            killed.open()
            assert (waiting(killed), letters(killed)) == ([*BEFORE, AFTER], 1)
            killed.close()

            fixture.do(call)
            assert letters(fixture) == done_letters
            fixture.close()
    assert steps > 6


@pytest.mark.parametrize("calls", range(1, 2 * MAX_FAILURES + 2))
def test_a_disk_that_is_away_for_a_while_is_taken_up_again_and_what_was_refused_does_not_come_back(
    calls: int, tmp_path: Path
) -> None:
    """Only the sync fails: a whole transaction stands in the log behind what was acknowledged, and was refused."""
    with Disk() as disk:
        fixture = connection_manager(tmp_path, disk.name)
        fixture.open()
        fixture.do(append([chunk(body) for body in BEFORE]))
        with disk.broken(Fault(1, times=ALL, only="sync")) as broken:
            for _ in range(calls):
                with pytest.raises(SpoolUnavailable, match="failed"):
                    fixture.do(append([chunk(FRESH)]))
        assert broken.fired >= calls

        assert waiting(fixture) == BEFORE
        assert fixture.statistics().events == 3
        fixture.do(append([chunk(AFTER)]))
        assert waiting(fixture) == [*BEFORE, AFTER]
        fixture.close()


def test_a_log_that_cannot_be_written_back_stops_nothing_and_is_written_back_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with Disk() as disk:
        fixture = connection_manager(tmp_path, disk.name, max_bytes=16 * MIB)
        fixture.open()
        stored: list[StoredChunk] = []
        with disk.broken(Fault(ALL)) as broken:
            for _ in range(60):
                stored += fixture.do(append([bulk(100, 600)]))
                # From here on what is beside the log fails, until the call after.
                broken.at, broken.times = disk.changes + 1, ALL
                fixture.after_call()
                broken.at = ALL
        assert "could not be written back" in caplog.text
        fixture.idle()
        fixture.after_call()
        assert "could be written back again" in caplog.text
        assert (tmp_path / f"{NAME}-wal").stat().st_size < 8 * MIB
        assert len(waiting(fixture)) == 60
        fixture.close()


@pytest.mark.parametrize("verb", OUTCOMES)
def test_a_power_cut_at_any_step_keeps_what_was_acknowledged_and_takes_the_rest_whole_or_not_at_all(
    verb: str, tmp_path: Path
) -> None:
    call, done, done_letters = OUTCOMES[verb]
    random = Random(verb)
    seen = set()
    steps = 0
    cut = True
    while cut:
        steps += 1
        folder = tmp_path / str(steps)
        with Disk() as disk:
            fixture = connection_manager(folder, disk.name)
            fixture.open()
            fixture.do(lambda store: store.append([chunk(body) for body in BEFORE], [letter(0)]))
            with disk.broken(Fault(steps, times=ALL)) as broken:
                try:
                    fixture.do(call)
                except SpoolUnavailable:
                    assert broken.fired
                cut = bool(broken.fired)
                for attempt in range(3):
                    left = tmp_path / f"left-{steps}-{attempt}"
                    disk.power_cut(left, random)
                    later = connection_manager(left)
                    later.open()
                    found = waiting(later), letters(later)
                    assert found == (done, done_letters) if not cut else found in [(BEFORE, 1), (done, done_letters)]
                    later.do(append([chunk(AFTER)]))
                    later.close()
                    seen.add(found == (BEFORE, 1))
            fixture.close()
    assert seen == {True, False}


def test_a_power_cut_while_the_log_is_written_back_or_the_file_shrinks_loses_nothing(tmp_path: Path) -> None:
    random = Random("upkeep")
    step, more = 1, True
    while more:
        folder = tmp_path / str(step)
        with Disk() as disk:
            fixture = connection_manager(folder, disk.name)
            fixture.open()
            stored = fixture.do(append([bulk(50, 600) for _ in range(120)]))
            ids = [one.id for one in stored[:-2]]
            fixture.do(lambda store: store.acknowledge(LANE, ids, [letter(0)], None))  # noqa: B023 (done when it returns)
            with disk.broken(Fault(step, times=ALL)) as broken:
                while fixture.idle():
                    pass
                more = bool(broken.fired)
            left = tmp_path / f"left-{step}"
            disk.power_cut(left, random)
            later = connection_manager(left)
            later.open()
            assert waiting(later) == payloads(stored[-2:])
            assert letters(later) == 1
            later.close()
            fixture.close()
        step += 1 + step // 8
    assert step > 100
