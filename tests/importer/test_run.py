"""Runs: progress, rejected rows, interruptions, and files that were changed in between."""

from __future__ import annotations

import asyncio
import csv
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gateway.importer import backfill, run
from gateway.importer.backfill import Observation, Target, import_file
from gateway.importer.client import CONNECTIONS
from gateway.importer.progress import Progress, ProgressFile
from gateway.importer.rejected import RejectedFile
from gateway.model import GatewayError
from tests.importer.fake_gateway import Answer, FakeGateway
from tests.importer.files import codes, plan, sale, write


@contextmanager
def unseen(_: Observation) -> Iterator[Callable[[], None]]:
    yield lambda: None


async def imported(name: str, gateway: FakeGateway, **changes: object) -> Progress:
    target = Target(gateway.url, "wk", give_up_after=0.0)
    with closing(plan(name, **changes)) as planned:
        return await import_file(planned, target, unseen)


def counts(progress: Progress) -> tuple[int, int, int, int]:
    return progress.rows, progress.accepted, progress.rejected, progress.skipped


def rejected(name: str) -> list[list[str]]:
    with Path(f"{name}.rejected.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def orders(gateway: FakeGateway) -> list[str]:
    return [call["properties"]["order_id"] for batch in gateway.batches for call in batch]


async def test_every_row_is_sent_once_and_bad_rows_are_written_with_their_columns(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1), sale(2, event_time="soon"), sale(3, order_id="bad-3"), "a,b", sale(5))
    async with FakeGateway() as gateway:
        progress = await imported(name, gateway)
    assert counts(progress) == (5, 2, 3, 0)
    assert progress.is_complete
    header, time, order, columns = rejected(name)
    assert header[:3] == ["rejected_line", "rejected_code", "rejected_reason"]
    assert header[3:] == ["email", "event_time", "value", "currency", "order_id"]
    assert (time[0], time[1], time[3:]) == ("3", "bad_time", sale(2, event_time="soon").split(","))
    assert order[:3] == ["4", "bad_order", "The order is bad."]
    assert (columns[0], columns[1], columns[3:]) == ("5", "wrong_columns", ["a", "b"])


async def test_a_file_that_is_complete_is_not_sent_again(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1))
    async with FakeGateway() as gateway:
        await imported(name, gateway)
        assert (await imported(name, gateway)).is_complete
    assert orders(gateway) == ["o-1"]


async def test_a_run_continues_after_the_rows_that_are_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "BATCH_ROWS", 10)
    name = write(tmp_path, *(sale(number, order_id=f"bad-{number}") for number in range(200)))
    accepted = 5
    async with FakeGateway() as gateway:
        gateway.on_request = lambda: gateway.answers.append(Answer(401)) if len(gateway.batches) > accepted else None
        with pytest.raises(GatewayError, match="status 401"):
            await imported(name, gateway)
        done = rejected(name)[1:]
        assert 0 < len(done) < 200
        gateway.answers.clear()
        gateway.on_request = lambda: None
        gateway.batches.clear()
        progress = await imported(name, gateway)
    assert counts(progress) == (200, 0, 200, 0)
    assert orders(gateway)[0] == f"bad-{len(done)}"
    assert [row[0] for row in rejected(name)[1:]] == [str(line) for line in range(2, 202)]


async def test_rejected_rows_after_the_saved_progress_are_not_kept_twice(tmp_path: Path) -> None:
    name = write(tmp_path, *(sale(number, order_id=f"bad-{number}") for number in range(3)))
    path = Path(f"{name}.rejected.csv")
    async with FakeGateway(Answer(401)) as gateway:
        with pytest.raises(GatewayError):
            await imported(name, gateway)
        path.write_text("rows that a killed run wrote after its last progress\n")
        progress = await imported(name, gateway)
    assert counts(progress) == (3, 0, 3, 0)
    assert [row[0] for row in rejected(name)[1:]] == ["2", "3", "4"]


async def test_rejected_rows_that_somebody_edits_are_not_overwritten(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1))
    path = Path(f"{name}.rejected.csv")
    async with FakeGateway(Answer(401)) as gateway:
        with pytest.raises(GatewayError):
            await imported(name, gateway)
        path.write_text("edited")
        later = Path(f"{name}.backfill").stat().st_mtime + 60
        os.utime(path, (later, later))
        with pytest.raises(GatewayError, match="was changed since the import was stopped; move it away"):
            await imported(name, gateway)
    assert path.read_text() == "edited"


async def test_rejected_rows_of_an_earlier_import_are_not_overwritten(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1))
    Path(f"{name}.rejected.csv").write_text("of another import")
    async with FakeGateway() as gateway:
        with pytest.raises(GatewayError, match="exists; import it, or move it away"):
            await imported(name, gateway)
    assert gateway.batches == []


async def test_corrected_rows_can_be_imported_with_formulas_as_they_were(tmp_path: Path) -> None:
    formulas = ["=1+1", "+49 30 1234", "-x", "@x", "'=x", "'quoted"]
    name = write(tmp_path, *(sale(1, event_time="soon", order_id=order) for order in formulas))
    async with FakeGateway() as gateway:
        await imported(name, gateway)
        path = Path(f"{name}.rejected.csv")
        assert [row[-1] for row in rejected(name)[1:]] == [
            *("'=1+1", "'+49 30 1234", "'-x", "'@x", "''=x", "'quoted"),
        ]
        path.write_text(path.read_text(encoding="utf-8-sig").replace("soon", "2026-11-01T10:00:00Z"), encoding="utf-8")
        progress = await imported(str(path), gateway)
    assert counts(progress) == (6, 6, 0, 0)
    assert orders(gateway) == formulas


