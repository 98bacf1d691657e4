"""A damaged file is told at the start or when the damage is met, set aside, and what is readable goes on."""

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
from gateway.spool.sqlite.recovery.page_reader import _intact_rows, read_pages
from gateway.spool.sqlite.rows import DamagedRow
from gateway.spool.sqlite.schema import APPLICATION_ID, PAGE_SIZE, SCHEMA, VERSION
from tests.spool.builders import ALL, LANE, NAME, OTHER, START, bulk, chunk, crash, everything, letter, payloads, sqlite


async def furnished(folder: Path, chunks: int = 40) -> list[bytes]:
    """A closed spool with chunks in two lanes, dead letters, and free pages that hold what was settled."""
    spool = sqlite(folder)
    await spool.open()
    stored = await spool.append([bulk(20, 300 + number) for number in range(chunks)], [letter(n) for n in range(60)])
    await spool.append([chunk(b'"other"', lane=OTHER)], [])
    await spool.acknowledge(LANE, [one.id for one in stored[5:15]])
    await spool.close()
    return payloads([*stored[:5], *stored[15:]])


def spoil(path: Path, *offsets: int, with_bytes: bytes = b"\xa5" * 64) -> None:
    path.touch()
    with path.open("r+b") as file:
        for offset in offsets:
            file.seek(offset)
            file.write(with_bytes)


def remove(path: Path) -> None:
    path.unlink()


