"""Texts that senders, Meta or a server chose cannot drive the terminal, start a line or change the order of a text."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.config import load
from gateway.model import Chunk, DeadLetter, Lane, Stage
from gateway.spool import create_spool
from tests.cli.conftest import Run

CONTROLS = "\x08\x0b\x0c\x7f\x85\x9b31m\u2028\u2029"
BIDIRECTIONAL = "\u202eevil\u2066\u200f\ufeff"
HOSTILE = f"\x1b[2J\x1b]0;title\x07\r\nFORGED{CONTROLS}{BIDIRECTIONAL}[bold]x[/]:smile:"
ALLOWED_SPACE = {"\n"}


def assert_harmless(done: Result) -> None:
    """Every line is printable, and no line starts with a text of the attacker."""
    assert "FORGED" in done.output, "the text is shown"
    for char in done.output:
        assert char.isprintable() or char in ALLOWED_SPACE, f"{char!r} in {done.output!r}"
    assert not [line for line in done.output.splitlines() if line.startswith("FORGED")]


@pytest.fixture
def _spool(config: Path) -> None:
    """A spool whose lanes and dead letters have hostile texts in all fields."""
    settings = load(config, {})
    lane = Lane("store", "1148872185708962", HOSTILE)
    orphan = Lane(HOSTILE, HOSTILE, HOSTILE)
    event = json.dumps({"event_name": HOSTILE, "event_time": int(time.time())}, ensure_ascii=False).encode()

    async def fill() -> None:
        spool = create_spool(settings.spool, time.time)
        await spool.open()
        await spool.append(
            [Chunk(each, 1, 2_000_000_000, event) for each in (lane, orphan)],
            [
                DeadLetter(
                    Stage.UPLOAD,
                    HOSTILE,
                    HOSTILE,
                    each.destination,
                    HOSTILE,
                    each,
                    time.time() - 9,
                    1,
                    None,
                    body,
                    message_id=HOSTILE,
                    order_id=HOSTILE,
                )
                for each, body in ((lane, event), (orphan, None))
            ],
        )
        await spool.close()

    asyncio.run(fill())


@pytest.mark.usefixtures("_spool")
@pytest.mark.parametrize(
    "arguments",
    [
        ["spool", "lanes"],
        ["spool", "lanes", "--json"],
        ["spool", "export", "--destination", "store"],
        ["spool", "export", "--destination", HOSTILE],
        ["dead-letters", "list"],
        ["dead-letters", "list", "--json"],
        ["dead-letters", "show", "1"],
        ["dead-letters", "export"],
        ["check"],
        ["check", "--json"],
    ],
    ids=" ".join,
)
def test_texts_in_the_spool_are_escaped(run: Run, arguments: list[str]) -> None:
    assert_harmless(run(*arguments))


@pytest.mark.usefixtures("_spool")
def test_json_keeps_the_texts(run: Run) -> None:
    rows = [json.loads(line) for line in run("spool", "lanes", "--json").stdout.splitlines()]
    assert {row["upload_tag"] for row in rows} == {HOSTILE}
    assert {row["lane"] for row in rows} == {str(Lane(row["destination"], row["event_set"], HOSTILE)) for row in rows}
    letters = [json.loads(line) for line in run("dead-letters", "export").stdout.splitlines()]
    assert [(letter["code"], letter["message"], letter["source"]) for letter in letters] == [(HOSTILE,) * 3] * 2
    assert json.loads(letters[0]["event"])["event_name"] == HOSTILE
    exported = run("spool", "export", "--destination", "store").stdout.splitlines()
    assert [json.loads(line)["event"]["event_name"] for line in exported] == [HOSTILE]


@pytest.mark.usefixtures("_spool")
def test_the_log_name_of_a_lane_and_its_upload_tag_are_shown(run: Run) -> None:
    (line,) = [line for line in run("spool", "lanes").stdout.splitlines() if "  store/" in line]
    assert str(Lane("store", "1148872185708962", HOSTILE)) in line
    assert 'upload tag "\\x1b[2J' in line


EVENT = {
    "type": "track",
    "event": "Order Completed",
    "context": {"traits": {"email": "a@example.com", "firstName": HOSTILE, "city": HOSTILE}},
    "properties": {"total": 3, "order_id": HOSTILE, "upload_tag": HOSTILE, "action_source": HOSTILE},
}


@pytest.mark.parametrize("options", [[], ["--json"], ["--show-values"], ["--json", "--show-values"]], ids=" ".join)
def test_the_explanation_of_a_hostile_event_is_escaped(run: Run, options: list[str]) -> None:
    done = run("explain", "-", *options, stdin=json.dumps(EVENT))
    assert done.exit_code == 0, done.output
    joined = done.output.replace("\n", "")
    assert "FOR" in joined
    for char in done.output:
        assert char.isprintable() or char in ALLOWED_SPACE, repr(char)
    rejected = run("explain", "-", *options, stdin=json.dumps({**EVENT, "event": HOSTILE}))
    assert rejected.exit_code == 1
    assert all(char.isprintable() or char in ALLOWED_SPACE for char in rejected.output)


def test_mapped_and_rejected_events_are_escaped(run: Run) -> None:
    lines = [json.dumps(EVENT, ensure_ascii=False), json.dumps({**EVENT, "event": HOSTILE}), "\x1b[2J"]
    done = run("map", "-", stdin="\n".join(lines))
    assert_harmless(done)
    (mapped,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert mapped["event"]["custom_data"]["order_id"] == HOSTILE
    rejections = [json.loads(line) for line in done.stderr.splitlines()]
    assert [rejection["code"] for rejection in rejections] == ["unmapped_event", "invalid_json"]


class Answer:
    """What the server of `hostile_server` answers."""

    status = 200
    body = b""


@pytest.fixture
def hostile_server() -> Iterator[tuple[str, type[Answer]]]:
    """A server that answers every request with `Answer`."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(Answer.status)
            self.send_header("Content-Length", str(len(Answer.body)))
            self.end_headers()
            self.wfile.write(Answer.body)

        do_GET = do_POST = _answer  # noqa: N815 (names of the base class)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", Answer
    server.shutdown()
    server.server_close()
    thread.join()


