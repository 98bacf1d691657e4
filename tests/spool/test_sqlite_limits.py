"""How large the files become, that they become small again, and that a start costs the same for any backlog."""

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
from tests.spool.builders import ALL, LANE, MIB, NAME, START, bulk, chunk, fill, letter, payloads, sqlite


def connection_manager(folder: Path, max_bytes: int = 64 * MIB) -> ConnectionManager:
    return ConnectionManager(
        StorageLimits(folder / NAME, max_bytes, free_disk=lambda _: 2**60), lambda: 1_700_000_000.0
    )


async def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
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


async def test_a_file_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.close()
    _chmod(tmp_path / NAME, 0o644)
    await spool.open()
    assert _mode(tmp_path / NAME) == 0o600
    await spool.close()


async def test_a_start_is_refused_where_the_disk_cannot_hold_the_cap(tmp_path: Path) -> None:
    limits = StorageLimits(tmp_path / NAME, 64 * MIB)
    needed = limits.max_bytes + limits.beside

    async def start(free: int) -> None:
        spool = SqliteSpool(limits.path, max_bytes=limits.max_bytes, clock=lambda: 0.0, free_disk=lambda _: free)
        await spool.open()
        await spool.close()

    with pytest.raises(SpoolUnavailable, match=r"spool\.max_bytes"):
        await start(needed - 1)
    await start(needed)
    # What the spool has already counts as room for it.
    there = _size(limits.path)
    assert there
    await start(needed - there)
    with pytest.raises(SpoolUnavailable, match="make room"):
        await start(needed - there - 1)


async def test_the_last_of_the_disk_is_kept_for_what_has_to_leave(
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


async def test_a_file_that_is_moved_away_takes_nothing_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "CHECK_INTERVAL", 0.0)
    spool = sqlite(tmp_path)
    await spool.open()
    (stored,) = await spool.append([chunk()], [])
    _rename(tmp_path / NAME, tmp_path / "elsewhere")
    with pytest.raises(SpoolUnavailable, match="moved or removed"):
        await spool.append([chunk()], [])
    assert payloads(await spool.read(LANE, START, ALL, ALL)) == [stored.chunk.payload]
    _rename(tmp_path / "elsewhere", tmp_path / NAME)
    await spool.append([chunk()], [])
    await spool.close()


@pytest.mark.parametrize("reason", ["a folder that cannot be made", "a file that is a folder"])
async def test_a_spool_that_cannot_be_opened_says_why(reason: str, tmp_path: Path) -> None:
    _touch(tmp_path / "file")
    _mkdir(tmp_path / NAME)
    folder = tmp_path / "file" / "below" if reason == "a folder that cannot be made" else tmp_path
    spool = sqlite(folder)
    with pytest.raises(SpoolUnavailable, match="cannot be opened"):
        await spool.open()
    with pytest.raises(SpoolUnavailable, match="closed"):
        await spool.append([chunk()], [])


async def test_a_full_spool_stays_within_its_bounds_on_disk(tmp_path: Path) -> None:
    spool = sqlite(tmp_path, max_bytes=8 * MIB)
    await spool.open()
    taken = await fill(spool)
    limits = StorageLimits(tmp_path / NAME, 8 * MIB)
    for stored in taken:
        await spool.acknowledge(LANE, [stored.id], [letter(event=b'"' + b"x" * 70_000 + b'"')])
    assert _size(tmp_path / NAME) <= limits.max_bytes + limits.reserve
    assert _size(tmp_path / f"{NAME}-wal") <= limits.beside
    assert spool.statistics().events == 0
    await spool.close()


