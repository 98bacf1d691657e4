"""Disk faults and power cuts at every step of a call: only that call may fail, and no durable event is lost."""

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
from tests.spool.builders import ALL, LANE, MIB, NAME, OTHER, START, bulk, chunk, copy_files, letter, payloads
from tests.spool.faulty_disk import Disk, Fault


def new_manager(folder: Path, vfs: str = "", max_bytes: int = 64 * MIB) -> ConnectionManager:
    """Return the engine without its thread: calls return when they are done."""
    return ConnectionManager(StorageLimits(folder / NAME, max_bytes, vfs, lambda _: 2**60), lambda: 1_700_000_000.0)


def waiting(manager: ConnectionManager) -> list[bytes]:
    return payloads(manager.do(lambda store: store.read(LANE, START, ALL, ALL)))


def letters(manager: ConnectionManager) -> int:
    matching, _ = manager.do(lambda store: store.dead_letters(0, 1000, ALL_DEAD_LETTERS))
    assert manager.statistics().dead_letters == len(matching)
    return len(matching)


def append(chunks: Sequence[Chunk]) -> Callable[[Store], list[StoredChunk]]:
    return lambda store: store.append(chunks, [])


BEFORE = [b"kept-1" * 3000, b"kept-2", b"kept-3" * 20]
NEW = b"new" * 15_000
AFTER = b"after"

FAULTS = {
    "an I/O error": {},
    "half a write": {"half": True},
    "no space": {"code": apsw.SQLITE_FULL},
    "no space after half a write": {"code": apsw.SQLITE_FULL, "half": True},
}


def add(store: Store) -> None:
    store.append([chunk(NEW), chunk(b"elsewhere", lane=OTHER)], [letter(1)])


def acknowledge(store: Store) -> None:
    store.acknowledge(LANE, [ChunkId(1), ChunkId(2)], [letter(1), letter(2)], rest=chunk(b"rest" * 4000))


def replay(store: Store) -> None:
    store.replay([1], [chunk(b"again")], [])