def command(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize("body", [HOSTILE.encode(), json.dumps({"code": HOSTILE, "message": HOSTILE}).encode()])
def test_an_error_of_the_admin_port_is_escaped(hostile_server: tuple[str, type[Answer]], body: bytes) -> None:
    url, answer = hostile_server
    answer.status, answer.body = 403, body
    for arguments in (["resume"], ["dead-letters", "list"], ["dead-letters", "replay", "--all"]):
        done = command(*arguments, "--url", url)
        assert done.exit_code == 1
        assert_harmless(done)
        assert len(done.output.splitlines()) == 1


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b'"text"', b"7", b"{"])
def test_a_server_that_is_no_admin_port_is_an_error_that_says_so(
    hostile_server: tuple[str, type[Answer]], body: bytes
) -> None:
    url, answer = hostile_server
    answer.status, answer.body = 200, body
    done = command("resume", "--url", url)
    assert done.exit_code == 1
    assert "is it the admin port of a gateway?" in done.stderr
    assert "Traceback" not in done.output


def test_a_replay_shows_hostile_reasons_escaped(hostile_server: tuple[str, type[Answer]]) -> None:
    url, answer = hostile_server
    answer.status, answer.body = 200, json.dumps({"letters": 1, "events": 1, "kept": {HOSTILE: 1}}).encode()
    assert_harmless(command("dead-letters", "replay", "--all", "--url", url))


def test_a_dead_letter_with_damaged_values_is_listed(hostile_server: tuple[str, type[Answer]]) -> None:
    url, answer = hostile_server
    for at in (None, 1e300, -1e300, "text"):
        letter: dict[str, Any] = {"number": 1, "stage": "upload", "code": HOSTILE, "destination": HOSTILE, "at": at}
        letter |= {"event_set": None, "source": HOSTILE, "message_id": HOSTILE, "order_id": HOSTILE}
        page = {"dead_letters": [letter], "next": None}
        answer.status, answer.body = 200, json.dumps(page).encode()
        done = command("dead-letters", "list", "--url", url)
        assert done.exit_code == 0, done.output
        assert_harmless(done)


def test_errors_and_rejections_of_a_gateway_are_escaped_by_send(
    hostile_server: tuple[str, type[Answer]], tmp_path: Path
) -> None:
    url, answer = hostile_server
    (tmp_path / "events").write_text("{}")
    answer.status, answer.body = 400, HOSTILE.encode()
    assert_harmless(command("send", str(tmp_path / "events"), "--write-key", "k", "--url", url))
    rejection = {"index": 0, "code": HOSTILE, "message": HOSTILE}
    answer.status = 200
    answer.body = json.dumps({"accepted": 0, "ignored": 0, "rejected": [rejection]}).encode()
    assert_harmless(command("send", str(tmp_path / "events"), "--write-key", "k", "--url", url))


def test_a_hostile_rudderstack_export_becomes_settings_without_further_lines(tmp_path: Path) -> None:
    hostile = HOSTILE.replace("\ud800", "") + '"]\n[admin]\nhost = "0.0.0.0"\n'
    export = {
        "accessToken": "token",
        "eventsToIds": [{"from": hostile, "to": "1148872185708962"}],
        "eventsToStandard": [{"from": hostile, "to": hostile}],
        "categoryToContent": [{"from": hostile, "to": hostile}],
        "valueFieldIdentifier": hostile,
        hostile: 1,
    }
    (tmp_path / "export.json").write_text(json.dumps(export))
    done = command("import-rudderstack", str(tmp_path / "export.json"))
    assert done.exit_code == 0, done.output
    assert_harmless(done)
    tree = tomllib.loads(done.stdout)
    assert set(tree) == {"sources", "destinations"}
    assert len(tree["destinations"]) == 1


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("value", ["nan", "inf", "1772366400", "0001-01-01", "1969-12-31T23:59:59", "", "\x1b[2J"])
def test_a_time_that_the_admin_port_would_refuse_is_an_error_of_the_option(run: Run, option: str, value: str) -> None:
    done = run("dead-letters", "discard", option, value)
    assert done.exit_code == 2
    assert f"{option}: invalid value" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.usefixtures("_spool")
@pytest.mark.parametrize(("since", "until", "left"), [("1970-01-01", "1970-01-02", 2), ("2026-01-01", "9999-12-31", 0)])
def test_a_time_filter_selects_the_same_without_a_running_gateway(run: Run, since: str, until: str, left: int) -> None:
    done = run("dead-letters", "discard", "--yes", "--since", since, "--until", until)
    if until == "9999-12-31":
        assert done.exit_code == 2, "beyond the range of the admin port"
        done = run("dead-letters", "discard", "--yes", "--since", since)
    assert done.exit_code == 0, done.output
    assert len(run("dead-letters", "list", "--json").stdout.splitlines()) == left


@pytest.mark.usefixtures("_spool")
def test_an_empty_filter_deletes_nothing(run: Run) -> None:
    done = run("dead-letters", "discard", "--code", "")
    assert done.exit_code == 2
    assert "`code` is empty" in done.stderr
    assert len(run("dead-letters", "list", "--json").stdout.splitlines()) == 2