@pytest.mark.parametrize("events", [1, 2, 7, 13, 100, 900])
@pytest.mark.parametrize("size", [30, 600, 2500, 5000, 20_000])
def test_what_is_reckoned_to_fit_fits(events: int, size: int, tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, 512 * MIB))
    per_chunk = max(1, events // 9)
    chunks = [bulk(per_chunk, size) for _ in range(events // per_chunk)]
    letters = [letter(event=b'"' + b"x" * size + b'"') for _ in range(events)]
    for _ in range(3):
        before = database.used_pages
        with database.commit() as transaction:
            transaction.keep(chunks, 0.0)
            transaction.keep_letters(letters)
        database.measure()
        taken = database.used_pages - before
        reckoned = pages_of(chunks, letters)
        assert taken <= reckoned
        assert reckoned <= 2 * taken + 12
    database.close()


@pytest.mark.parametrize("chunks", [1, 2, bulk_sql.MAX_SINGLE_INSERT, bulk_sql.MAX_SINGLE_INSERT + 1, 700])
def test_what_a_commit_says_of_the_log_and_the_file_is_so_without_looking(chunks: int, tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, 512 * MIB))
    ids: list[ChunkId] = []
    for round_ in range(4):
        with database.commit() as transaction:
            ids += [one.id for one in transaction.keep([bulk(3, 900) for _ in range(chunks)], 0.0)]
        with database.commit() as transaction:
            transaction.remove(LANE, [ids.pop(0)])
            transaction.keep_letters([letter()])
        told, used = database.log_pages, database.used_pages
        database.checkpoint("NOOP")
        assert told == database.log_pages > 0
        database.measure()
        assert used >= database.used_pages
        if round_ % 2:
            database.checkpoint()
            assert database.log_pages == 0
    database.close()


def test_a_transaction_that_the_cache_cannot_hold_is_counted_in_the_log(tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, 512 * MIB))
    with database.commit() as transaction:
        transaction.keep([bulk(100, 10_000) for _ in range(20)], 0.0)
        transaction.keep_letters([letter(event=b'"' + b"x" * 100_000 + b'"') for _ in range(200)])
    assert database.connection.status(apsw.SQLITE_DBSTATUS_CACHE_SPILL)[0]
    told = database.log_pages
    database.checkpoint("NOOP")
    assert told == database.log_pages
    database.close()


@pytest.mark.parametrize(
    ("lanes", "steps"), [(1, 1), (bulk_sql.MAX_SINGLE_INSERT, 1), (bulk_sql.MAX_SINGLE_INSERT + 1, 3)]
)
def test_a_commit_takes_few_steps_of_the_database(lanes: int, steps: int, tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, 64 * MIB))
    chunks = [chunk(lane=Lane("store", str(number), "tag")) for number in range(lanes)]
    counted: list[str] = []
    for _ in range(2):  # the first time lanes are new
        database.connection.exec_trace = partial(_count, counted)
        counted.clear()
        with database.commit() as transaction:
            transaction.keep(chunks, 0.0)
    assert len(counted) == steps, counted
    database.connection.exec_trace = None
    assert load_totals(database.connection) == database.totals
    database.close()


def test_a_drained_spool_gives_its_room_back_in_short_steps(tmp_path: Path) -> None:
    fixture = connection_manager(tmp_path, max_bytes=64 * MIB)
    fixture.open()
    stored: list[StoredChunk] = []
    for _ in range(40):
        stored = fixture.do(lambda store: store.append([bulk(100, 600) for _ in range(16)], []))
        fixture.after_call()
    full = _size(tmp_path / NAME)
    assert full > 30 * MIB
    while found := fixture.do(lambda store: store.read(LANE, START, 2000, ALL)):
        ids = [one.id for one in found]
        fixture.do(lambda store: store.acknowledge(LANE, ids, [], None))  # noqa: B023 (done when it returns)
        fixture.after_call()

    steps = 0
    sizes = []
    while fixture.idle():
        steps += 1
        sizes.append(fixture.statistics().size)
        # A call between two steps finds everything as it should be.
        fixture.do(lambda store: store.append([chunk(b"1")], []))
    assert steps > 10
    assert _size(tmp_path / NAME) < 4 * MIB
    (last,) = stored[-1:]
    assert fixture.do(lambda store: store.append([chunk(b"2")], []))[0].id > last.id
    fixture.close()


