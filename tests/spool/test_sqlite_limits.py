"""Size limits of the files, returning space to the disk, and that a start costs the same for any backlog."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from random import Random

import apsw
import pytest

from gateway.model import ChunkId, Lane, StoredChunk
from gateway.spool import ALL_DEAD_LETTERS, SpoolFull, SpoolUnavailable
from gateway.spool.sqlite import SqliteSpool, bulk_sql, store
from gateway.spool.sqlite.connection_manager import ConnectionManager
from gateway.spool.sqlite.database import Database
from gateway.spool.sqlite.schema import PAGE_SIZE
from gateway.spool.sqlite.storage_limits import StorageLimits, pages_of
from gateway.spool.sqlite.totals import load_totals
from tests.spool.builders import ALL, LANE, MIB, NAME, START, bulk, chunk, fill, letter, sqlite


def new_manager(folder: Path, max_bytes: int = 64 * MIB) -> ConnectionManager:
    """Return the engine without its thread: calls return when they are done."""
    return ConnectionManager(
        StorageLimits(folder / NAME, max_bytes, free_disk=lambda _: 2**60), lambda: 1_700_000_000.0
    )


async def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        spool = SqliteSpool(tmp_path / "new" / "deep" / NAME, max_bytes=MIB, clock=lambda: 0.0, free_disk=lambda _: ALL)
        await spool.open()
        await spool.append([chunk()], [])
    finally:
        os.umask(mask)
    assert _modes(tmp_path) == {
        Path("new"): 0o700,
        Path("new/deep"): 0o700,
        Path("new/deep") / NAME: 0o600,
        Path("new/deep") / f"{NAME}-wal": 0o600,
        Path("new/deep") / f"{NAME}.lock": 0o600,
    }
    await spool.close()


async def test_permissions_of_an_existing_file_are_restricted(tmp_path: Path) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.close()
    _chmod(tmp_path / NAME, 0o644)
    await spool.open()
    assert _mode(tmp_path / NAME) == 0o600
    await spool.close()


async def test_open_fails_when_the_disk_cannot_hold_max_bytes(tmp_path: Path) -> None:
    limits = StorageLimits(tmp_path / NAME, 64 * MIB)
    needed = limits.max_bytes + limits.extra_disk

    async def start(free: int) -> None:
        spool = SqliteSpool(limits.path, max_bytes=limits.max_bytes, clock=lambda: 0.0, free_disk=lambda _: free)
        await spool.open()
        await spool.close()

    with pytest.raises(SpoolUnavailable, match=r"spool\.max_bytes"):
        await start(needed - 1)
    await start(needed)
    # The existing file counts as available space.
    existing = _size(limits.path)
    assert existing
    await start(needed - existing)
    with pytest.raises(SpoolUnavailable, match="free space on the disk"):
        await start(needed - existing - 1)


async def test_the_last_free_disk_space_is_reserved_for_acknowledgements(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CHECK_INTERVAL", 0.0)
    free = 2**40
    spool = SqliteSpool(tmp_path / NAME, max_bytes=64 * MIB, clock=lambda: 0.0, free_disk=lambda _: free)
    await spool.open()
    (stored,) = await spool.append([chunk()], [])
    free = 2 * MIB
    with pytest.raises(SpoolFull, match="disk"):
        await spool.append([chunk()], [])
    await spool.acknowledge(LANE, [stored.id], [letter()])
    free = 2**40
    await spool.append([chunk()], [])
    await spool.close()


@pytest.mark.parametrize("reason", ["the directory cannot be made", "the file is a directory"])
async def test_open_fails_with_an_error_when_the_path_is_unusable(reason: str, tmp_path: Path) -> None:
    _touch(tmp_path / "file")
    _mkdir(tmp_path / NAME)
    folder = tmp_path / "file" / "below" if reason == "the directory cannot be made" else tmp_path
    spool = sqlite(folder)
    with pytest.raises(SpoolUnavailable, match="cannot be opened"):
        await spool.open()
    with pytest.raises(SpoolUnavailable, match="closed"):
        await spool.append([chunk()], [])


async def test_a_full_spool_stays_within_its_size_limits_on_disk(tmp_path: Path) -> None:
    spool = sqlite(tmp_path, max_bytes=8 * MIB)
    await spool.open()
    chunks = await fill(spool)
    limits = StorageLimits(tmp_path / NAME, 8 * MIB)
    for stored in chunks:
        await spool.acknowledge(LANE, [stored.id], [letter(event=b'"' + b"x" * 70_000 + b'"')])
    assert _size(tmp_path / NAME) <= limits.max_bytes + limits.reserve
    assert _size(tmp_path / f"{NAME}-wal") <= limits.extra_disk
    assert spool.statistics().events == 0
    await spool.close()


@pytest.mark.parametrize("events", [1, 2, 7, 13, 100, 900])
@pytest.mark.parametrize("size", [30, 600, 2500, 5000, 20_000])
def test_the_page_estimate_is_an_upper_bound_and_not_too_high(events: int, size: int, tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, 512 * MIB))
    per_chunk = max(1, events // 9)
    chunks = [bulk(per_chunk, size) for _ in range(events // per_chunk)]
    letters = [letter(event=b'"' + b"x" * size + b'"') for _ in range(events)]
    for _ in range(3):
        before = database.used_pages
        with database.commit() as transaction:
            transaction.store(chunks, 0.0)
            transaction.store_letters(letters)
        database.measure()
        used = database.used_pages - before
        estimate = pages_of(chunks, letters)
        assert used <= estimate
        assert estimate <= 2 * used + 12
    database.close()


@pytest.mark.parametrize("chunks", [1, 2, bulk_sql.MAX_SINGLE_INSERT, bulk_sql.MAX_SINGLE_INSERT + 1, 700])
def test_page_counts_after_a_commit_match_the_files(chunks: int, tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, 512 * MIB))
    ids: list[ChunkId] = []
    for round_ in range(4):
        with database.commit() as transaction:
            ids += [stored.id for stored in transaction.store([bulk(3, 900) for _ in range(chunks)], 0.0)]
        with database.commit() as transaction:
            transaction.remove(LANE, [ids.pop(0)])
            transaction.store_letters([letter()])
        log_pages, used_pages = database.log_pages, database.used_pages
        database.measure_log()
        assert log_pages == database.log_pages > 0
        database.measure()
        assert used_pages >= database.used_pages
        if round_ % 2:
            database.checkpoint()
            assert database.log_pages == 0
    database.close()


def test_log_pages_are_right_after_a_transaction_larger_than_the_cache(tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, 512 * MIB))
    with database.commit() as transaction:
        transaction.store([bulk(100, 10_000) for _ in range(20)], 0.0)
        transaction.store_letters([letter(event=b'"' + b"x" * 100_000 + b'"') for _ in range(200)])
    assert database.connection.status(apsw.SQLITE_DBSTATUS_CACHE_SPILL)[0]
    log_pages = database.log_pages
    database.measure_log()
    assert log_pages == database.log_pages
    database.close()


@pytest.mark.parametrize(
    ("lanes", "expected"), [(1, 1), (bulk_sql.MAX_SINGLE_INSERT, 1), (bulk_sql.MAX_SINGLE_INSERT + 1, 3)]
)
def test_a_commit_executes_few_statements(lanes: int, expected: int, tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, 64 * MIB))
    chunks = [chunk(lane=Lane("store", str(number), "tag")) for number in range(lanes)]
    statements: list[str] = []
    for _ in range(2):  # the first commit also inserts the lanes
        database.connection.exec_trace = partial(_record, statements)
        statements.clear()
        with database.commit() as transaction:
            transaction.store(chunks, 0.0)
    assert len(statements) == expected, statements
    database.connection.exec_trace = None
    assert load_totals(database.connection) == database.totals
    database.close()


def test_a_drained_spool_returns_its_space_in_short_steps(tmp_path: Path) -> None:
    manager = new_manager(tmp_path, max_bytes=64 * MIB)
    manager.open()
    stored: list[StoredChunk] = []
    for _ in range(40):
        stored = manager.do(lambda store: store.append([bulk(100, 600) for _ in range(16)], []))
        manager.after_call()
    full = _size(tmp_path / NAME)
    assert full > 30 * MIB
    while page := manager.do(lambda store: store.read(LANE, START, 2000, ALL)):
        ids = [item.id for item in page]
        manager.do(lambda store: store.acknowledge(LANE, ids, [], None))  # noqa: B023 (done when it returns)
        manager.after_call()

    steps = 0
    while manager.idle():
        steps += 1
        # Calls between two steps work.
        manager.do(lambda store: store.append([chunk(b"1")], []))
    assert steps > 10
    assert _size(tmp_path / NAME) < 4 * MIB
    (last,) = stored[-1:]
    assert manager.do(lambda store: store.append([chunk(b"2")], []))[0].id > last.id
    manager.close()


def test_the_log_of_an_empty_idle_spool_is_truncated(tmp_path: Path) -> None:
    manager = new_manager(tmp_path)
    manager.open()
    (stored,) = manager.do(lambda store: store.append([bulk(1000, 600)], []))
    assert _size(tmp_path / f"{NAME}-wal") > 600_000
    manager.do(lambda store: store.acknowledge(LANE, [stored.id], [], None))
    assert not manager.idle()
    assert _size(tmp_path / f"{NAME}-wal") == 0
    manager.close()


def test_a_checkpoint_limits_the_size_of_the_log(tmp_path: Path) -> None:
    manager = new_manager(tmp_path, max_bytes=64 * MIB)
    manager.open()
    longest = 0
    for _ in range(400):
        manager.do(lambda store: store.append([bulk(100, 600)], []))
        manager.after_call()
        longest = max(longest, _size(tmp_path / f"{NAME}-wal"))
    assert 4 * MIB < longest < 5 * MIB
    manager.close()


def test_a_start_reads_as_many_pages_for_a_long_backlog_as_for_a_short_one(tmp_path: Path) -> None:
    """Counts page reads instead of time, so that other load on the machine does not affect the result."""

    def reads(folder: Path, chunks: int) -> int:
        manager = new_manager(folder, max_bytes=512 * MIB)
        manager.open()
        for _ in range(chunks // 100):
            manager.do(lambda store: store.append([bulk(10, 300) for _ in range(100)], [letter()]))
            manager.after_call()
        manager.close()
        database = Database(StorageLimits(folder / NAME, 512 * MIB))
        (backlog,) = database.backlogs()
        assert backlog.events == chunks * 10
        read, _ = database.connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)
        database.close()
        return read

    few, many = reads(tmp_path / "few", 100), reads(tmp_path / "many", 10_000)
    assert 0 < many <= few + 6


def test_chunks_with_any_time_and_text_are_read_in_bulk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If SQLite changed a time or a text, checksums would fail and each batch would silently be read row by row."""

    def fail(*_: object) -> list[StoredChunk]:
        raise AssertionError("read row by row")

    monkeypatch.setattr(store.Store, "_read_one_by_one", fail)
    random = Random(7)
    now = [0.0]
    manager = ConnectionManager(StorageLimits(tmp_path / NAME, 64 * MIB, free_disk=lambda _: 2**60), lambda: now[0])
    manager.open()
    expected = []
    for number in range(400):
        now[0] = random.uniform(0, 4e9)
        text = "".join(random.choices("aé漢😀\\", k=random.randint(0, 40)))
        original = chunk(f'{{"n":"{text}"}}'.encode(), expires_at=number)
        expected += manager.do(lambda store: store.append([original], []))  # noqa: B023 (done when it returns)
    chunks: list[StoredChunk] = []
    page = expected
    while page:
        after = chunks[-1].id if chunks else START
        page = manager.do(lambda store: store.read(LANE, after, 90, ALL))  # noqa: B023 (done when it returns)
        chunks += page
    assert chunks == expected
    manager.close()