OPERATIONS: dict[str, tuple[Callable[[Store], None], list[bytes], int]] = {
    "append": (add, [*BEFORE, NEW], 2),
    "acknowledge": (acknowledge, [b"rest" * 4000, BEFORE[2]], 3),
    "replay": (replay, [*BEFORE, b"again"], 0),
}
"""The call, and the waiting payloads and the number of dead letters after it."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_at_any_step_of_a_commit_changes_nothing_and_the_next_call_works(
    operation: str, fault: str, tmp_path: Path
) -> None:
    call, done, done_letters = OPERATIONS[operation]
    steps = 0
    while True:
        steps += 1
        folder = tmp_path / str(steps)
        with Disk() as disk:
            manager = new_manager(folder, disk.name)
            manager.open()
            manager.do(lambda store: store.append([chunk(body) for body in BEFORE], [letter(0)]))

            with disk.failing(Fault(steps, **FAULTS[fault])) as injected:  # type: ignore[arg-type]
                try:
                    manager.do(call)
                except SpoolUnavailable:
                    assert injected.fired
            if not injected.fired:
                assert (waiting(manager), letters(manager)) == (done, done_letters)
                manager.close()
                break

            assert (waiting(manager), letters(manager)) == (BEFORE, 1)
            (after,) = manager.do(append([chunk(AFTER)]))
            assert after.id > 3
            assert waiting(manager) == [*BEFORE, AFTER]

            killed = new_manager(copy_files(folder, tmp_path / f"killed-{steps}"))
            killed.open()
            assert (waiting(killed), letters(killed)) == ([*BEFORE, AFTER], 1)
            killed.close()

            manager.do(call)
            assert letters(manager) == done_letters
            manager.close()
    assert steps > 6


@pytest.mark.parametrize("calls", range(1, 2 * MAX_FAILURES + 2))
def test_calls_succeed_after_a_temporary_disk_failure_and_failed_transactions_do_not_reappear(
    calls: int, tmp_path: Path
) -> None:
    """Only the sync fails: the log then holds a complete transaction whose caller got an error."""
    with Disk() as disk:
        manager = new_manager(tmp_path, disk.name)
        manager.open()
        manager.do(append([chunk(body) for body in BEFORE]))
        with disk.failing(Fault(1, times=ALL, only="sync")) as injected:
            for _ in range(calls):
                with pytest.raises(SpoolUnavailable, match="failed"):
                    manager.do(append([chunk(NEW)]))
        assert injected.fired >= calls

        assert waiting(manager) == BEFORE
        assert manager.statistics().events == 3
        manager.do(append([chunk(AFTER)]))
        assert waiting(manager) == [*BEFORE, AFTER]
        manager.close()


def test_a_failed_checkpoint_does_not_fail_calls_and_is_retried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with Disk() as disk:
        manager = new_manager(tmp_path, disk.name, max_bytes=16 * MIB)
        manager.open()
        stored: list[StoredChunk] = []
        with disk.failing(Fault(ALL)) as injected:
            for _ in range(60):
                stored += manager.do(append([bulk(100, 600)]))
                # Fail every change of the disk during maintenance, and none during calls.
                injected.at, injected.times = disk.changes + 1, ALL
                manager.after_call()
                injected.at = ALL
        assert "failed: " in caplog.text
        manager.idle()
        manager.after_call()
        assert "succeeded again" in caplog.text
        assert (tmp_path / f"{NAME}-wal").stat().st_size < 8 * MIB
        assert len(waiting(manager)) == 60
        manager.close()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_after_a_power_cut_at_any_step_durable_chunks_exist_and_the_last_call_is_whole_or_absent(
    operation: str, tmp_path: Path
) -> None:
    call, done, done_letters = OPERATIONS[operation]
    random = Random(operation)
    seen = set()
    steps = 0
    failed = True
    while failed:
        steps += 1
        folder = tmp_path / str(steps)
        with Disk() as disk:
            manager = new_manager(folder, disk.name)
            manager.open()
            manager.do(lambda store: store.append([chunk(body) for body in BEFORE], [letter(0)]))
            with disk.failing(Fault(steps, times=ALL)) as injected:
                try:
                    manager.do(call)
                except SpoolUnavailable:
                    assert injected.fired
                failed = bool(injected.fired)
                for attempt in range(3):
                    copy = tmp_path / f"power-cut-{steps}-{attempt}"
                    disk.power_cut(copy, random)
                    later = new_manager(copy)
                    later.open()
                    contents = waiting(later), letters(later)
                    allowed = [(BEFORE, 1), (done, done_letters)] if failed else [(done, done_letters)]
                    assert contents in allowed
                    later.do(append([chunk(AFTER)]))
                    later.close()
                    seen.add(contents == (BEFORE, 1))
            manager.close()
    assert seen == {True, False}


def test_a_power_cut_during_a_checkpoint_or_vacuum_loses_nothing(tmp_path: Path) -> None:
    random = Random("maintenance")
    step, more = 1, True
    while more:
        folder = tmp_path / str(step)
        with Disk() as disk:
            manager = new_manager(folder, disk.name)
            manager.open()
            stored = manager.do(append([bulk(50, 600) for _ in range(120)]))
            ids = [item.id for item in stored[:-2]]
            manager.do(lambda store: store.acknowledge(LANE, ids, [letter(0)], None))  # noqa: B023 (done when it returns)
            with disk.failing(Fault(step, times=ALL)) as injected:
                while manager.idle():
                    pass
                more = bool(injected.fired)
            copy = tmp_path / f"power-cut-{step}"
            disk.power_cut(copy, random)
            later = new_manager(copy)
            later.open()
            assert waiting(later) == payloads(stored[-2:])
            assert letters(later) == 1
            later.close()
            manager.close()
        step += 1 + step // 8
    assert step > 100