async def test_rejected_lines_of_ndjson_can_be_corrected_and_imported(tmp_path: Path) -> None:
    path = tmp_path / "sales.ndjson"
    good = '{"email":"a@example.com","event_time":"2026-11-01T10:00:00Z","order_id":"o-1"}'
    path.write_text(f"{good}\n{good.replace('2026-11-01T10:00:00Z', 'soon')}\n{{broken\n")
    async with FakeGateway() as gateway:
        assert counts(await imported(str(path), gateway)) == (3, 1, 2, 0)
        file = Path(f"{path}.rejected.csv")
        file.write_text(file.read_text(encoding="utf-8-sig").replace("soon", "2026-11-02T10:00:00Z"))
        assert codes(str(file)) == ["sent", "invalid_json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda name: write(Path(name).parent, sale(1), sale(2)), "then the file was changed"),
        (lambda name: Path(f"{name}.toml").write_text('event = "Other sale"'), "with other import settings"),
    ],
    ids=["content", "settings"],
)
async def test_a_changed_file_or_other_settings_are_refused(
    tmp_path: Path, change: Callable[[str], object], message: str
) -> None:
    name = write(tmp_path, sale(1))
    async with FakeGateway() as gateway:
        await imported(name, gateway)
        change(name)
        with pytest.raises(GatewayError, match=message):
            await imported(name, gateway)
        assert len(gateway.batches) == 1


async def test_another_gateway_or_write_key_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1))
    async with FakeGateway() as gateway:
        await imported(name, gateway)
        with closing(plan(name)) as planned:
            with pytest.raises(GatewayError, match=f"into {gateway.url}. Give --url"):
                await import_file(planned, Target("http://127.0.0.1:1", "wk"), unseen)
            with pytest.raises(GatewayError, match="with another write key"):
                await import_file(planned, Target(gateway.url, "other"), unseen)


async def test_a_progress_file_that_is_none_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1))
    Path(f"{name}.backfill").write_text("{}")
    async with FakeGateway() as gateway:
        with pytest.raises(GatewayError, match="is no progress of an import"):
            await imported(name, gateway)


@pytest.mark.parametrize(("owner", "method"), [(ProgressFile, "save"), (RejectedFile, "write"), (RejectedFile, "sync")])
async def test_a_full_disk_stops_the_import_and_the_next_run_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, method: str
) -> None:
    name = write(tmp_path, *(sale(number, order_id=f"bad-{number}") for number in range(3)))
    writes = []
    original = getattr(owner, method)

    def fail_after_the_first(*arguments: object) -> object:
        writes.append(method)
        if len(writes) > (method != "write"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(*arguments)

    async with FakeGateway() as gateway:
        monkeypatch.setattr(owner, method, fail_after_the_first)
        with pytest.raises(GatewayError, match="No space left on device; check the disk"):
            await imported(name, gateway)
        monkeypatch.undo()
        progress = await imported(name, gateway)
    assert counts(progress) == (3, 0, 3, 0)
    assert [row[0] for row in rejected(name)[1:]] == ["2", "3", "4"]


async def test_a_folder_that_cannot_be_written_is_noticed_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(ProgressFile, "save", refuse)
    async with FakeGateway() as gateway:
        with pytest.raises(GatewayError, match="Permission denied; the progress is kept beside the file"):
            await imported(write(tmp_path, sale(1)), gateway)
    assert gateway.batches == []


async def test_stopping_finishes_the_requests_in_flight_and_saves_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write(tmp_path, *(sale(number) for number in range(5000)))
    stops: list[asyncio.Event] = []

    @contextmanager
    def remember(stop: asyncio.Event) -> Iterator[None]:
        stops.append(stop)
        yield

    monkeypatch.setattr(backfill, "stopped_by_signals", remember)
    async with FakeGateway() as gateway:

        def stop_all() -> None:
            for stop in stops:
                stop.set()

        gateway.on_request = stop_all
        progress = await imported(name, gateway)
        assert not progress.is_complete
        assert 0 < progress.rows <= 100 * CONNECTIONS
        assert progress.rows == progress.accepted == len(orders(gateway))
        gateway.on_request = lambda: None
        assert counts(await imported(name, gateway)) == (5000, 5000, 0, 0)
    assert sorted(orders(gateway)) == sorted(f"o-{number}" for number in range(5000))


async def test_message_ids_do_not_depend_on_where_a_run_begins(tmp_path: Path) -> None:
    name = write(tmp_path, *(sale(number) for number in range(300)))
    async with FakeGateway(respond=lambda _: Answer(401)) as gateway:
        with pytest.raises(GatewayError):
            await imported(name, gateway)
        in_doubt = {call["messageId"] for batch in gateway.batches for call in batch}
        sent = FakeGateway()
        gateway.respond = sent.respond
        gateway.batches.clear()
        await imported(name, gateway)
        assert in_doubt <= {call["messageId"] for batch in gateway.batches for call in batch}
    assert in_doubt