async def test_dead_letters_are_scanned_in_bounded_calls(tmp_path: Path) -> None:
    manager = new_manager(tmp_path)
    manager.open()
    manager.do(lambda store: store.append([], [letter(number) for number in range(12_000)]))
    matching, after = manager.do(lambda store: store.dead_letters(0, 10, ALL_DEAD_LETTERS))
    assert len(matching) == 10
    assert after == 5000
    manager.close()
    spool = sqlite(tmp_path)
    await spool.open()
    assert len(await spool.dead_letters(limit=20_000)) == 12_000
    assert await spool.count_dead_letters() == 12_000
    await spool.close()


def test_the_database_has_the_page_size_and_pragmas_of_the_schema(tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, MIB))
    pragma = database.connection.pragma
    assert pragma("page_size") == PAGE_SIZE
    assert (pragma("auto_vacuum"), pragma("journal_mode"), pragma("synchronous")) == (2, "wal", 2)
    assert pragma("locking_mode") == "exclusive"
    database.close()


def _record(statements: list[str], _: object, sql: str, __: object) -> bool:
    statements.append(sql)
    return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _modes(folder: Path) -> dict[Path, int]:
    return {path.relative_to(folder): _mode(path) for path in folder.rglob("*")}


def _chmod(path: Path, mode: int) -> None:
    path.chmod(mode)


def _rename(path: Path, to: Path) -> None:
    path.rename(to)


def _touch(path: Path) -> None:
    path.touch()


def _mkdir(path: Path) -> None:
    path.mkdir()
