"""Tests of a mapping: events, and the uploads or the rejection that are expected of each. Files, runs and updates.

The files are TOML or JSON, not YAML: YAML reads the country `NO` as false, the postal code `0123` as a number and a
time without quotes as a date, so that a test would check another event than the one that is written.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from hashlib import sha256
from pathlib import Path
from typing import Any

from gateway.config import explain_toml
from gateway.mapping import Mapper
from gateway.mapping.explain import Explanation, explain
from gateway.model import GatewayError, JsonObject

MAX_FILE_BYTES = 16 * 2**20
FILE_KEYS = ("now", "destination", "tests")
TEST_KEYS = ("name", "now", "destination", "event", "uploads", "rejection", "not_sent")
RESULT_KEYS = ("uploads", "rejection", "not_sent")
"""Exactly one of them says what is expected."""
HASH_OF = "sha256:"
"""Begins an expected text that stands for the hash of the rest."""
IGNORED = "ignored"
"""`not_sent` of an event whose sender excluded the destination; otherwise a `NotSent`."""
_HASH = re.compile(r"[0-9a-f]{64}")

Result = JsonObject
"""What became of an event: an object with one of `RESULT_KEYS`."""


class TestFileError(GatewayError):
    """A test file cannot be used. The message has the file, the key and what is allowed."""


@dataclass(frozen=True, slots=True)
class EventTest:
    """One test."""

    name: str
    destination: str | None
    """None: the only destination of the settings."""
    now: int
    """Time at which the event is mapped, in unix seconds."""
    event: Any
    expected: Result | None
    """None if nothing is expected yet."""


@dataclass(frozen=True, slots=True)
class Run:
    """The result of a test."""

    test: EventTest
    actual: Result
    """With the texts of hashes, where they are known."""
    expected: Result | None
    """Likewise."""
    note: str
    """Why the event was rejected, and what to do; empty if it was not rejected."""

    @property
    def passed(self) -> bool:
        """Whether the result is the expected one."""
        return self.actual == self.expected


def read_tests(path: Path) -> list[EventTest]:
    """The tests in a file. Raises `TestFileError`."""
    tree = _parse(path)
    _check_keys(path, "", tree, FILE_KEYS)
    tests = tree.get("tests")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, dict) for test in tests):
        raise TestFileError(f"{path}: tests: expected at least one test, each as a table [[tests]]")
    return [_read_test(path, number, test, tree) for number, test in enumerate(tests)]


def run_test(test: EventTest, mapper: Mapper) -> Run:
    """Map the event of a test, and compare."""
    explanation = explain(mapper, test.event, test.now)
    texts = _texts(explanation)
    texts |= {_digest(text): text for text in _hashed_texts(test.expected)}
    rejection = explanation.rejection
    return Run(
        test=test,
        actual=_readable(_result(explanation), texts),
        expected=None if test.expected is None else _readable(_with_hashes(test.expected), texts),
        note="" if rejection is None else rejection.message,
    )


def update_file(path: Path, runs: Sequence[Run]) -> int:
    """Write the results of all tests of a file that did not pass into it as expected; how many."""
    failed = {number: run for number, run in enumerate(runs) if not run.passed}
    if not failed:
        return 0
    text = path.read_text(encoding="utf-8")
    path.write_text(_updated_json(text, failed) if _is_json(path) else _updated_toml(text, failed), encoding="utf-8")
    return len(failed)


def _is_json(path: Path) -> bool:
    return path.suffix == ".json"


def _parse(path: Path) -> JsonObject:
    text = _read(path)
    try:
        tree = json.loads(text) if _is_json(path) else tomllib.loads(text)
    except json.JSONDecodeError as error:
        raise TestFileError(f"{path}: line {error.lineno}: {error.msg}; expected JSON") from None
    except tomllib.TOMLDecodeError as error:
        found = explain_toml(text, error)
        raise TestFileError(f"{path}: {f'{found.key}: ' if found.key else ''}{found.message}") from None
    except RecursionError:
        raise TestFileError(f"{path}: nested too deeply; expected a few levels") from None
    if not isinstance(tree, dict):
        raise TestFileError(f"{path}: expected an object with the keys {', '.join(FILE_KEYS)}")
    return tree


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise TestFileError(f"{path}: {size} bytes; expected at most {MAX_FILE_BYTES}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TestFileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TestFileError(f"{path}: invalid byte at position {error.start}; expected UTF-8 text") from None


def _check_keys(path: Path, where: str, table: Mapping[str, Any], allowed: Sequence[str]) -> None:
    for key in table:
        if key not in allowed:
            raise TestFileError(f"{path}: {where}{key}: unknown key; expected {', '.join(allowed)}")


def _read_test(path: Path, number: int, test: JsonObject, tree: JsonObject) -> EventTest:
    where = f"tests[{number}]."
    _check_keys(path, where, test, TEST_KEYS)
    if "event" not in test:
        raise TestFileError(f"{path}: {where}event: missing; expected an event as JSON text or as a table")
    name = _text(path, f"{where}name", test.get("name", f"test {number + 1}"))
    destination = test.get("destination", tree.get("destination"))
    given = [key for key in RESULT_KEYS if key in test]
    if len(given) > 1:
        raise TestFileError(f"{path}: {where}{given[1]}: {given[0]} is given too; expected only one of them")
    expected = None
    if given:
        value = test[given[0]]
        is_uploads = given[0] == "uploads"
        expected = {
            given[0]: _json(path, f"{where}uploads", value) if is_uploads else _text(path, f"{where}{given[0]}", value)
        }
    return EventTest(
        name=name,
        destination=None if destination is None else _text(path, f"{where}destination", destination),
        now=_time(path, f"{where}now", test.get("now", tree.get("now"))),
        event=_json(path, f"{where}event", test["event"]),
        expected=expected,
    )


def _text(path: Path, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TestFileError(f"{path}: {key}: invalid value {value!r}; expected text")
    return value


def _json(path: Path, key: str, value: Any) -> Any:
    """A value that is given as JSON text or as a table."""
    if not isinstance(value, str):
        return _plain(value)
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg}, line {error.lineno} of the text" if isinstance(error, json.JSONDecodeError) else ""
        raise TestFileError(f"{path}: {key}: invalid JSON{f' ({reason})' if reason else ''}; expected JSON") from None


def _plain(value: Any) -> Any:
    """A TOML value as JSON types: times become texts."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def _time(path: Path, key: str, value: Any) -> int:
    """Unix seconds. A time without an offset is in UTC."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        at = None
    if not isinstance(at, datetime):
        found = "missing" if value is None else f"invalid value {str(value)!r}"
        raise TestFileError(
            f"{path}: {key}: {found}; expected the time at which the events are mapped, such as 2026-03-01T12:00:00Z"
        )
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _result(explanation: Explanation) -> Result:
    if explanation.rejection is not None:
        return {"rejection": explanation.rejection.code}
    if explanation.not_sent is not None:
        return {"not_sent": explanation.not_sent.value}
    if explanation.ignored:
        return {"not_sent": IGNORED}
    uploads = explanation.uploads
    return {
        "uploads": [
            {"event_set": upload.event_set, "upload_tag": upload.upload_tag, "event": upload.body} for upload in uploads
        ]
    }


def _digest(text: str) -> str:
    return sha256(text.encode(errors="replace")).hexdigest()


def _texts(explanation: Explanation) -> dict[str, str]:
    """The texts of the hashes of an upload, by hash."""
    normalised = [step.normalised for step in explanation.steps if step.normalised is not None]
    return {_digest(text): text for joined in normalised for text in (joined, *joined.split(", "))}


def _hashed_texts(value: Any) -> Sequence[str]:
    """The texts whose hashes are expected."""
    found: list[str] = []
    _replace(value, lambda text: found.append(text.removeprefix(HASH_OF)) if text.startswith(HASH_OF) else None)
    return found


def _with_hashes(value: Any) -> Any:
    """An expected value with the hash in place of each `sha256:TEXT`."""
    return _replace(value, lambda text: _digest(text.removeprefix(HASH_OF)) if text.startswith(HASH_OF) else text)


def _readable(value: Any, texts: Mapping[str, str]) -> Any:
    """A result with `sha256:TEXT` in place of each hash whose text is known."""
    return _replace(value, lambda text: f"{HASH_OF}{texts[text]}" if _HASH.fullmatch(text) and text in texts else text)


def _replace(value: Any, replacement: Callable[[str], Any]) -> Any:
    """The value with another one in place of each text."""
    if isinstance(value, str):
        return replacement(value)
    if isinstance(value, dict):
        return {key: _replace(each, replacement) for key, each in value.items()}
    return [_replace(each, replacement) for each in value] if isinstance(value, list) else value


def _updated_json(text: str, failed: Mapping[int, Run]) -> str:
    tree = json.loads(text)
    for number, run in failed.items():
        test = tree["tests"][number]
        for key in RESULT_KEYS:
            test.pop(key, None)
        test |= run.actual
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def _updated_toml(text: str, failed: Mapping[int, Run]) -> str:
    """The text with other results, and otherwise as it was, with its comments."""
    import tomlkit

    document = tomlkit.parse(text)
    tests: Any = document["tests"]
    for number, run in failed.items():
        test = tests[number]
        ((result, value),) = run.actual.items()
        for key in RESULT_KEYS:
            if key in test and key != result:
                del test[key]
        if result != "uploads":
            test[result] = value
            continue
        written = f"{json.dumps(value, indent=2, ensure_ascii=False)}\n"
        test[result] = tomlkit.string(written, multiline=True, literal="'''" not in written)
    return tomlkit.dumps(document)
