import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.record_file import PAGE_SIZE, RecordFile, RecordsUnavailable

SCHEMA = "CREATE TABLE note(text TEXT)"


def record_file(path: Path | None, schema: str = SCHEMA, max_bytes: int = 2**20) -> RecordFile:
    return RecordFile(path, schema, max_bytes=max_bytes)


def adding(text: str) -> Callable[[sqlite3.Connection], None]:
    def add(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO note VALUES (?)", (text,))

    return add


def notes(connection: sqlite3.Connection) -> list[str]:
    return [text for (text,) in connection.execute("SELECT text FROM note")]


async def test_records_are_there_after_a_restart(tmp_path: Path) -> None:
    for text in ("one", "two"):
        file = record_file(tmp_path / "a.sqlite")
        await file.run(adding(text))
        await file.close()
    file = record_file(tmp_path / "a.sqlite")
    assert await file.run(notes) == ["one", "two"]
    await file.close()
    assert (tmp_path / "a.sqlite").stat().st_mode & 0o777 == 0o600


async def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    file = record_file(tmp_path / "a.sqlite")

    def fail(connection: sqlite3.Connection) -> None:
        adding("lost")(connection)
        raise ValueError

    with pytest.raises(ValueError):
        await file.run(fail)
    assert await file.run(notes) == []
    await file.close()


@pytest.mark.parametrize("content", [b"no database" * 1000, b"SQLite format 3\0" + b"\xff" * 8000])
async def test_a_damaged_file_is_set_aside(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.sqlite"
    path.write_bytes(content)
    file = record_file(path)
    with pytest.raises(RecordsUnavailable, match="damaged"):
        await file.run(notes)
    await file.run(adding("new"))
    assert await file.run(notes) == ["new"]
    await file.close()
    assert (tmp_path / "a.sqlite.damaged").read_bytes() == content
    assert len(caplog.records) == 1


async def test_a_file_with_other_tables_is_set_aside(tmp_path: Path) -> None:
    old = record_file(tmp_path / "a.sqlite", "CREATE TABLE note(text TEXT, at REAL)")
    await old.run(lambda _: None)
    await old.close()
    file = record_file(tmp_path / "a.sqlite")
    assert await file.run(notes) == []
    await file.close()
    assert (tmp_path / "a.sqlite.damaged").exists()


async def test_a_locked_file_is_reported_once_and_tried_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **options: connect(*args, **{**options, "timeout": 0}))
    owner = record_file(tmp_path / "a.sqlite")
    await owner.run(adding("theirs"))
    file = record_file(tmp_path / "a.sqlite")
    for _ in range(3):
        with pytest.raises(RecordsUnavailable, match="locked"):
            await file.run(notes)
        file._retry_at = 0.0
    await owner.close()
    assert await file.run(notes) == ["theirs"]
    await file.close()
    assert [record.levelname for record in caplog.records if record.levelno > 20] == ["WARNING"]


async def test_a_file_never_exceeds_its_limit(tmp_path: Path) -> None:
    file = record_file(tmp_path / "a.sqlite", max_bytes=64 * PAGE_SIZE)

    async def fill() -> None:
        while True:
            await file.run(adding("x" * PAGE_SIZE))

    with pytest.raises(RecordsUnavailable, match="full"):
        await fill()
    assert len(await file.run(notes)) > 20
    await file.close()
    assert (tmp_path / "a.sqlite").stat().st_size <= 64 * PAGE_SIZE


async def test_records_without_a_path_are_in_memory() -> None:
    file = record_file(None)
    await file.run(adding("one"))
    assert await file.run(notes) == ["one"]
    await file.close()


async def test_after_the_end_nothing_is_written_and_the_reason_is_clear(tmp_path: Path) -> None:
    file = record_file(tmp_path / "a.sqlite")
    await file.run(adding("one"))
    await file.close()
    await file.close()
    with pytest.raises(RecordsUnavailable, match="stopping"):
        await file.run(adding("two"))
