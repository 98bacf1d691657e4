"""Recovery of a database that was truncated or deleted beside its write-ahead log: the log is read without SQLite."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from struct import pack, unpack_from

import pytest

from gateway.model import ChunkId, Lane
from gateway.spool import ALL_DEAD_LETTERS, SpoolUnavailable, StorageEngine, spool_file_numbers
from gateway.spool.sqlite import backlogs, recover_file, verify
from gateway.spool.sqlite.connection_manager import ConnectionManager
from gateway.spool.sqlite.recovery import recover as recover_module_function
from gateway.spool.sqlite.recovery import wal
from gateway.spool.sqlite.recovery.wal import FRAME_HEADER_SIZE, FRAME_SIZE, HEADER_SIZE, read_log
from gateway.spool.sqlite.schema import PAGE_SIZE
from gateway.spool.sqlite.storage_limits import StorageLimits
from tests.spool.builders import ALL, LANE, MIB, NAME, OTHER, START, bulk, chunk, copy_files, letter, payloads, sqlite

LOG = f"{NAME}-wal"


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)


def delete(path: Path) -> None:
    path.unlink()


CUTS: dict[str, Callable[[Path], None]] = {
    "to 0 bytes": lambda path: truncate(path, 0),
    "to 100 bytes": lambda path: truncate(path, 100),
    "to 4 KiB": lambda path: truncate(path, 4096),
    "to 8 KiB": lambda path: truncate(path, 8192),
    "to half": lambda path: truncate(path, path.stat().st_size // 2),
    "deleted": delete,
}


def new_manager(folder: Path) -> ConnectionManager:
    """Return the engine without its thread: calls return when they are done, and no maintenance runs by itself."""
    return ConnectionManager(StorageLimits(folder / NAME, 64 * MIB, free_disk=lambda _: 2**60), lambda: 1_700_000_000.0)


def append(manager: ConnectionManager, *bodies: bytes) -> list[ChunkId]:
    return [stored.id for stored in manager.do(lambda store: store.append([chunk(body) for body in bodies], []))]


def waiting(manager: ConnectionManager, lane: Lane = LANE) -> list[bytes]:
    return payloads(manager.do(lambda store: store.read(lane, START, ALL, ALL)))


def checkpoint(manager: ConnectionManager) -> None:
    manager.do(lambda store: store.database.checkpoint())


async def contents(spool: StorageEngine) -> tuple[list[bytes], int]:
    stored = await spool.read(LANE, START, ALL, ALL)
    return payloads(stored), len(await spool.dead_letters(limit=10_000))


def numbered(first: int, count: int) -> list[bytes]:
    """Return events of 700 bytes, so that 600 of them take more than 100 pages."""
    return [b'{"n":%d,"x":"' % number + b"x" * 680 + b'"}' for number in range(first, first + count)]


@pytest.mark.parametrize("cut", CUTS)
async def test_all_events_of_the_log_are_recovered_when_the_database_was_cut_after_a_kill(
    cut: str, tmp_path: Path
) -> None:
    spool = sqlite(tmp_path / "spool")
    await spool.open()
    events = numbered(0, 600)
    for start in range(0, 600, 20):
        await spool.append([chunk(event) for event in events[start : start + 20]], [letter(start)])
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    await spool.close()
    CUTS[cut](killed / NAME)

    later = sqlite(killed)
    await later.open()
    assert await contents(later) == (events, 30)
    (after,) = await later.append([chunk(b"after")], [])
    assert after.id == 601
    await later.close()
    assert verify(killed / NAME).faults == ()


@pytest.mark.parametrize("copied", [False, True], ids=["in the log", "in both files"])
@pytest.mark.parametrize("cut", CUTS)
def test_all_acknowledged_events_are_recovered_when_the_database_was_cut_in_use_before_a_kill(
    cut: str, copied: bool, tmp_path: Path
) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    acknowledged = numbered(0, 600)
    append(manager, *acknowledged)
    if copied:
        checkpoint(manager)
    before = (tmp_path / "spool" / NAME).stat().st_size
    CUTS[cut](tmp_path / "spool" / NAME)
    is_shorter = not (path := tmp_path / "spool" / NAME).exists() or path.stat().st_size < before

    refused = 0
    for event in numbered(600, 600):
        try:
            append(manager, event)
            acknowledged.append(event)
        except SpoolUnavailable:
            refused += 1
        manager.after_call()
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    assert waiting(manager) == acknowledged
    manager.close()

    later = new_manager(killed)
    later.open()
    assert waiting(later) == acknowledged
    assert refused == is_shorter, "only the commit that finds the change"
    later.close()


@pytest.mark.parametrize("cut", CUTS)
async def test_events_of_the_log_are_recovered_when_others_are_only_in_the_database(cut: str, tmp_path: Path) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    old, new = numbered(0, 300), numbered(300, 300)
    append(manager, *old)
    checkpoint(manager)
    append(manager, *new)
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()
    CUTS[cut](killed / NAME)

    later = sqlite(killed)
    await later.open()
    recovered, _ = await contents(later)
    assert recovered[-300:] == new
    assert set(recovered) <= set(old + new)
    await later.close()


async def test_the_damaged_files_are_kept_under_another_name(tmp_path: Path) -> None:
    spool = sqlite(tmp_path / "spool")
    await spool.open()
    await spool.append([chunk(event) for event in numbered(0, 100)], [])
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    await spool.close()
    truncate(killed / NAME, 0)
    log = (killed / LOG).read_bytes()

    later = sqlite(killed)
    await later.open()
    (aside,) = killed.glob("*.damaged-*Z-wal")
    assert aside.read_bytes() == log
    await later.close()


@pytest.mark.parametrize("tail", [b"x" * 100, b"x" * 5000, b"", "a frame with a wrong checksum"])
async def test_a_torn_transaction_at_the_end_of_the_log_is_ignored(tail: bytes | str, tmp_path: Path) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    append(manager, *numbered(0, 100))
    intact = (tmp_path / "spool" / LOG).stat().st_size
    append(manager, b"torn" * 3000)
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()
    truncate(killed / NAME, 0)
    log = killed / LOG
    if isinstance(tail, str):
        _overwrite(log, log.stat().st_size - 10, b"\xa5")
    else:
        truncate(log, log.stat().st_size - FRAME_SIZE)
        log.write_bytes(log.read_bytes() + tail)
    assert log.stat().st_size > intact

    later = sqlite(killed)
    await later.open()
    assert await contents(later) == (numbered(0, 100), 0)
    await later.close()


def test_a_transaction_that_was_cut_anywhere_is_ignored(tmp_path: Path) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    append(manager, *numbered(0, 3))
    intact = (tmp_path / "spool" / LOG).stat().st_size
    append(manager, *(b"torn-%d" % number * 300 for number in range(20)))
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()
    frames = ((killed / LOG).stat().st_size - intact) // FRAME_SIZE
    assert frames > 8
    for cut in range(1, frames):
        copy = copy_files(killed, tmp_path / f"cut-{cut}")
        truncate(copy / NAME, 0)
        truncate(copy / LOG, (copy / LOG).stat().st_size - cut * FRAME_SIZE)
        result = recover_file(copy / NAME)
        assert (result.events, result.dead_letters) == (3, 0)


async def test_frames_that_an_earlier_use_of_the_log_left_behind_are_ignored(tmp_path: Path) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    ids = append(manager, *numbered(0, 300))
    checkpoint(manager)
    manager.do(lambda store: store.acknowledge(LANE, ids[:290], [], None))
    checkpoint(manager)
    append(manager, b"new")
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()
    frames = (killed / LOG).stat().st_size // FRAME_SIZE
    assert len(read_log(killed / LOG).offsets) < frames // 2, "the log has stale frames"
    _overwrite(killed / NAME, 0, b"\0" * PAGE_SIZE)

    later = sqlite(killed)
    await later.open()
    assert (await contents(later))[0] == [*numbered(290, 10), b"new"]
    await later.close()


async def test_rows_that_were_deleted_in_the_log_do_not_reappear(tmp_path: Path) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    ids = append(manager, *numbered(0, 400))
    manager.do(lambda store: store.append([], [letter(number) for number in range(50)]))
    checkpoint(manager)
    manager.do(lambda store: store.acknowledge(LANE, ids[:350], [], None))
    manager.do(lambda store: store.discard(range(1, 41)))
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()
    _overwrite(killed / NAME, 100, b"\xa5" * 2000)

    result = recover_file(killed / NAME)
    assert (result.events, result.dead_letters) == (50, 10)
    later = sqlite(killed)
    await later.open()
    assert await contents(later) == (numbered(350, 50), 10)
    await later.close()


async def test_pages_that_the_log_cut_off_do_not_reappear(tmp_path: Path) -> None:
    """After a vacuum in the log, the end of the file has rows that were moved to other pages, and deleted there."""
    manager = new_manager(tmp_path / "spool")
    manager.open()
    stored = manager.do(lambda store: store.append([bulk(100, 600) for _ in range(200)], []))
    checkpoint(manager)
    first = [item.id for item in stored[:150]]
    manager.do(lambda store: store.acknowledge(LANE, first, [], None))
    database = manager._store.database  # type: ignore[union-attr]
    database.connection.execute("PRAGMA incremental_vacuum(2000)").fetchall()
    second = [item.id for item in stored[150:190]]
    manager.do(lambda store: store.acknowledge(LANE, second, [], None))
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    pages = database.connection.pragma("page_count")
    manager.close()
    assert (killed / NAME).stat().st_size > 2 * pages * PAGE_SIZE

    assert recover_file(killed / NAME).events == 10 * 100


async def test_a_transaction_that_failed_in_its_last_step_is_not_recovered(tmp_path: Path) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    append(manager, b"acknowledged")
    manager.do(lambda store: store.database.measure_log())
    # A commit whose sync fails is complete in the log, but its caller got an error.
    log = tmp_path / "spool" / LOG
    before = log.stat().st_size
    append(manager, b"failed")
    database = manager._store.database  # type: ignore[union-attr]
    database.log_pages = (before - HEADER_SIZE) // FRAME_SIZE
    truncate(tmp_path / "spool" / NAME, 4096 - 1)

    with pytest.raises(SpoolUnavailable):
        append(manager, b"refused")
    assert waiting(manager) == [b"acknowledged"]
    manager.close()


async def test_a_recovery_of_a_deleted_database_that_is_interrupted_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    append(manager, *numbered(0, 300))
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()
    delete(killed / NAME)
    module = __import__(recover_module_function.__module__, fromlist=["_groups"])
    groups = module._groups

    def interrupted(rows: object) -> object:
        yield next(groups(rows))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_groups", interrupted)
        with pytest.raises(KeyboardInterrupt):
            recover_file(killed / NAME)

    later = sqlite(killed)
    await later.open()
    assert (await contents(later))[0] == numbered(0, 300)
    await later.close()


@pytest.mark.parametrize("cut", ["to 0 bytes", "deleted"])
async def test_the_commands_do_not_lose_the_log_of_a_database_that_was_cut(cut: str, tmp_path: Path) -> None:
    manager = new_manager(tmp_path / "spool")
    manager.open()
    append(manager, *numbered(0, 50))
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()
    CUTS[cut](killed / NAME)

    result = verify(killed / NAME)
    assert (result.events, len(result.faults)) == (0, 1)
    assert "write-ahead log" in result.faults[0]
    with pytest.raises(SpoolUnavailable, match="gateway spool recover"):
        backlogs(killed / NAME)
    assert recover_file(killed / NAME).events == 50
    (backlog,) = backlogs(killed / NAME)
    assert backlog.events == 50


def test_the_number_of_a_spool_file_is_known_while_only_its_log_exists(tmp_path: Path) -> None:
    from gateway.config import SpoolSettings

    for name in ("spool.sqlite", "spool-2.sqlite-wal", "spool-3.sqlite.recovered", "spool-4.sqlite.damaged-1-wal"):
        (tmp_path / name).touch()
    assert spool_file_numbers(SpoolSettings(path=str(tmp_path))) == [0, 2, 3]


@pytest.mark.parametrize("seed", range(4))
def test_the_pages_of_the_log_are_those_that_sqlite_reads(seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    manager = new_manager(tmp_path / "spool")
    manager.open()
    ids: list[ChunkId] = []
    for _ in range(30):
        ids += append(manager, *(random.randbytes(random.randrange(1, 9000)).hex().encode() for _ in range(4)))
        if random.random() < 0.5:
            removed = [ids.pop(random.randrange(len(ids))) for _ in range(3)]
            manager.do(lambda store: store.acknowledge(LANE, removed, [letter()], None))  # noqa: B023 (done when it returns)
        if random.random() < 0.1:
            checkpoint(manager)
    append(manager, b"last")
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()

    log = read_log(killed / LOG)
    content = (killed / LOG).read_bytes()
    with sqlite3.connect(shutil.copytree(killed, tmp_path / "copied") / NAME) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    pages = (tmp_path / "copied" / NAME).read_bytes()
    assert log.is_complete
    assert log.page_count * PAGE_SIZE == len(pages)
    assert log.offsets
    for number, offset in log.offsets.items():
        if number <= log.page_count:
            assert content[offset : offset + PAGE_SIZE] == pages[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]


def test_a_log_with_checksums_in_the_other_byte_order_is_read(tmp_path: Path) -> None:
    manager = new_manager(tmp_path)
    manager.open()
    append(manager, *numbered(0, 20))
    content = (tmp_path / LOG).read_bytes()
    manager.close()
    header = pack(">I", unpack_from(">I", content)[0] ^ 1) + content[4:24]
    checksum = wal._checksum(unpack_from(">6I", header), (0, 0))
    converted = header + pack(">2I", *checksum)
    for start in range(HEADER_SIZE, len(content), FRAME_SIZE):
        frame = content[start : start + FRAME_SIZE]
        covered = frame[:8] + frame[FRAME_HEADER_SIZE:]
        checksum = wal._checksum(unpack_from(f">{len(covered) // 4}I", covered), checksum)
        converted += frame[:16] + pack(">2I", *checksum) + frame[FRAME_HEADER_SIZE:]
    (tmp_path / "original").write_bytes(content)
    (tmp_path / "converted").write_bytes(converted)

    assert read_log(tmp_path / "converted") == read_log(tmp_path / "original")
    assert len(read_log(tmp_path / "converted").offsets) > 5


def test_a_log_is_read_up_to_its_first_damaged_frame(tmp_path: Path) -> None:
    manager = new_manager(tmp_path)
    manager.open()
    for event in numbered(0, 60):
        append(manager, event)
    content = (tmp_path / LOG).read_bytes()
    manager.close()
    whole = tmp_path / "log"
    whole.write_bytes(content)
    frames = (len(content) - HEADER_SIZE) // FRAME_SIZE
    for damaged in (0, 1, frames // 2, frames - 1):
        offset = HEADER_SIZE + damaged * FRAME_SIZE + FRAME_HEADER_SIZE + 9
        path = tmp_path / "damaged"
        path.write_bytes(content[:offset] + b"\xa5\xa5" + content[offset + 2 :])
        log = read_log(path)
        assert all(start < HEADER_SIZE + damaged * FRAME_SIZE for start in log.offsets.values())
        assert log.is_complete == (damaged == frames - 1)
    for header in (b"", content[:20], b"\0" * 5000, content[:8] + pack(">I", 8192) + content[12:]):
        whole.write_bytes(header)
        assert read_log(whole) == wal.EMPTY


async def test_damage_in_the_middle_of_the_log_does_not_hide_later_pages_of_the_database(tmp_path: Path) -> None:
    """A checkpoint may have copied pages of frames after the damaged one: the file then has more pages than the log."""
    manager = new_manager(tmp_path / "spool")
    manager.open()
    append(manager, *numbered(0, 5))
    for event in numbered(5, 295):
        append(manager, event)
    checkpoint(manager)
    killed = copy_files(tmp_path / "spool", tmp_path / "killed")
    manager.close()
    _overwrite(killed / LOG, HEADER_SIZE + 20 * FRAME_SIZE + 100, b"\xa5" * 8)

    result = recover_file(killed / NAME)
    assert result.events > 270


def test_a_damaged_length_does_not_make_recovery_use_much_memory(tmp_path: Path) -> None:
    import tracemalloc

    manager = new_manager(tmp_path / "spool")
    manager.open()
    manager.do(lambda store: store.append([bulk(100, 2000) for _ in range(150)], []))
    manager.do(lambda store: store.append([chunk(b"intact", lane=OTHER)], []))
    manager.close()
    path = tmp_path / "spool" / NAME
    content = bytearray(path.read_bytes())
    damaged = 0
    for number in range(2, len(content) // PAGE_SIZE):
        start = number * PAGE_SIZE
        if content[start] == 0x0D and content[start + 3 : start + 5] == b"\0\1":
            cell = start + int.from_bytes(content[start + 8 : start + 10])
            content[cell : cell + 4] = b"\xff\xff\xff\x7f"  # a record of 256 MiB
            damaged += 1
    assert damaged > 40
    path.write_bytes(content)
    os.truncate(path, 2**30)  # the record would fit into the file

    tracemalloc.start()
    recover_file(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * MIB


async def test_recovery_of_many_rows_uses_little_memory(tmp_path: Path) -> None:
    import tracemalloc

    spool = sqlite(tmp_path)
    await spool.open()
    for start in range(0, 20_000, 1000):
        await spool.append([], [letter(number, event=None) for number in range(start, start + 1000)])
        await spool.append([chunk(b"%d" % number) for number in range(start, start + 1000)], [])
    await spool.close()

    tracemalloc.start()
    result = recover_file(tmp_path / NAME)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (result.events, result.dead_letters) == (20_000, 20_000)
    assert peak < 2 * MIB


async def test_a_damaged_count_does_not_become_a_million_dead_letters(tmp_path: Path) -> None:
    manager = new_manager(tmp_path)
    manager.open()
    manager.do(lambda store: store.append([bulk(3, 300_000)], []))
    connection = manager._store.database.connection  # type: ignore[union-attr]
    connection.execute("UPDATE chunk SET count = 1 << 40")
    waiting(manager)
    matching, _ = manager.do(lambda store: store.dead_letters(0, 5000, ALL_DEAD_LETTERS))
    assert len(matching) == 3
    manager.close()


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)
