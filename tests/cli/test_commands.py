"""The commands as their users type them: what they print, where, and with which exit status."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from gateway.config import load
from gateway.model import Chunk, Lane
from gateway.spool import create_spool
from tests.cli.conftest import Run

SECRET = "EAAB-never-to-be-seen"
EVENT = {
    "type": "track",
    "event": "Order Completed",
    "userId": "u-1",
    "traits": {"email": "Alex@Example.com ", "phone": "(202) 555-0146", "gender": "?"},
    "properties": {"order_id": "1001", "total": 59.9, "currency": "USD"},
}


def add(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def test_check_shows_where_every_event_goes_and_no_secret(run: Run) -> None:
    done = run("check")
    assert done.exit_code == 0
    assert "Order Completed -> Purchase -> 1148872185708962" in done.output
    assert SECRET not in done.output
    assert run("check", "--deny-warnings").exit_code == 0


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ('["1148872185708962"] }', '["my-pixel"] }', "is no event set ID: those are digits"),
        ('api = "conversions"', 'api = "offline"', "which Meta ended in May 2025"),
        ("[spool]", '[spool]\nengine = "memory"', "what waits is lost when the process ends"),
        ('api = "conversions"', 'api = "conversions"\ntest_event_code = "T1"', "test_event_code is on"),
        (
            'api = "conversions"',
            'api = "conversions"\nevents_to_standard = { Signup = ["Lead"] }',
            "Signup becomes Lead, which has no event set",
        ),
        (
            'api = "conversions"',
            'api = "conversions"\nevents_to_standard = { "order completed" = ["Purchase"] }',
            "differs from the built-in 'Order Completed' only in case or spaces",
        ),
        (
            'api = "conversions"',
            'api = "conversions"\nupload.graph_version = "v20.0"',
            "which Meta stopped serving on 2026-09-24",
        ),
    ],
)
def test_check_warns_of_what_would_never_arrive(run: Run, config: Path, old: str, new: str, warning: str) -> None:
    add(config, old, new)
    done = run("check")
    assert done.exit_code == 0
    assert warning in done.stderr
    assert run("check", "--deny-warnings").exit_code == 1
    assert warning in str(json.loads(run("check", "--json").stdout)["warnings"])


def test_bad_settings_end_with_78_and_a_line_for_each_fault(run: Run, config: Path) -> None:
    add(config, "[spool]", "[server]\nprot = 1\nport = 99999\n[spool]")
    done = run("check")
    assert done.exit_code == 78
    assert sorted(line.partition(": ")[2] for line in done.stderr.splitlines()) == [
        "server.port: has 99999; it should be less than or equal to 65535",
        "server.prot: is not a setting; was port meant?",
    ]


def test_explain_shows_for_each_field_the_path_that_won_and_masks_values(run: Run) -> None:
    done = run("explain", "-", "--json", stdin=json.dumps(EVENT))
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    fields = {field["field"]: field for field in told["fields"]}
    assert fields["email"]["path"] == "traits.email"
    assert fields["email"]["tried"] == ["traits.email"]
    assert "lex@" not in done.stdout
    assert fields["gender"]["dropped"]
    assert fields["phone"]["dropped"]
    assert told["uploads"][0]["event_set"] == "1148872185708962"
    shown = run("explain", "-", "--json", "--show-values", stdin=json.dumps(EVENT))
    assert "alex@example.com" in shown.stdout
    table = run("explain", "-", stdin=json.dumps(EVENT)).stdout
    assert "traits.email" in table
    assert "lex@" not in table


def test_explain_says_how_to_mend_a_rejection(run: Run) -> None:
    done = run("explain", "-", "--json", stdin=json.dumps({**EVENT, "event": "Order completed"}))
    assert done.exit_code == 1
    rejection = json.loads(done.stdout)["rejection"]
    assert rejection["code"] == "unmapped_event"
    assert "did you mean 'Order Completed'?" in rejection["message"]
    assert "events_to_standard" in rejection["mend"]


def test_explain_prints_the_compiled_mapper(run: Run) -> None:
    assert "def fast_path(event, now):" in run("explain", "--source").stdout


def test_map_gives_uploads_for_lines_and_rejections_apart(run: Run) -> None:
    lines = [json.dumps(EVENT), "", "{", "[]", json.dumps({**EVENT, "event": "Nobody Mapped This"}), json.dumps(EVENT)]
    done = run("map", "-", stdin="\n".join(lines))
    assert done.exit_code == 1
    uploads = [json.loads(line) for line in done.stdout.splitlines()]
    assert [upload["event"]["event_name"] for upload in uploads] == ["Purchase", "Purchase"]
    refused = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(one["line"], one["code"]) for one in refused] == [
        (3, "invalid_json"),
        (4, "not_an_object"),
        (5, "unmapped_event"),
    ]


RUDDERSTACK = {
    "config": {
        "accessToken": SECRET,
        "eventsToStandard": [{"from": "Signup", "to": "Lead"}, {"from": "Signup", "to": "CompleteRegistration"}],
        "eventsToIds": [{"from": "Lead", "to": "102"}, {"from": "Purchase", "to": "114"}],
        "categoryToContent": [{"from": 'toys "x"', "to": "product"}],
        "valueFieldIdentifier": "properties.price",
        "limitedDataUSage": True,
        "isHashRequired": True,
        "blacklistedEvents": [],
    }
}


def test_a_rudderstack_destination_becomes_settings_that_can_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = tmp_path / "export.json"
    export.write_text(json.dumps(RUDDERSTACK))
    done = CliRunner().invoke(app, ["import-rudderstack", str(export)])
    assert done.exit_code == 0
    assert SECRET not in done.output
    assert "blacklistedEvents has no counterpart" in done.output
    made = tmp_path / "gateway.toml"
    made.write_text(done.output)
    monkeypatch.setenv("META_TOKEN", "token")
    monkeypatch.setenv("GATEWAY_WRITE_KEY", "key")
    destination = load(made, {}).destinations["facebook"]
    assert destination.events_to_standard == {"Signup": ("Lead", "CompleteRegistration")}
    assert destination.standard_to_event_sets == {"Lead": ("102",), "Purchase": ("114",)}
    assert destination.category_to_content_type == {'toys "x"': "product"}
    assert (destination.value_field, destination.limited_data_usage) == ("properties.price", True)


def test_what_is_no_rudderstack_export_is_said(tmp_path: Path) -> None:
    for text in ("{", "{}", "[1]"):
        export = tmp_path / "export.json"
        export.write_text(text)
        done = CliRunner().invoke(app, ["import-rudderstack", str(export)])
        assert done.exit_code == 1
        assert str(export) in done.stderr


def fill(config: Path, *lanes: Lane) -> None:
    settings = load(config, {})

    async def work() -> None:
        spool = create_spool(settings.spool, time.time)
        await spool.open()
        await spool.append([Chunk(lane, 2, 2_000_000_000, b'{"n":1},\n{"n":2}') for lane in lanes], [])
        await spool.close()

    asyncio.run(work())


def test_a_stopped_spool_is_verified_listed_exported_and_emptied(run: Run, config: Path) -> None:
    kept, orphan = Lane("store", "1148872185708962", "t"), Lane("gone", "7", "t")
    fill(config, kept, orphan, orphan)
    assert run("spool", "verify").output == "spool.sqlite: 6 events wait, 0 dead letters are kept, intact\n"
    listed = run("spool", "lanes").output.splitlines()
    assert any("4 events" in line and "gone/7/t  (not in the settings)" in line for line in listed)
    exported = [json.loads(line) for line in run("spool", "export", "--destination", "gone").stdout.splitlines()]
    assert [one["event"]["n"] for one in exported] == [1, 2, 1, 2]
    assert {one["event_set"] for one in exported} == {"7"}
    assert run("spool", "discard", "--destination", "gone", "--yes").output == "discarded 4 events\n"
    assert run("spool", "verify").output == "spool.sqlite: 2 events wait, 0 dead letters are kept, intact\n"


def test_recover_sets_the_file_aside_and_keeps_what_is_readable(run: Run, config: Path) -> None:
    fill(config, Lane("store", "1", "t"))
    done = run("spool", "recover")
    assert done.exit_code == 0, done.output
    assert "rescued 2 events and 0 dead letters" in done.output
    assert run("spool", "verify").output == "spool.sqlite: 2 events wait, 0 dead letters are kept, intact\n"


def test_a_spool_that_is_not_there_is_said(run: Run) -> None:
    done = run("spool", "verify")
    assert done.exit_code == 1
    assert "spool.path" in done.stderr


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_dead_letters_are_not_touched_without_saying_which(run: Run, command: str) -> None:
    done = run("dead-letters", command)
    assert done.exit_code == 2
    assert "--all" in done.stderr


def test_a_time_that_is_none_is_said(run: Run) -> None:
    done = run("dead-letters", "list", "--since", "yesterday")
    assert done.exit_code == 2
    assert "--since has 'yesterday'" in done.stderr


def test_send_tells_what_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.send.TRIES", 1)
    events = tmp_path / "events.jsonl"
    events.write_text(json.dumps(EVENT) + "\n")
    done = CliRunner().invoke(app, ["send", str(events), "--write-key", "k", "--url", "http://127.0.0.1:9"])
    assert done.exit_code == 1
    assert "does not answer" in done.stderr


def test_help_loads_no_room() -> None:
    """Start-up counts: a command imports what it needs when it runs."""
    script = (
        "import sys; from gateway.cli import app\n"
        "heavy = ['aiohttp', 'orjson', 'pydantic', 'apsw', 'phonenumbers', 'pycountry', 'uvloop', 'rich.table']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    ["serve", "check", "explain", "map", "send", "import-rudderstack", "sandbox", "demo", "dead-letters", "spool"],
)
def test_every_command_explains_itself(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) > 5