def test_an_empty_spool_has_no_log_left_when_it_is_idle(tmp_path: Path) -> None:
    fixture = connection_manager(tmp_path)
    fixture.open()
    (stored,) = fixture.do(lambda store: store.append([bulk(1000, 600)], []))
    assert _size(tmp_path / f"{NAME}-wal") > 600_000
    fixture.do(lambda store: store.acknowledge(LANE, [stored.id], [], None))
    assert not fixture.idle()
    assert _size(tmp_path / f"{NAME}-wal") == 0
    fixture.close()


def test_the_log_is_written_back_before_it_is_long(tmp_path: Path) -> None:
    fixture = connection_manager(tmp_path, max_bytes=64 * MIB)
    fixture.open()
    longest = 0
    for _ in range(400):
        fixture.do(lambda store: store.append([bulk(100, 600)], []))
        fixture.after_call()
        longest = max(longest, _size(tmp_path / f"{NAME}-wal"))
    assert 8 * MIB < longest < 9 * MIB
    fixture.close()


def test_a_start_reads_as_much_for_a_long_backlog_as_for_a_short_one(tmp_path: Path) -> None:
    """Counted in reads of the file, which no neighbour on the machine can disturb."""

    def reads(folder: Path, chunks: int) -> int:
        fixture = connection_manager(folder, max_bytes=512 * MIB)
        fixture.open()
        for _ in range(chunks // 100):
            fixture.do(lambda store: store.append([bulk(10, 300) for _ in range(100)], [letter()]))
            fixture.after_call()
        fixture.close()
        database = Database(StorageLimits(folder / NAME, 512 * MIB))
        (backlog,) = database.backlogs()
        assert backlog.events == chunks * 10
        read, _ = database.connection.status(apsw.SQLITE_DBSTATUS_CACHE_MISS)
        database.close()
        return read

    few, many = reads(tmp_path / "few", 100), reads(tmp_path / "many", 10_000)
    assert 0 < many <= few + 6


def test_what_was_written_is_read_in_few_steps_whatever_the_time_and_the_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were a time or a text not given back to the last bit, each batch would be read row by row, and none the wiser."""

    def row_by_row(*_: object) -> list[StoredChunk]:
        raise AssertionError("read row by row")

    monkeypatch.setattr(store.Store, "_read_one_by_one", row_by_row)
    random = Random(7)
    now = [0.0]
    fixture = ConnectionManager(StorageLimits(tmp_path / NAME, 64 * MIB, free_disk=lambda _: 2**60), lambda: now[0])
    fixture.open()
    expected = []
    for number in range(400):
        now[0] = random.uniform(0, 4e9)
        text = "".join(random.choices("aé漢😀\\", k=random.randint(0, 40)))
        given = chunk(f'{{"n":"{text}"}}'.encode(), expires_at=number)
        expected += fixture.do(lambda store: store.append([given], []))  # noqa: B023 (done when it returns)
    found: list[StoredChunk] = []
    step = expected
    while step:
        after = found[-1].id if found else START
        step = fixture.do(lambda store: store.read(LANE, after, 90, ALL))  # noqa: B023 (done when it returns)
        found += step
    assert found == expected
    fixture.close()


async def test_a_filter_that_matches_nothing_looks_at_all_letters_in_short_calls(tmp_path: Path) -> None:
    fixture = connection_manager(tmp_path)
    fixture.open()
    fixture.do(lambda store: store.append([], [letter(number) for number in range(12_000)]))
    found, after = fixture.do(lambda store: store.dead_letters(0, 10, ALL_DEAD_LETTERS))
    assert len(found) == 10
    assert after == 5000
    fixture.close()
    spool = sqlite(tmp_path)
    await spool.open()
    assert len(await spool.dead_letters(limit=20_000)) == 12_000
    assert await spool.count_dead_letters() == 12_000
    await spool.close()


def test_a_page_has_the_size_that_was_measured(tmp_path: Path) -> None:
    database = Database(StorageLimits(tmp_path / NAME, MIB))
    pragma = database.connection.pragma
    assert pragma("page_size") == PAGE_SIZE
    assert (pragma("auto_vacuum"), pragma("journal_mode"), pragma("synchronous")) == (2, "wal", 2)
    assert pragma("locking_mode") == "exclusive"
    database.close()


def _count(statements: list[str], _: object, sql: str, __: object) -> bool:
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
