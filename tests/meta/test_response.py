"""Responses are classified by code and subcode, then `is_transient`, then status; never by type or text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.meta.response import (
    BatchRefused,
    Blocked,
    CountMismatch,
    Delivered,
    EventsRefused,
    Temporary,
    Throttled,
    classify,
)

CASES = Path(__file__).parent / "cases"
RESPONSES = json.loads((CASES / "responses.json").read_text())
ERRORS = [
    (expected, *pair)
    for expected, pairs in json.loads((CASES / "error_codes.json").read_text()).items()
    for pair in pairs
]
EVENTS = 10


def outcome_name(outcome: object) -> str:
    """The name of the outcome in `error_codes.json`."""
    match outcome:
        case Blocked(kind):
            return kind.value
        case EventsRefused() | BatchRefused():
            return "refused"
        case _:
            return type(outcome).__name__.lower()


@pytest.mark.parametrize(("expected", "code", "subcode"), ERRORS)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 500])
def test_an_error_is_classified_by_its_code_whatever_the_status(
    expected: str, code: int, subcode: int | None, status: int
) -> None:
    error: dict[str, Any] = {"message": "m", "type": "OAuthException", "code": code, "fbtrace_id": "T"}
    if subcode is not None:
        error["error_subcode"] = subcode
    outcome = classify(status, {}, orjson.dumps({"error": error}), EVENTS)
    if code == 99999 and status in {401, 403, 500}:
        assert outcome_name(outcome) == {401: "token", 403: "permission", 500: "temporary"}[status]
        return
    assert outcome_name(outcome) == expected
    if isinstance(outcome, Delivered):
        assert outcome.count == EVENTS
    else:
        assert not isinstance(outcome, CountMismatch)
        assert outcome.code == f"meta_{code}" + ("" if subcode is None else f"_{subcode}")
        assert outcome.fault is not None
        assert (outcome.fault.code, outcome.fault.subcode, outcome.fault.trace_id) == (code, subcode, "T")


@pytest.mark.parametrize(("expected", "code", "subcode"), ERRORS)
def test_an_error_that_is_marked_transient_is_temporary(expected: str, code: int, subcode: int | None) -> None:
    error = {"code": code, "error_subcode": subcode, "is_transient": True}
    outcome = classify(400, {}, orjson.dumps({"error": error}), EVENTS)
    assert outcome_name(outcome) == (expected if expected in {"throttled", "delivered"} else "temporary")


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case["name"])
def test_a_response_is_classified_as_expected(case: dict[str, Any]) -> None:
    body = case["raw"].encode() if "raw" in case else orjson.dumps(case["body"])
    outcome = classify(case["status"], case.get("headers", {}), body, EVENTS)
    assert type(outcome).__name__.lower() == case["is"]
    for key in ("count", "received", "in_doubt", "seconds"):
        if key in case:
            assert getattr(outcome, key) == case[key]
    if "kind" in case:
        assert isinstance(outcome, Blocked)
        assert outcome.kind.value == case["kind"]
    if "indices" in case:
        assert isinstance(outcome, EventsRefused)
        assert list(outcome.indices) == case["indices"]


@given(
    st.integers(100, 599),
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["error", "code", "error_subcode", "error_data", "event_index", "message", "events_received"]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    ).map(lambda tree: json.dumps(tree).encode()),
)
def test_every_response_has_an_outcome(status: int, body: bytes) -> None:
    outcome = classify(status, {"X-App-Usage": body.decode(errors="replace")}, body, EVENTS)
    assert isinstance(
        outcome, Delivered | CountMismatch | Temporary | Throttled | Blocked | EventsRefused | BatchRefused
    )


def test_details_that_are_nested_too_deeply_name_no_event() -> None:
    nested = b"[" * 400 + b"]" * 400
    body = b'{"error":{"code":100,"error_data":{"blame_field_specs":%s}}}' % nested
    assert isinstance(classify(400, {}, body, EVENTS), BatchRefused)


@given(
    st.none() | st.booleans() | st.integers(-20, 20) | st.floats() | st.text(max_size=4) | st.integers(-20, 20).map(str)
)
def test_only_a_response_that_confirms_every_event_counts_as_delivered(count: object) -> None:
    outcome = classify(200, {}, json.dumps({"events_received": count, "fbtrace_id": "T"}).encode(), EVENTS)
    match outcome:
        case Delivered(confirmed):
            assert count is None or (confirmed is not None and confirmed >= EVENTS)
        case CountMismatch(received):
            assert 0 <= received < EVENTS
        case _:
            assert isinstance(outcome, Temporary)
            assert outcome.in_doubt
