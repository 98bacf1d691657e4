"""Damaged files: found at start or in use, kept under another name, and their readable rows recovered."""

from __future__ import annotations

import math
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from gateway.model import ChunkId, Stage, StoredChunk
from gateway.spool import SpoolUnavailable
from gateway.spool.sqlite import recover_file, verify
from gateway.spool.sqlite.recovery.page_reader import _recovered_rows, read_pages
from gateway.spool.sqlite.rows import DamagedRow
from gateway.spool.sqlite.schema import APPLICATION_ID, PAGE_SIZE, SCHEMA, VERSION
from tests.spool.builders import (
    ALL,
    LANE,
    NAME,
    OTHER,
    START,
    bulk,
    chunk,
    copy_files,
    letter,
    payloads,
    read_all,
    sqlite,
)


async def filled_spool(folder: Path, chunks: int = 40) -> list[bytes]:
    """Make a closed spool with two lanes, dead letters and pages of deleted rows; return the payloads of LANE."""
    spool = sqlite(folder)
    await spool.open()
    stored = await spool.append([bulk(20, 300 + number) for number in range(chunks)], [letter(n) for n in range(60)])
    await spool.append([chunk(b'"other"', lane=OTHER)], [])
    await spool.acknowledge(LANE, [item.id for item in stored[5:15]])
    await spool.close()
    return payloads([*stored[:5], *stored[15:]])


def overwrite(path: Path, *offsets: int, with_bytes: bytes = b"\xa5" * 64) -> None:
    path.touch()
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(with_bytes)


def remove(path: Path) -> None:
    path.unlink()


