"""Files that another program shortens, removes or replaces in use: found before the next commit, and written anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.model import ChunkId
from gateway.spool import SpoolUnavailable
from gateway.spool.sqlite import connection_manager, store, verify
from gateway.spool.sqlite.connection_manager import ConnectionManager
from gateway.spool.sqlite.storage_limits import StorageLimits
from tests.spool.builders import ALL, LANE, MIB, NAME, START, bulk, chunk, copy_files, letter, payloads

LOG = f"{NAME}-wal"


@pytest.fixture(autouse=True)
def _check_places_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHECK_INTERVAL", 0.0)


def new_manager(folder: Path) -> ConnectionManager:
    """Return the engine without its thread: calls return when they are done, and no maintenance runs by itself."""
    return ConnectionManager(StorageLimits(folder / NAME, 64 * MIB, free_disk=lambda _: 2**60), lambda: 1_700_000_000.0)


def append(manager: ConnectionManager, *bodies: bytes) -> list[ChunkId]:
    return [stored.id for stored in manager.do(lambda store: store.append([chunk(body) for body in bodies], []))]


def waiting(manager: ConnectionManager) -> list[bytes]:
    return payloads(manager.do(lambda store: store.read(LANE, START, ALL, ALL)))


def filled(folder: Path) -> tuple[ConnectionManager, list[bytes], list[ChunkId]]:
    """An open spool of 200 chunks: half of them only in the database, half only in the log."""
    manager = new_manager(folder)
    manager.open()
    bodies = [b"%d" % number + b"x" * 3000 for number in range(200)]
    ids = append(manager, *bodies[:100])
    manager.do(lambda store: store.append([], [letter(number) for number in range(20)]))
    manager.do(lambda store: store.database.checkpoint("TRUNCATE"))
    ids += append(manager, *bodies[100:])
    return manager, bodies, ids


def killed(folder: Path, into: Path) -> list[bytes]:
    """The events that a start after a kill finds."""
    later = new_manager(copy_files(folder, into))
    later.open()
    found = waiting(later)
    later.close()
    assert verify(into / NAME).faults == ()
    return found


def move(path: Path, to: Path) -> None:
    path.rename(to)


def remove(path: Path) -> None:
    path.unlink()


def remove_all(folder: Path, *names: str) -> None:
    for name in names:
        remove(folder / name)


def replace(path: Path, other: Path) -> None:
    other.write_bytes(b"another file")
    other.rename(path)


CHANGES: dict[str, Callable[[Path], None]] = {
    "removed": lambda folder: remove(folder / NAME),
    "moved": lambda folder: move(folder / NAME, folder / "elsewhere"),
    "replaced": lambda folder: replace(folder / NAME, folder / "other"),
    "log removed": lambda folder: remove(folder / LOG),
    "log moved": lambda folder: move(folder / LOG, folder / "elsewhere"),
    "log replaced": lambda folder: replace(folder / LOG, folder / "other"),
    "both removed": lambda folder: remove_all(folder, NAME, LOG),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_removed_file_is_written_anew_with_all_events_at_the_next_commit(
    change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    manager, bodies, ids = filled(folder)
    CHANGES[change](folder)

    with pytest.raises(SpoolUnavailable, match="another program"):
        append(manager, b"refused")

    assert killed(folder, tmp_path / "at once") == bodies
    (after,) = append(manager, b"after")
    assert after == ids[-1] + 1
    assert manager.statistics().dead_letters == 20
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600
    assert killed(folder, tmp_path / "later") == [*bodies, b"after"]
    manager.do(lambda store: store.acknowledge(LANE, ids, [], None))
    assert waiting(manager) == [b"after"]
    manager.close()
    assert "was changed while in use" in caplog.text
    assert str(folder / NAME) in caplog.text


def test_a_file_that_replaced_the_open_one_is_kept(tmp_path: Path) -> None:
    manager, _, _ = filled(tmp_path)
    CHANGES["replaced"](tmp_path)
    with pytest.raises(SpoolUnavailable):
        append(manager, b"refused")
    (aside,) = tmp_path.glob("*.damaged-*Z")
    assert aside.read_bytes() == b"another file"
    manager.close()


@pytest.mark.parametrize("size", [0, 4096, 8192])
def test_a_shortened_file_is_recovered_at_the_next_commit_and_lost_chunks_can_be_acknowledged(
    size: int, tmp_path: Path
) -> None:
    folder = tmp_path / "spool"
    manager, bodies, ids = filled(folder)
    os.truncate(folder / NAME, size)

    with pytest.raises(SpoolUnavailable, match=f"has {size} bytes"):
        append(manager, b"refused")

    recovered = waiting(manager)
    assert recovered[-100:] == bodies[100:]
    (after,) = append(manager, b"after")
    assert after == ids[-1] + 1
    # Delivery may still have the lost events in memory.
    manager.do(lambda store: store.acknowledge(LANE, ids, [letter()], None))
    assert waiting(manager) == [b"after"]
    assert killed(folder, tmp_path / "killed") == [b"after"]
    manager.close()


def test_a_shortened_log_is_found_before_the_next_commit(tmp_path: Path) -> None:
    manager, bodies, _ = filled(tmp_path)
    os.truncate(tmp_path / LOG, 32)
    with pytest.raises(SpoolUnavailable, match="its write-ahead log has 32"):
        append(manager, b"refused")
    append(manager, b"after")
    assert waiting(manager) == [*bodies[:100], b"after"]
    manager.close()


def test_no_checkpoint_runs_on_a_shortened_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It would fill the file with zeros: its size would be right again, and the loss would be found only when read."""
    manager, bodies, _ = filled(tmp_path)
    os.truncate(tmp_path / NAME, 8192)
    manager.idle()
    assert "was changed while in use" in caplog.text
    assert waiting(manager)[-100:] == bodies[100:]
    append(manager, b"after")
    assert waiting(manager)[-101:] == [*bodies[100:], b"after"]
    manager.close()
    assert verify(tmp_path / NAME).faults == ()


