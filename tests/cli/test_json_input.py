"""The forms in which a command takes events: one object per line, JSON over several lines, one array."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.json_input import events_in
from tests.cli.conftest import Run
from tests.cli.test_commands import EVENT

TEXTS = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=3), min_size=1, max_size=3)


def read(text: str) -> list[Any]:
    return [json.loads(each.text) for each in events_in(text.encode().splitlines(keepends=True))]


def places(text: str) -> list[tuple[int, bytes]]:
    return [(each.line, each.text) for each in events_in(text.encode().splitlines(keepends=True))]


@given(OBJECTS)
def test_all_forms_give_the_same_events(events: list[Any]) -> None:
    assert read("\n".join(map(json.dumps, events))) == events
    assert read("\n".join(json.dumps(event, indent=2) for event in events)) == events
    assert read(json.dumps(events)) == events
    assert read(json.dumps(events, indent=2)) == events
    assert read("\ufeff" + json.dumps(events, indent=2)) == events


def test_each_event_has_the_line_at_which_it_begins() -> None:
    assert [line for line, _ in places('{"a":1}\n\n{"a":2}\n')] == [1, 3]
    assert [line for line, _ in places('\n{\n"a":1\n}\n{\n"a":2}\n')] == [2, 5]
    assert [line for line, _ in places('[{"a":1},\n\n{"a":2}]')] == [1, 3]


def test_without_an_event_there_is_none() -> None:
    assert places("") == places(" \n\n") == places("[]") == places("[\n]") == []


@pytest.mark.parametrize(
    "text", ["{", '{"a":1', '[{"a":1} {"a":2}]', '[{"a":1},', "nonsense\nmore", "{}{", "[" * 100_000]
)
def test_text_that_is_no_json_is_returned_a_line_at_a_time(text: str) -> None:
    assert [body.decode().rstrip("\n") for _, body in places(text)] == text.splitlines()


def test_an_error_in_one_line_does_not_affect_the_other_lines() -> None:
    assert [body for _, body in places('{"a":1}\n{\n{"a":2}')] == [b'{"a":1}\n', b"{\n", b'{"a":2}']


def test_lines_are_read_when_they_are_asked_for() -> None:
    def lines() -> Any:
        yield b'{"a":1}\n'
        raise AssertionError("read too early")

    assert next(events_in(lines())).text == b'{"a":1}\n'


FORMS = [
    json.dumps(EVENT) + "\n" + json.dumps(EVENT),
    json.dumps(EVENT, indent=2) + "\n" + json.dumps(EVENT, indent=2),
    json.dumps([EVENT, EVENT], indent=2),
]


@pytest.mark.parametrize("text", FORMS, ids=["lines", "pretty", "array"])
def test_map_and_explain_take_all_forms(run: Run, text: str) -> None:
    mapped = run("map", "-", stdin=text)
    assert mapped.exit_code == 0, mapped.output
    assert [json.loads(line)["event"]["event_name"] for line in mapped.stdout.splitlines()] == ["Purchase", "Purchase"]
    explained = run("explain", "-", "--json", stdin=text)
    assert explained.exit_code == 0, explained.output
    assert explained.stdout.count('"rejection": null') == 2


def test_explain_says_in_which_line_no_json_is_and_that_a_file_is_empty(run: Run) -> None:
    done = run("explain", "-", stdin=json.dumps(EVENT) + "\nnonsense")
    assert done.exit_code == 1
    assert done.stderr.startswith("line 2: The body is not valid JSON")
    assert run("explain", "-", stdin="\n").stderr == "-: no event; expected JSON\n"
