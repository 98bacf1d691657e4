"""`gateway test`: what a test file may have, what passes, what a failure shows, and what `--update` writes."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.cli.test_commands import replace_in
from tests.cli.test_terminal import HOSTILE, assert_harmless

NOW = "2026-03-01T12:00:00Z"
EVENT = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "m-1",
    "properties": {"order_id": "1001", "total": 59.9, "currency": "USD"},
    "traits": {"email": "Alex@Example.com ", "birthday": "2010-05-04"},
}
UPLOADS = [
    {
        "event_set": "1148872185708962",
        "upload_tag": "RudderStack",
        "event": {
            "event_name": "Purchase",
            "event_time": 1772366400,
            "action_source": "physical_store",
            "event_id": "m-1",
            "user_data": {"em": ["sha256:alex@example.com"], "db": "sha256:20100504"},
            "custom_data": {"value": 59.9, "currency": "USD", "order_id": "1001", "content_type": "product"},
        },
    }
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sales.json"


def write(path: Path, *tests: dict[str, Any], **changes: Any) -> str:
    path.write_text(json.dumps({"now": NOW, "tests": list(tests), **changes}))
    return str(path)


def test_expected_uploads_rejections_and_reasons_not_to_send_pass(run: Run, path: Path, config: Path) -> None:
    replace_in(config, 'api = "conversions"', 'api = "conversions"\nconsent = { categories = ["ads"] }')
    denied = {"consentManagement": {"deniedConsentIds": ["ads"]}}
    file = write(
        path,
        {"name": "sale", "event": EVENT, "uploads": UPLOADS},
        {"name": "as text", "event": json.dumps(EVENT), "uploads": json.dumps(UPLOADS)},
        {"name": "unmapped", "event": {**EVENT, "event": "Card"}, "rejection": "unmapped_event"},
        {"name": "ignored", "event": {**EVENT, "integrations": {"All": False}}, "not_sent": "ignored"},
        {"name": "denied", "event": {**EVENT, "context": denied}, "not_sent": "consent_denied"},
    )
    done = run("test", file)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "ok      sales.json: sale"
    assert done.stdout.splitlines()[-1] == "5 passed, 0 failed"


def test_a_hash_may_be_given_as_text_or_as_hash(run: Run, path: Path) -> None:
    digest = sha256(b"alex@example.com").hexdigest()
    text = json.dumps(UPLOADS).replace("sha256:alex@example.com", digest)
    assert run("test", write(path, {"event": EVENT, "uploads": text})).exit_code == 0


@pytest.mark.parametrize(
    ("before", "after", "removed", "added"),
    [
        ("alex@example.com", "alx@example.com", '"sha256:alx@example.com"', '"sha256:alex@example.com"'),
        ("59.9", "59.8", '"value": 59.8', '"value": 59.9'),
        ("1148872185708962", "7", '"event_set": "7"', '"event_set": "1148872185708962"'),
        ('"event_id": "m-1", ', "", "", '"event_id": "m-1"'),
    ],
)
def test_a_difference_fails_and_is_shown_as_a_diff_of_readable_values(
    run: Run, path: Path, before: str, after: str, removed: str, added: str
) -> None:
    text = json.dumps(UPLOADS)
    assert before in text
    done = run("test", write(path, {"name": "sale", "event": EVENT, "uploads": text.replace(before, after)}))
    assert done.exit_code == 1
    changed = [line.strip() for line in done.stdout.splitlines() if line.strip()[:1] in {"+", "-"}]
    minus = [line[1:].strip(" ,") for line in changed if line.startswith("-") and not line.startswith("---")]
    plus = [line[1:].strip(" ,") for line in changed if line.startswith("+") and not line.startswith("+++")]
    assert (minus, plus) == ([removed] if removed else [], [added])
    assert done.stdout.splitlines()[0] == "FAILED  sales.json: sale"
    assert done.stdout.splitlines()[-1] == "0 passed, 1 failed"


def test_an_unexpected_rejection_says_why(run: Run, path: Path) -> None:
    done = run("test", write(path, {"event": {**EVENT, "event": "order completed"}, "uploads": UPLOADS}))
    assert done.exit_code == 1
    assert '+  "rejection": "unmapped_event"' in done.stdout
    assert "did you mean 'Order Completed'?" in done.stdout


def test_the_result_does_not_change_with_the_clock(run: Run, path: Path) -> None:
    """In 2010 the birthday was in the future, so it is dropped."""
    early = json.loads(json.dumps(UPLOADS))
    early[0]["event"]["event_time"] = 1262304000
    del early[0]["event"]["user_data"]["db"]
    tests = [
        {"event": EVENT, "uploads": UPLOADS},
        {"event": EVENT, "now": "2010-01-01", "uploads": early},
        {"event": EVENT, "now": "2010-01-01T01:00:00+01:00", "uploads": early},
    ]
    done = run("test", write(path, *tests))
    assert done.exit_code == 0, done.output


def test_a_destination_is_required_if_there_are_several(run: Run, path: Path, config: Path) -> None:
    config.write_text(
        config.read_text()
        + '[destinations.crm]\napi = "conversions"\naccess_token = "t"\nstandard_to_event_sets = { Purchase = ["7"] }\n'
    )
    done = run("test", write(path, {"event": EVENT, "uploads": UPLOADS}))
    assert done.exit_code == 2
    assert "destination: required in the test file, since there are several: store, crm" in done.stderr
    other = json.loads(json.dumps(UPLOADS).replace("1148872185708962", "7"))
    file = write(path, {"event": EVENT, "uploads": UPLOADS}, {"event": EVENT, "destination": "crm", "uploads": other})
    replace_in(path, '"now"', '"destination": "store", "now"')
    assert run("test", file).exit_code == 0
    assert "unknown 'nope'" in run("test", write(path, {"event": EVENT}, destination="nope")).stderr


TOML = f"""# A comment that stays.
now = {NOW}

