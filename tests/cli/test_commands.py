"""Output and exit status of the commands."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway import __version__
from gateway.cli import app
from gateway.config import load
from gateway.importer import client
from gateway.mapping.native import describe
from gateway.mapping.native import load as load_native
from gateway.model import Chunk, DeadLetter, Lane, Stage
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


def replace_in(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))


def test_check_prints_the_event_sets_of_each_event_and_no_secret(run: Run) -> None:
    done = run("check")
    assert done.exit_code == 0
    assert "Order Completed -> Purchase -> 1148872185708962" in done.output
    assert SECRET not in done.output
    assert run("check", "--deny-warnings").exit_code == 0


def test_the_version_and_check_say_which_path_maps_events(run: Run) -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"gateway {__version__}\nmapping: {describe()}\n"
    assert f"mapping: {describe()}\n" in run("check").output
    assert json.loads(run("check", "--json").stdout)["mapping"] == describe()


@pytest.mark.skipif(load_native() is None, reason="the native extension was not built")
def test_check_names_destinations_that_the_native_extension_does_not_support(run: Run, config: Path) -> None:
    assert json.loads(run("check", "--json").stdout)["mapped_by_python"] == {}
    setting = 'api = "conversions"\nextra_fields = { email = ["properties.customer.mail"] }'
    replace_in(config, 'api = "conversions"', setting)
    path = "python (`extra_fields` reads an identity inside a property)"
    assert f"  mapping: {path}\n" in run("check").output
    assert json.loads(run("check", "--json").stdout)["mapped_by_python"] == {"store": path}


@pytest.mark.parametrize(
    ("old", "new", "warning"),
    [
        ('api = "conversions"', 'api = "offline"', "which Meta shut down in May 2025"),
        ("[spool]", '[spool]\nengine = "memory"', "waiting events are lost when the process ends"),
        ('api = "conversions"', 'api = "conversions"\ntest_event_code = "T1"', "test_event_code is set"),
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
        (
            'Purchase = ["1148872185708962"]',
            'Purchase = ["1148872185708962", "1148872185718962"]',
            "the ID 1148872185718962 differs in one digit from 1148872185708962; check that it is not mistyped",
        ),
    ],
)
def test_check_warns_about_settings_that_are_probably_mistakes(
    run: Run, config: Path, old: str, new: str, warning: str
) -> None:
    replace_in(config, old, new)
    done = run("check")
    assert done.exit_code == 0
    assert warning in done.stderr
    assert run("check", "--deny-warnings").exit_code == 1
    assert warning in str(json.loads(run("check", "--json").stdout)["warnings"])


@pytest.mark.parametrize(
    "event_sets",
    ['"1148872185708962", "1024592094903800"', '"1", "2"', '"1148872185708962", "11488721857089620"'],
    ids=["different IDs", "short IDs", "IDs of different lengths"],
)
def test_check_does_not_warn_about_event_set_ids_that_are_not_similar(run: Run, config: Path, event_sets: str) -> None:
    replace_in(config, '"1148872185708962"', event_sets)
    assert "warning" not in run("check").output


@pytest.mark.parametrize(
    ("alerts", "line"),
    [
        ("", "alerts: more than 0.05 of 20 or more events of a source rejected in 5 minutes; log only, since"),
        ("rejection_rate = 0.2\nrejection_min_events = 7", "alerts: more than 0.2 of 7 or more events of a source"),
        ("rejection_rate = 1", "alerts: none about rejected events; log only"),
        ('webhook = "https://chat.example/hook"', "rejected in 5 minutes; webhook from "),
    ],
    ids=["defaults", "limits", "off", "webhook"],
)
def test_check_prints_when_rejected_events_cause_an_alert(run: Run, config: Path, alerts: str, line: str) -> None:
    config.write_text(f"{config.read_text()}[alerts]\n{alerts}\n")
    done = run("check")
    assert line in done.output
    assert "chat.example" not in done.output


@pytest.mark.parametrize(
    ("setting", "error"),
    [
        (
            'events_to_standard = { Signup = ["Lead"] }',
            "'Signup' is mapped to Lead, but standard_to_event_sets lists no event set for Lead; it goes nowhere",
        ),
        (
            'events_to_standard = { Sold = ["Purchse"] }',
            "'Sold' is mapped to 'Purchse', which is no standard event of Meta; did you mean 'Purchase'?",
        ),
        (
            'events_to_standard = { Sold = ["add to cart"] }',
            "'Sold' is mapped to 'add to cart', which is no standard event of Meta; did you mean 'AddToCart'?",
        ),
    ],
)
def test_check_reports_standard_events_that_go_nowhere_as_errors(
    run: Run, config: Path, setting: str, error: str
) -> None:
    replace_in(config, 'api = "conversions"', f'api = "conversions"\n{setting}')

    done = run("check")

    assert done.exit_code == 1
    assert error in done.stderr
    report = json.loads(run("check", "--json").stdout)
    assert not report["ok"]
    assert error in str(report["errors"][0])


def test_check_accepts_names_of_the_advertisers_own(run: Run, config: Path) -> None:
    replace_in(config, "{ Purchase =", '{ QualifiedVisit = ["1"], Purchase =')

    assert run("check").exit_code == 0


def test_check_lists_the_events_that_go_nowhere_and_the_consent_of_each_destination(run: Run, config: Path) -> None:
    done = run("check")

    assert "Product Viewed -> ViewContent -> goes nowhere" in done.output
    assert "consent: not looked at" in done.output
    assert json.loads(run("check", "--json").stdout)["consent"] == {"store": None}

    consent = 'consent = { provider = "oneTrust", categories = ["C0004"], resolution = "and" }'
    replace_in(config, 'api = "conversions"', f'api = "conversions"\n{consent}')

    assert "consent: C0004 of oneTrust; none may be denied" in run("check").output


def test_invalid_settings_give_status_78_and_one_line_per_error(run: Run, config: Path) -> None:
    replace_in(config, "[spool]", "[server]\nprot = 1\nport = 99999\n[spool]")
    done = run("check")
    assert done.exit_code == 78
    assert sorted(line.partition(": ")[2] for line in done.stderr.splitlines()) == [
        "server.port: invalid value 99999; expected an integer from 0 to 65535",
        "server.prot: unknown setting; did you mean 'port'?",
    ]


def test_explain_shows_the_path_of_each_value_and_masks_personal_values(run: Run) -> None:
    done = run("explain", "-", "--json", stdin=json.dumps(EVENT))
    assert done.exit_code == 0, done.output
    explanation = json.loads(done.stdout)
    fields = {field["field"]: field for field in explanation["fields"]}
    assert fields["email"]["path"] == "traits.email"
    assert fields["email"]["tried"] == ["traits.email"]
    assert "lex@" not in done.stdout
    assert fields["gender"]["dropped"]
    assert fields["phone"]["dropped"]
    assert explanation["uploads"][0]["event_set"] == "1148872185708962"
    shown = run("explain", "-", "--json", "--show-values", stdin=json.dumps(EVENT))
    assert "alex@example.com" in shown.stdout
    table = run("explain", "-", stdin=json.dumps(EVENT)).stdout
    assert "traits.email" in table
    assert "lex@" not in table


def test_explain_says_how_to_fix_a_rejected_event(run: Run) -> None:
    done = run("explain", "-", "--json", stdin=json.dumps({**EVENT, "event": "Order completed"}))
    assert done.exit_code == 1
    rejection = json.loads(done.stdout)["rejection"]
    assert rejection["code"] == "unmapped_event"
    assert "did you mean 'Order Completed'?" in rejection["message"]
    assert "events_to_standard" in rejection["remedy"]


def test_explain_prints_the_compiled_mapper(run: Run) -> None:
    assert "def fast_path(event, now):" in run("explain", "--source").stdout


def test_map_prints_mapped_events_on_stdout_and_rejections_on_stderr(run: Run) -> None:
    lines = [json.dumps(EVENT), "", "{", "[]", json.dumps({**EVENT, "event": "Unmapped Event"}), json.dumps(EVENT)]
    done = run("map", "-", stdin="\n".join(lines))
    assert done.exit_code == 1
    uploads = [json.loads(line) for line in done.stdout.splitlines()]
    assert [upload["event"]["event_name"] for upload in uploads] == ["Purchase", "Purchase"]
    rejections = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(rejection["line"], rejection["code"]) for rejection in rejections] == [
        (3, "invalid_json"),
        (4, "not_an_object"),
        (5, "unmapped_event"),
    ]


def fill_spool(config: Path, *lanes: Lane) -> None:
    """Store one chunk of two events for each lane."""
    settings = load(config, {})

    async def append() -> None:
        spool = create_spool(settings.spool, time.time)
        await spool.open()
        await spool.append([Chunk(lane, 2, 2_000_000_000, b'{"n":1},\n{"n":2}') for lane in lanes], [])
        await spool.close()

    asyncio.run(append())


def test_the_spool_of_a_stopped_gateway_is_verified_listed_exported_and_discarded(run: Run, config: Path) -> None:
    kept, orphan = Lane("store", "1148872185708962", "t"), Lane("gone", "7", "t")
    fill_spool(config, kept, orphan, orphan)
    assert run("spool", "verify").output == "spool.sqlite: 6 waiting events and 0 dead letters are intact\n"
    listed = run("spool", "lanes").output.splitlines()
    assert any("4 events" in line and 'upload tag "t"  (not in the settings)' in line for line in listed)
    exported = [json.loads(line) for line in run("spool", "export", "--destination", "gone").stdout.splitlines()]
    assert [row["event"]["n"] for row in exported] == [1, 2, 1, 2]
    assert {row["event_set"] for row in exported} == {"7"}
    assert run("spool", "discard", "--destination", "gone", "--yes").output == "discarded 4 events\n"
    assert run("spool", "verify").output == "spool.sqlite: 2 waiting events and 0 dead letters are intact\n"


def test_recover_keeps_the_original_file_and_the_readable_events(run: Run, config: Path) -> None:
    fill_spool(config, Lane("store", "1", "t"))
    done = run("spool", "recover", "--yes")
    assert done.exit_code == 0, done.output
    assert "recovered 2 events and 0 dead letters" in done.output
    assert run("spool", "verify").output == "spool.sqlite: 2 waiting events and 0 dead letters are intact\n"


def test_a_missing_spool_is_an_error_that_names_the_setting(run: Run) -> None:
    done = run("spool", "verify")
    assert done.exit_code == 1
    assert "spool.path" in done.stderr


@pytest.mark.parametrize("command", ["replay", "discard"])
def test_dead_letters_are_replayed_and_discarded_only_with_a_filter_or_all(run: Run, command: str) -> None:
    done = run("dead-letters", command)
    assert done.exit_code == 2
    assert "--all" in done.stderr


def fill_dead_letters(config: Path, *letters: DeadLetter) -> None:
    """Write dead letters into the spool of the settings."""

    async def append() -> None:
        spool = create_spool(load(config, {}).spool, time.time)
        await spool.open()
        await spool.append([], letters)
        await spool.close()

    asyncio.run(append())


def dead_letter(number: int, **changes: Any) -> DeadLetter:
    """The dead letter of an event that Meta refused."""
    lane = Lane("store", "1148872185708962", f"tag{number}")
    event = {"event_time": int(time.time()) - 60, "action_source": "physical_store", "n": number}
    letter = DeadLetter(
        Stage.UPLOAD,
        "event_refused",
        "refused",
        "store",
        None,
        lane,
        time.time() - 30,
        1,
        None,
        json.dumps(event).encode(),
    )
    return replace(letter, message_id=f"m{number}", order_id=f"o{number}", **changes)


def test_dead_letters_are_listed_with_their_ids_and_found_by_them(run: Run, config: Path) -> None:
    fill_dead_letters(config, dead_letter(1), dead_letter(2), replace(dead_letter(3), message_id=None, order_id=None))
    listed = run("dead-letters", "list").stdout.splitlines()
    assert [line.split()[-2:] for line in listed] == [["o1", "m1"], ["o2", "m2"], ["-", "-"]]
    for option in (["--order-id", "o2"], ["--message-id", "m2"], ["--order-id", "o2", "--message-id", "m2"]):
        (exported,) = run("dead-letters", "export", *option).stdout.splitlines()
        assert (json.loads(exported)["order_id"], json.loads(exported)["message_id"]) == ("o2", "m2")
    assert json.loads(run("dead-letters", "show", "1").stdout)["order_id"] == "o1"
    assert run("dead-letters", "discard", "--order-id", "o2", "--yes").stdout == "discarded 1 dead letters\n"
    assert len(run("dead-letters", "list").stdout.splitlines()) == 2


def test_a_filter_that_matches_nothing_says_so_and_an_unknown_code_lists_the_existing_ones(
    run: Run, config: Path
) -> None:
    assert run("dead-letters", "list").stderr == "there are no dead letters\n"
    fill_dead_letters(config, dead_letter(1), dead_letter(2), dead_letter(3, code="expired"))
    for command in (["list"], ["list", "--json"], ["export"], ["replay"], ["discard"]):
        done = run("dead-letters", *command, "--order-id", "o7")
        assert (done.exit_code, done.stderr) == (0, "no dead letters match\n")
        done = run("dead-letters", *command, "--code", "nope")
        assert done.stderr == (
            "no dead letters match\n"
            "no dead letter has the code 'nope'; existing codes: event_refused (2), expired (1)\n"
        )
        done = run("dead-letters", *command, "--code", "expired", "--order-id", "o1")
        assert done.stderr == "no dead letters match\n"
    assert run("dead-letters", "list", "--code", "nope", "--json").stdout == ""


@pytest.mark.parametrize(("workers", "lanes"), [(1, 2), (2, 1)], ids=["one process", "its share of two"])
def test_a_replay_on_a_stopped_gateway_keeps_to_the_limit_of_lanes(
    run: Run, config: Path, workers: int, lanes: int
) -> None:
    replace_in(config, "[spool]", f"[server]\nworkers = {workers}\n[spool]\nmax_lanes = 2")
    fill_dead_letters(config, *(dead_letter(number) for number in range(5)))
    assert "replayed 5 dead letters as 5 events; 0 not replayed" in run("dead-letters", "replay", "--all").stdout
    rows = [json.loads(line) for line in run("spool", "lanes", "--json").stdout.splitlines()]
    tags = {row["upload_tag"] for row in rows}
    assert tags == {*(f"tag{number}" for number in range(lanes)), "RudderStack"}


def test_an_invalid_time_is_an_error_that_shows_a_valid_one(run: Run) -> None:
    done = run("dead-letters", "list", "--since", "yesterday")
    assert done.exit_code == 2
    assert "--since: invalid value 'yesterday'; expected a time from 1970 on, such as" in done.stderr


def test_send_reports_a_gateway_that_it_cannot_connect_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.send.GIVE_UP_AFTER", 0.0)
    events = tmp_path / "events.jsonl"
    events.write_text(json.dumps(EVENT) + "\n")
    done = CliRunner().invoke(app, ["send", str(events), "--write-key", "k", "--url", "http://127.0.0.1:9"])
    assert done.exit_code == 1
    assert "cannot connect to http://127.0.0.1:9" in done.stderr


def test_send_ends_within_seconds_if_there_is_no_gateway_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.GIVE_UP_FIRST <= 5
    monkeypatch.setattr(client, "GIVE_UP_FIRST", 0.3)
    events = tmp_path / "events.jsonl"
    events.write_text(json.dumps(EVENT) + "\n")
    began = time.monotonic()
    done = CliRunner().invoke(app, ["send", str(events), "--write-key", "k", "--url", "http://127.0.0.1:9"])
    assert done.exit_code == 1
    assert time.monotonic() - began < 5
    assert "cannot connect to http://127.0.0.1:9" in done.stderr
    assert "gave up after" in done.stderr


def test_an_invalid_duration_is_an_error_that_shows_a_valid_one() -> None:
    done = CliRunner().invoke(app, ["demo", "--for", "abc"])
    assert done.exit_code == 2
    assert done.stderr == "--for: invalid value 'abc'; expected a duration such as 10s or 5m\n"


def test_the_help_imports_no_large_dependency() -> None:
    """A command imports its packages when it runs, so that `gateway --help` starts fast."""
    script = (
        "import sys; from gateway.cli import app\n"
        "heavy = ['aiohttp', 'orjson', 'pydantic', 'apsw', 'phonenumbers', 'pycountry', 'uvloop', 'rich.table']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "command",
    [
        *("serve", "check", "explain", "map", "resume", "send", "import-rudderstack", "sandbox", "demo"),
        *("backfill", "dead-letters", "spool"),
    ],
)
def test_every_command_has_a_help_text(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert len(done.output.splitlines()) > 5