def damaged_files(folder: Path, suffix: str = "Z") -> list[Path]:
    return sorted(folder.glob(f"*.damaged-*{suffix}"))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "the first bytes": lambda path: overwrite(path, 0),
    "the whole first page": lambda path: overwrite(path, 0, with_bytes=b"\0" * PAGE_SIZE),
    "the tables' names": lambda path: overwrite(path, 100),
    "a page map": lambda path: overwrite(path, PAGE_SIZE, with_bytes=b"\xff" * 500),
    "no database at all": lambda path: overwrite(path, 0, with_bytes=os.urandom(1_000_000)),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_at_the_start_of_the_file_loses_no_event(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = await filled_spool(tmp_path)
    DAMAGES[damage](tmp_path / NAME)

    spool = sqlite(tmp_path)
    backlogs = await spool.open()

    (old_file,) = damaged_files(tmp_path)
    assert str(old_file) in caplog.text
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    if damage != "no database at all":
        assert payloads(await read_all(spool)) == waiting
        assert payloads(await read_all(spool, OTHER)) == [b'"other"']
        assert [dead_letter for _, dead_letter in await spool.dead_letters()] == [letter(n) for n in range(60)]
        assert sum(backlog.events for backlog in backlogs) == 30 * 20 + 1
        assert spool.statistics().dead_letters == 60
    (stored,) = await spool.append([chunk(b"new")], [])
    assert (await read_all(spool))[-1] == stored
    await spool.close()
    assert verify(tmp_path / NAME).faults == ()


@pytest.mark.parametrize("seed", range(12))
async def test_damage_anywhere_loses_only_the_rows_on_its_pages(seed: int, tmp_path: Path) -> None:
    waiting = await filled_spool(tmp_path)
    path = tmp_path / NAME
    random = Random(seed)
    overwrite(path, *(random.randrange(path.stat().st_size - 64) for _ in range(3)))

    spool = sqlite(tmp_path)
    await spool.open()
    recovered = payloads(await read_all(spool))
    dead = [dead_letter for _, dead_letter in await spool.dead_letters(limit=10_000)]
    (stored,) = await spool.append([chunk(b"new")], [])

    # Three places hold at most three chunks, or leaves with two dozen rows each.
    assert len(set(waiting) - set(recovered)) <= 3 * 24
    assert set(recovered) <= set(waiting), "an acknowledged or altered chunk was recovered"
    assert [dead_letter for dead_letter in dead if dead_letter.code != "spool_corrupt"] == [
        dead_letter for dead_letter in (letter(n) for n in range(60)) if dead_letter in dead
    ]
    assert (await read_all(spool))[-1] == stored
    await spool.acknowledge(LANE, [item.id for item in await read_all(spool)])
    assert await read_all(spool) == []
    await spool.close()


async def test_the_rows_of_a_truncated_file_are_recovered(tmp_path: Path) -> None:
    waiting = await filled_spool(tmp_path)
    path = tmp_path / NAME
    os.truncate(path, path.stat().st_size // 2)

    spool = sqlite(tmp_path)
    await spool.open()
    recovered = payloads(await read_all(spool))
    assert len(recovered) > 5
    assert set(recovered) <= set(waiting)
    assert damaged_files(tmp_path)
    await spool.close()


async def test_events_in_the_write_ahead_log_are_recovered(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    await filled_spool(folder)
    spool = sqlite(folder)
    await spool.open()
    await spool.append([chunk(b"in the log")], [])
    copy = copy_files(folder, tmp_path / "copy")
    await spool.close()
    # The log holds the root page of the chunk table too, but not the pointer map.
    overwrite(copy / NAME, PAGE_SIZE * 9, with_bytes=b"\xa5" * PAGE_SIZE * 3)

    later = sqlite(copy)
    await later.open()
    assert payloads(await read_all(later))[-1] == b"in the log"
    await later.close()


async def test_damage_found_in_use_is_recovered_at_once_and_ids_are_not_reused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    spool = sqlite(folder)
    await spool.open()
    stored = await spool.append([bulk(20, 400) for _ in range(300)], [])
    await spool.close()
    await spool.open()
    connection = spool._connection._store.database.connection  # type: ignore[union-attr]
    connection.release_memory()  # empties the page cache
    overwrite(folder / NAME, *range(PAGE_SIZE * 8, (folder / NAME).stat().st_size - PAGE_SIZE, PAGE_SIZE * 37))

    recovered = await read_all(spool)
    (after,) = await spool.append([chunk(b"after")], [])
    assert after.id > stored[-1].id
    assert damaged_files(folder)
    assert len(recovered) + spool.statistics().dead_letters // 20 > 200
    # Lost chunks can still be acknowledged: the caller may have them in memory.
    await spool.acknowledge(LANE, [item.id for item in stored], [letter()])
    assert await read_all(spool) == [after]
    with pytest.raises(KeyError):
        await spool.acknowledge(LANE, [ChunkId(after.id + 1)])
    await spool.close()
    assert "damaged" in caplog.text


async def test_an_altered_chunk_becomes_dead_letters_and_the_other_chunks_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.append([chunk(b'"one"'), chunk(b'"amount=100"', b'"two"', b'"three"'), chunk(b'"four"')], [])
    await spool.close()
    path = tmp_path / NAME
    overwrite(path, path.read_bytes().index(b"amount=100"), with_bytes=b'amount="00')

    await spool.open()
    assert payloads(await read_all(spool)) == [b'"one"', b'"four"']
    dead = [dead_letter for _, dead_letter in await spool.dead_letters()]
    assert [(dead_letter.stage, dead_letter.code, dead_letter.event) for dead_letter in dead] == [
        (Stage.UPLOAD, "spool_corrupt", None),
        (Stage.UPLOAD, "spool_corrupt", b'"two"'),
        (Stage.UPLOAD, "spool_corrupt", b'"three"'),
    ]
    assert (spool.statistics().events, spool.statistics().dead_letters) == (2, 3)
    assert "spool_corrupt" in caplog.text
    assert damaged_files(tmp_path) == []
    await spool.close()


async def test_the_dead_letters_of_an_altered_chunk_have_the_ids_of_its_events(tmp_path: Path) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.append([chunk(b'{"event_id":"m1","custom_data":{"order_id":"1001"}}', b'{"value":100}')], [])
    await spool.close()
    path = tmp_path / NAME
    overwrite(path, path.read_bytes().index(b'"value":100'), with_bytes=b'"value":999')

    await spool.open()
    assert await read_all(spool) == []
    dead = [dead_letter for _, dead_letter in await spool.dead_letters()]
    assert [(each.code, each.message_id, each.order_id) for each in dead] == [
        ("spool_corrupt", "m1", "1001"),
        ("spool_corrupt", None, None),
    ]
    await spool.close()


@pytest.mark.parametrize("field", ["message_id", "order_id"])
async def test_an_altered_id_of_a_dead_letter_is_found(tmp_path: Path, field: str) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.append([], [letter(1, **{field: "the altered ID"})])
    await spool.close()
    path = tmp_path / NAME
    overwrite(path, path.read_bytes().index(b"the altered ID"), with_bytes=b"THE")

    assert verify(path).faults == ("dead letter 1: the checksum differs",)
    await spool.open()
    ((_, altered),) = await spool.dead_letters()
    assert (altered.code, altered.message_id, altered.order_id) == ("spool_corrupt", None, None)
    await spool.close()


async def test_an_altered_dead_letter_is_listed_without_its_event(tmp_path: Path) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.append([], [letter(1, event=b'"this event"'), letter(2)])
    await spool.close()
    path = tmp_path / NAME
    overwrite(path, path.read_bytes().index(b"this event"), with_bytes=b"THIS")

    await spool.open()
    (_, altered), (_, intact) = await spool.dead_letters()
    assert (altered.code, altered.event, altered.destination) == ("spool_corrupt", None, "store")
    assert intact == letter(2)
    await spool.close()


@pytest.mark.parametrize("instant", ["copied", "moved", "log moved"])
async def test_an_interrupted_recovery_is_finished_by_the_next_start(
    instant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await filled_spool(tmp_path)
    path = tmp_path / NAME
    overwrite(path, 100)
    overwrite(tmp_path / f"{NAME}-wal", 0, with_bytes=b"an unreadable log")
    original_rename = Path.rename
    remaining_renames = {"copied": 0, "moved": 1, "log moved": 2}[instant]

    def rename(self: Path, target: Path) -> Path:
        nonlocal remaining_renames
        if not remaining_renames:
            raise KeyboardInterrupt
        remaining_renames -= 1
        return original_rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            recover_file(path)

    spool = sqlite(tmp_path)
    await spool.open()
    assert payloads(await read_all(spool)) == waiting
    assert not (tmp_path / f"{NAME}.recovered").exists()
    assert damaged_files(tmp_path)
    await spool.close()


async def test_a_spool_of_a_newer_version_is_rejected_and_not_changed(tmp_path: Path) -> None:
    await filled_spool(tmp_path)
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / NAME).read_bytes()

    with pytest.raises(SpoolUnavailable, match="has format 99"):
        await sqlite(tmp_path).open()
    assert (tmp_path / NAME).read_bytes() == before
    assert damaged_files(tmp_path) == []


async def test_a_spool_with_another_page_size_is_rejected_and_not_changed(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute(f"PRAGMA page_size = {2 * PAGE_SIZE}")
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.close()
    with pytest.raises(SpoolUnavailable, match=f"pages of {2 * PAGE_SIZE} bytes"):
        await sqlite(tmp_path).open()
    assert damaged_files(tmp_path) == []


async def test_a_database_of_another_program_is_rejected_and_not_changed(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("CREATE TABLE theirs(x)")
    connection.close()
    with pytest.raises(SpoolUnavailable, match="another program"):
        await sqlite(tmp_path).open()
    assert damaged_files(tmp_path) == []


async def test_verify_counts_intact_rows_and_reports_damaged_ones(tmp_path: Path) -> None:
    await filled_spool(tmp_path)
    path = tmp_path / NAME
    intact = verify(path)
    assert (intact.events, intact.dead_letters, intact.faults) == (601, 60, ())

    overwrite(path, path.read_bytes().index(b'"other"'), with_bytes=b'"OTHER"')
    altered = verify(path)
    assert (altered.events, altered.dead_letters) == (600, 60)
    assert len(altered.faults) == 1
    assert "checksum" in altered.faults[0]

    overwrite(path, 0)
    assert verify(path).faults == ("file is not a database",)
    assert verify(path).events == 0


async def test_verify_and_recover_fail_for_a_spool_in_use_or_a_missing_one(tmp_path: Path) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    with pytest.raises(SpoolUnavailable, match="in use"):
        verify(tmp_path / NAME)
    with pytest.raises(SpoolUnavailable, match="in use"):
        recover_file(tmp_path / NAME)
    await spool.close()
    with pytest.raises(SpoolUnavailable, match=r"the spool .* does not exist"):
        verify(tmp_path / "none.sqlite")
    with pytest.raises(SpoolUnavailable, match=r"the directory .* does not exist"):
        verify(tmp_path / "none" / NAME)


async def test_recover_file_copies_an_intact_spool_completely(tmp_path: Path) -> None:
    waiting = await filled_spool(tmp_path)
    result = recover_file(tmp_path / NAME)
    assert (result.events, result.dead_letters) == (601, 60)
    assert result.aside.exists()
    spool = sqlite(tmp_path)
    await spool.open()
    assert payloads(await spool.read(LANE, START, ALL, ALL)) == waiting
    await spool.close()


def test_rows_with_arbitrary_values_are_recovered_or_skipped() -> None:
    rng = Random(3)
    lane = b'["store","1","tag"]'
    values = [
        None,
        0,
        1,
        -1,
        2**62,
        1.5,
        math.inf,
        math.nan,
        b"",
        b"\xff\0",
        b'{"n":1}',
        lane,
        b'"abc"',
        b"[1,2,3]",
        "text",
    ]
    recovered = 0
    for columns in (7, 9):
        for _ in range(20_000):
            record = [rng.choice(values) for _ in range(columns)]
            with suppress(DamagedRow):
                recovered += len(list(_recovered_rows(rng.choice([1, 2**40]), record, START)))
    assert recovered > 100, "too few rows passed as chunks or dead letters"


def test_no_chunk_is_recovered_from_random_pages(tmp_path: Path) -> None:
    rng = Random(4)
    for number in range(150):
        path = tmp_path / f"{number}.sqlite"
        pages = [
            bytes([0x0D]) + b"\0\0" + bytes([0, rng.randrange(200)]) + rng.randbytes(PAGE_SIZE - 5) for _ in range(6)
        ]
        path.write_bytes(b"".join(pages))
        assert not any(isinstance(row, StoredChunk) for row in read_pages(path, START))