def set_aside(folder: Path, suffix: str = "Z") -> list[Path]:
    return sorted(folder.glob(f"*.damaged-*{suffix}"))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "the first bytes": lambda path: spoil(path, 0),
    "the whole first page": lambda path: spoil(path, 0, with_bytes=b"\0" * PAGE_SIZE),
    "the tables' names": lambda path: spoil(path, 100),
    "a page map": lambda path: spoil(path, PAGE_SIZE, with_bytes=b"\xff" * 500),
    "no database at all": lambda path: spoil(path, 0, with_bytes=os.urandom(1_000_000)),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_where_the_file_begins_costs_no_event(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await furnished(tmp_path)
    DAMAGES[damage](tmp_path / NAME)

    spool = sqlite(tmp_path)
    backlogs = await spool.open()

    (aside,) = set_aside(tmp_path)
    assert str(aside) in caplog.text
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    if damage != "no database at all":
        assert payloads(await everything(spool)) == kept
        assert payloads(await everything(spool, OTHER)) == [b'"other"']
        assert [one for _, one in await spool.dead_letters()] == [letter(n) for n in range(60)]
        assert sum(backlog.events for backlog in backlogs) == 30 * 20 + 1
        assert spool.statistics().dead_letters == 60
    (stored,) = await spool.append([chunk(b"new")], [])
    assert (await everything(spool))[-1] == stored
    await spool.close()
    assert verify(tmp_path / NAME).faults == ()


@pytest.mark.parametrize("seed", range(12))
async def test_damage_anywhere_costs_what_it_hit_and_intake_goes_on(seed: int, tmp_path: Path) -> None:
    kept = await furnished(tmp_path)
    path = tmp_path / NAME
    random = Random(seed)
    spoil(path, *(random.randrange(path.stat().st_size - 64) for _ in range(3)))

    spool = sqlite(tmp_path)
    await spool.open()
    found = payloads(await everything(spool))
    dead = [one for _, one in await spool.dead_letters(limit=10_000)]
    (stored,) = await spool.append([chunk(b"new")], [])

    # Three places hold at most three chunks, or leaves with two dozen rows each.
    assert len(set(kept) - set(found)) <= 3 * 24
    assert set(found) <= set(kept), "nothing that was settled comes back, and nothing altered is believed"
    assert [one for one in dead if one.code != "spool_corrupt"] == [
        one for one in (letter(n) for n in range(60)) if one in dead
    ]
    assert (await everything(spool))[-1] == stored
    await spool.acknowledge(LANE, [one.id for one in await everything(spool)])
    assert await everything(spool) == []
    await spool.close()


async def test_a_file_that_was_cut_off_gives_what_is_left_of_it(tmp_path: Path) -> None:
    kept = await furnished(tmp_path)
    path = tmp_path / NAME
    os.truncate(path, path.stat().st_size // 2)

    spool = sqlite(tmp_path)
    await spool.open()
    found = payloads(await everything(spool))
    assert len(found) > 5
    assert set(found) <= set(kept)
    assert set_aside(tmp_path)
    await spool.close()


async def test_the_newest_events_are_rescued_from_the_log_as_well(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    await furnished(folder)
    spool = sqlite(folder)
    await spool.open()
    await spool.append([chunk(b"in the log")], [])
    left = crash(folder, tmp_path / "left")
    await spool.close()
    # The root of the tables' tree is in the log as well; the page map is not.
    spoil(left / NAME, PAGE_SIZE * 9, with_bytes=b"\xa5" * PAGE_SIZE * 3)

    later = sqlite(left)
    await later.open()
    assert payloads(await everything(later))[-1] == b"in the log"
    await later.close()


async def test_damage_that_is_met_while_serving_is_rescued_then_and_ids_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "spool"
    spool = sqlite(folder)
    await spool.open()
    stored = await spool.append([bulk(20, 400) for _ in range(300)], [])
    await spool.close()
    await spool.open()
    connection = spool._connection._store.database.connection  # type: ignore[union-attr]
    connection.release_memory()  # what it knows of the file is read again
    spoil(folder / NAME, *range(PAGE_SIZE * 8, (folder / NAME).stat().st_size - PAGE_SIZE, PAGE_SIZE * 40))

    found = await everything(spool)
    (after,) = await spool.append([chunk(b"after")], [])
    assert after.id > stored[-1].id
    assert len(found) + spool.statistics().dead_letters // 20 > 200
    # Those that nobody could read any more may still be settled: the caller has them.
    await spool.acknowledge(LANE, [one.id for one in stored], [letter()])
    assert await everything(spool) == [after]
    with pytest.raises(KeyError):
        await spool.acknowledge(LANE, [ChunkId(after.id + 1)])
    await spool.close()
    assert "damaged" in caplog.text


async def test_a_chunk_that_the_disk_altered_becomes_dead_letters_and_the_lane_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.append([chunk(b'"one"'), chunk(b'"amount=100"', b'"two"', b'"three"'), chunk(b'"four"')], [])
    await spool.close()
    path = tmp_path / NAME
    spoil(path, path.read_bytes().index(b"amount=100"), with_bytes=b'amount="00')

    await spool.open()
    assert payloads(await everything(spool)) == [b'"one"', b'"four"']
    found = [one for _, one in await spool.dead_letters()]
    assert [(one.stage, one.code, one.event) for one in found] == [
        (Stage.UPLOAD, "spool_corrupt", None),
        (Stage.UPLOAD, "spool_corrupt", b'"two"'),
        (Stage.UPLOAD, "spool_corrupt", b'"three"'),
    ]
    assert (spool.statistics().events, spool.statistics().dead_letters) == (2, 3)
    assert "spool_corrupt" in caplog.text
    assert set_aside(tmp_path) == []
    await spool.close()


async def test_a_dead_letter_that_the_disk_altered_is_listed_without_its_event(tmp_path: Path) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    await spool.append([], [letter(1, event=b'"this event"'), letter(2)])
    await spool.close()
    path = tmp_path / NAME
    spoil(path, path.read_bytes().index(b"this event"), with_bytes=b"THIS")

    await spool.open()
    (_, altered), (_, whole) = await spool.dead_letters()
    assert (altered.code, altered.event, altered.destination) == ("spool_corrupt", None, "store")
    assert whole == letter(2)
    await spool.close()


@pytest.mark.parametrize("instant", ["copied", "moved", "log moved"])
async def test_a_rescue_that_was_interrupted_is_finished_by_the_next_start(
    instant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await furnished(tmp_path)
    path = tmp_path / NAME
    spoil(path, 100)
    spoil(tmp_path / f"{NAME}-wal", 0, with_bytes=b"a log that nobody could read")
    real = Path.rename
    left = {"copied": 0, "moved": 1, "log moved": 2}[instant]

    def rename(self: Path, target: Path) -> Path:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            recover_file(path)

    spool = sqlite(tmp_path)
    await spool.open()
    assert payloads(await everything(spool)) == kept
    assert not (tmp_path / f"{NAME}.rescued").exists()
    assert set_aside(tmp_path)
    await spool.close()


async def test_a_log_whose_database_is_gone_is_kept_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "spool"
    spool = sqlite(folder)
    await spool.open()
    await spool.append([chunk(b"1")], [])
    left = crash(folder, tmp_path / "left")
    await spool.close()
    remove(left / NAME)

    later = sqlite(left)
    assert await later.open() == []
    assert set_aside(left, "-wal")
    assert "has no database" in caplog.text
    await later.close()


async def test_a_spool_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    await furnished(tmp_path)
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / NAME).read_bytes()

    with pytest.raises(SpoolUnavailable, match="has format 99"):
        await sqlite(tmp_path).open()
    assert (tmp_path / NAME).read_bytes() == before
    assert set_aside(tmp_path) == []


async def test_a_spool_with_pages_of_another_size_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute(f"PRAGMA page_size = {2 * PAGE_SIZE}")
        connection.executescript(SCHEMA)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.close()
    with pytest.raises(SpoolUnavailable, match=f"pages of {2 * PAGE_SIZE} bytes"):
        await sqlite(tmp_path).open()
    assert set_aside(tmp_path) == []


async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("CREATE TABLE theirs(x)")
    connection.close()
    with pytest.raises(SpoolUnavailable, match="another program"):
        await sqlite(tmp_path).open()
    assert set_aside(tmp_path) == []


async def test_verify_counts_what_is_sound_and_names_what_is_not(tmp_path: Path) -> None:
    await furnished(tmp_path)
    path = tmp_path / NAME
    sound = verify(path)
    assert (sound.events, sound.dead_letters, sound.faults) == (601, 60, ())

    spoil(path, path.read_bytes().index(b'"other"'), with_bytes=b'"OTHER"')
    altered = verify(path)
    assert (altered.events, altered.dead_letters) == (600, 60)
    assert len(altered.faults) == 1
    assert "checksum" in altered.faults[0]

    spoil(path, 0)
    assert verify(path).faults == ("file is not a database",)
    assert verify(path).events == 0


async def test_verify_and_rescue_leave_a_spool_in_use_alone(tmp_path: Path) -> None:
    spool = sqlite(tmp_path)
    await spool.open()
    with pytest.raises(SpoolUnavailable, match="in use"):
        verify(tmp_path / NAME)
    with pytest.raises(SpoolUnavailable, match="in use"):
        recover_file(tmp_path / NAME)
    await spool.close()
    with pytest.raises(SpoolUnavailable, match="no spool"):
        verify(tmp_path / "none.sqlite")
    with pytest.raises(SpoolUnavailable, match="no folder"):
        verify(tmp_path / "none" / NAME)


async def test_rescue_by_hand_puts_everything_into_a_fresh_file(tmp_path: Path) -> None:
    kept = await furnished(tmp_path)
    done = recover_file(tmp_path / NAME)
    assert (done.events, done.dead_letters) == (601, 60)
    assert done.aside.exists()
    spool = sqlite(tmp_path)
    await spool.open()
    assert payloads(await spool.read(LANE, START, ALL, ALL)) == kept
    await spool.close()


def test_whatever_stands_in_a_row_of_a_spoilt_page_it_is_believed_or_left_out() -> None:
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
    found = 0
    for columns in (7, 9):
        for _ in range(20_000):
            record = [rng.choice(values) for _ in range(columns)]
            with suppress(DamagedRow):
                found += len(list(_intact_rows(rng.choice([1, 2**40]), record, START)))
    assert found > 100, "none was even a damaged chunk"


def test_a_file_of_random_pages_is_rescued_without_a_word_of_it_believed(tmp_path: Path) -> None:
    rng = Random(4)
    for number in range(150):
        path = tmp_path / f"{number}.sqlite"
        pages = [
            bytes([0x0D]) + b"\0\0" + bytes([0, rng.randrange(200)]) + rng.randbytes(PAGE_SIZE - 5) for _ in range(6)
        ]
        path.write_bytes(b"".join(pages))
        assert not any(isinstance(row, StoredChunk) for row in read_pages(path, START))