@pytest.mark.parametrize("change", [*CHANGES, "shortened"])
def test_a_change_that_no_commit_has_found_is_repaired_when_the_spool_is_closed(change: str, tmp_path: Path) -> None:
    manager, bodies, _ = filled(tmp_path)
    if change == "shortened":
        manager.do(lambda store: store.database.checkpoint())
        os.truncate(tmp_path / NAME, 8192)
        bodies = bodies[100:]
    else:
        CHANGES[change](tmp_path)
    manager.close()

    later = new_manager(tmp_path)
    later.open()
    assert waiting(later)[-len(bodies) :] == bodies
    later.close()


def test_a_second_change_within_a_minute_is_not_repaired_at_once_and_is_logged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    manager, _, _ = filled(tmp_path)
    os.truncate(tmp_path / NAME, 8192)
    with pytest.raises(SpoolUnavailable):
        append(manager, b"refused")
    manager.do(lambda store: store.database.checkpoint())
    os.truncate(tmp_path / NAME, 8192)
    for _ in range(20):
        with pytest.raises(SpoolUnavailable, match=r"cannot be used for \d+ s"):
            append(manager, b"refused")
        manager.after_call()
        manager.idle()
    assert len(list(tmp_path.glob("*.damaged-*Z"))) == 1
    assert caplog.text.count("was changed while in use") == 1

    monkeypatch.setattr(connection_manager, "REPAIR_INTERVAL", 0.0)
    with pytest.raises(SpoolUnavailable, match="was written anew"):
        append(manager, b"refused")
    append(manager, b"after")
    assert waiting(manager)[-1] == b"after"
    manager.close()


def test_a_disk_that_damages_every_file_is_not_filled_with_recoveries(tmp_path: Path) -> None:
    manager, _, _ = filled(tmp_path)

    def damage() -> None:
        manager.do(lambda store: store.database.checkpoint("TRUNCATE"))
        manager._store.database.connection.release_memory()  # type: ignore[union-attr] # empties the page cache
        (tmp_path / NAME).write_bytes(b"\xa5" * (tmp_path / NAME).stat().st_size)

    damage()
    assert waiting(manager) == []
    append(manager, b"after")
    damage()
    for _ in range(10):
        with pytest.raises(SpoolUnavailable, match="damaged again"):
            waiting(manager)
    assert len(list(tmp_path.glob("*.damaged-*Z"))) == 1
    manager.close()


def test_nothing_is_stored_while_the_directory_is_another_one_and_waiting_events_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    manager, bodies, ids = filled(folder)
    move(folder, tmp_path / "elsewhere")
    for is_replaced in (False, True):
        if is_replaced:
            folder.mkdir()
        with pytest.raises(SpoolUnavailable, match="directory"):
            append(manager, b"refused")
        assert waiting(manager) == bodies
    manager.do(lambda store: store.acknowledge(LANE, ids[:10], [], None))
    assert list(folder.iterdir()) == []
    folder.rmdir()
    move(tmp_path / "elsewhere", folder)
    append(manager, b"after")
    assert waiting(manager) == [*bodies[10:], b"after"]
    manager.close()


def test_a_full_disk_during_the_rewrite_keeps_the_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.spool.sqlite.database import Database

    manager, bodies, _ = filled(tmp_path)
    CHANGES["removed"](tmp_path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "copy_to", fail)
        with pytest.raises(SpoolUnavailable, match="No space left"):
            append(manager, b"refused")
        assert waiting(manager) == bodies
    monkeypatch.setattr(connection_manager, "REPAIR_INTERVAL", 0.0)
    with pytest.raises(SpoolUnavailable, match="was written anew"):
        append(manager, b"refused")
    append(manager, b"after")
    assert waiting(manager) == [*bodies, b"after"]
    manager.close()


def test_counters_do_not_fall_when_the_file_is_written_anew(tmp_path: Path) -> None:
    manager, _, _ = filled(tmp_path)
    commits = manager.statistics().commits
    CHANGES["removed"](tmp_path)
    with pytest.raises(SpoolUnavailable):
        append(manager, b"refused")
    assert manager.statistics().commits >= commits
    manager.close()


def test_events_are_refused_while_the_log_cannot_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = ConnectionManager(StorageLimits(tmp_path / NAME, MIB * 8, free_disk=lambda _: 2**60), lambda: 0.0)
    manager.open()
    monkeypatch.setattr(store, "MAX_LOG", 1)
    ids = [stored.id for stored in manager.do(lambda store: store.append([bulk(100, 600) for _ in range(40)], []))]
    with pytest.raises(SpoolUnavailable, match="cannot be copied"):
        append(manager, b"refused")
    manager.do(lambda store: store.acknowledge(LANE, ids[:1], [], None))
    manager.after_call()
    append(manager, b"after")
    manager.close()