[[tests]]
name = "sale"  # another comment
event = '''
{json.dumps(EVENT)}
'''

[[tests]]
name = "unmapped"
event = {{ type = "track", event = "Card", at = 2026-03-01, userId = "it''s" }}
not_sent = "ignored"
"""


def test_update_writes_what_is_expected_and_keeps_the_rest_of_a_toml_file(run: Run, path: Path) -> None:
    path = path.with_suffix(".toml")
    path.write_text(TOML)
    assert run("test", str(path)).exit_code == 1
    done = run("test", "--update", str(path))
    assert done.exit_code == 0
    assert done.stdout == f"{path}: 2 of 2 expectations written\n"
    text = path.read_text()
    for line in TOML.splitlines():
        assert (line in text) is (line != 'not_sent = "ignored"'), line
    assert '"sha256:alex@example.com"' in text
    assert 'rejection = "unmapped_event"' in text
    assert run("test", str(path)).stdout.endswith("2 passed, 0 failed\n")
    assert run("test", "--update", str(path)).stdout == f"{path}: 0 of 2 expectations written\n"
    assert path.read_text() == text, "a file whose tests pass is not written"


def test_update_writes_a_json_file(run: Run, path: Path) -> None:
    file = write(path, {"name": "sale", "event": EVENT, "rejection": "no_match_key"})
    assert run("test", "--update", file).exit_code == 0
    (test,) = json.loads(path.read_text())["tests"]
    assert test == {"name": "sale", "event": EVENT, "uploads": UPLOADS}
    assert run("test", file).exit_code == 0


def test_a_text_with_three_quotes_survives_an_update(run: Run, path: Path) -> None:
    path = path.with_suffix(".toml")
    event = {**EVENT, "properties": {**EVENT["properties"], "note": "a'''b\\\n\"\"\"c"}}  # type: ignore[dict-item]
    path.write_text(f"now = {NOW}\n[[tests]]\nevent = {json.dumps(json.dumps(event))}\n")
    run("test", "--update", str(path))
    assert run("test", str(path)).exit_code == 0
    assert "'''b" in path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1: Expecting property name enclosed in double quotes; expected JSON"),
        ("[]", "expected an object with the keys now, destination, tests"),
        ('{"nw": 1}', "nw: unknown key; expected now, destination, tests"),
        ('{"tests": []}', "tests: expected at least one test, each as a table [[tests]]"),
        ('{"tests": [{"event": {}}]}', "tests[0].now: missing; expected the time at which"),
        ('{"now": "noon", "tests": [{"event": {}}]}', "tests[0].now: invalid value 'noon'; expected the time"),
        ('{"now": 7, "tests": [{"event": {}}]}', "tests[0].now: invalid value '7'; expected the time"),
        ('{"tests": [{"name": "x"}]}', "tests[0].event: missing; expected an event as JSON text or as a table"),
        ('{"tests": [{"evnt": {}}]}', "tests[0].evnt: unknown key; expected name, now,"),
        ('{"tests": [{"event": "{"}]}', "tests[0].now: missing"),
        (f'{{"now": "{NOW}", "tests": [{{"event": "{{"}}]}}', "tests[0].event: invalid JSON (Expecting property name"),
        (
            '{"tests": [{"event": {}, "uploads": [], "rejection": "x"}]}',
            "tests[0].rejection: uploads is given too; expected only one of them",
        ),
        ('{"tests": [{"event": {}, "rejection": 7}]}', "tests[0].rejection: invalid value 7; expected text"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_with_the_key_and_what_is_allowed(
    run: Run, path: Path, text: str, message: str
) -> None:
    path.write_text(text)
    done = run("test", str(path))
    assert done.exit_code == 2
    assert f"{path}: {message}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_file_that_is_no_toml_or_does_not_exist_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("now = noon\n")
    done = run("test", str(tmp_path / "a.toml"))
    assert done.exit_code == 2
    assert "now: line 1: invalid value noon; expected text in quotes" in done.stderr
    done = run("test", str(tmp_path / "b.toml"))
    assert (done.exit_code, done.stderr) == (2, f"{tmp_path / 'b.toml'}: cannot be read: No such file or directory\n")


def test_json_output_has_both_sides_of_each_test(run: Run, path: Path) -> None:
    done = run("test", "--json", write(path, {"name": "sale", "event": EVENT, "rejection": "no_match_key"}))
    assert done.exit_code == 1
    result = json.loads(done.stdout)
    assert (result["name"], result["passed"]) == ("sale", False)
    assert result["expected"] == {"rejection": "no_match_key"}
    assert result["actual"] == {"uploads": UPLOADS}


def test_texts_of_a_test_file_are_escaped(run: Run, path: Path) -> None:
    hostile = {**EVENT, "properties": {"order_id": HOSTILE, "total": 1}, "event": "Order Completed"}
    done = run("test", write(path, {"name": HOSTILE, "event": hostile, "rejection": HOSTILE}))
    assert_harmless(done)
