"""`gateway tap`: which events are shown and how, and how it ends."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from gateway.model import JsonObject
from gateway.tap import TapEntry, TapOutcome
from tests.cli.conftest import FakeAdmin, call
from tests.cli.test_terminal import HOSTILE, assert_harmless

AT = 1_772_366_400.0


def entry(**changes: Any) -> JsonObject:
    given = TapEntry(
        at=AT,
        source="shop",
        outcome=TapOutcome.ACCEPTED,
        event="Purchase",
        destinations=["store"],
        event_sets=["1148"],
        message_id="m1",
        order_id="1001",
        keys={"email": "ec8f16", "client_user_agent": ""},
        properties=6,
    )
    return {**asdict(given), **changes}


def page(*entries: JsonObject, cursor: str = "c1", skipped: int = 0) -> JsonObject:
    return {"entries": list(entries), "cursor": cursor, "skipped": skipped}


@pytest.fixture(autouse=True)
def two_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C after the second poll."""
    waits = iter([None])

    def sleep(_: float) -> None:
        if next(waits, KeyboardInterrupt) is KeyboardInterrupt:
            raise KeyboardInterrupt

    monkeypatch.setattr("gateway.cli.tap.time.sleep", sleep)


def test_each_event_is_one_line_and_ctrl_c_ends_with_a_sum(admin: FakeAdmin) -> None:
    rejected = entry(outcome="rejected", code="unmapped_event", event="Card", keys={}, properties=0, event_sets=[])
    admin.answers = {"/tap": [page(entry()), page(rejected, entry(outcome="ignored", count=3), cursor="c2", skipped=7)]}
    done = call("tap", "--url", admin.url)
    assert done.exit_code == 0
    first, second, third = done.stdout.splitlines()
    assert first == (
        "12:00:00 shop         accepted         Purchase  -> store/1148  order_id=1001  message_id=m1  "
        "email=ec8f16 client_user_agent=yes  +6 properties"
    )
    assert second.startswith("12:00:00 shop         unmapped_event   Card  -> store  ")
    assert "ignored          Purchase x3" in third
    assert done.stderr.splitlines() == ["skipped 7 events: more than can be shown", "showed 3 events; skipped 7"]
    assert admin.requests == ["GET /tap?", "GET /tap?cursor=c1"]


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--source", "shop"], [0, 1]),
        (["--source", "till"], [2]),
        (["--event", "purch"], [0, 2]),
        (["--outcome", "rejected"], [1]),
        (["--outcome", "unmapped_event"], [1]),
        (["--outcome", "accepted", "--source", "shop"], [0]),
    ],
)
def test_the_filters_select_by_source_event_and_outcome(admin: FakeAdmin, options: list[str], shown: list[int]) -> None:
    entries = [
        entry(message_id="0"),
        entry(message_id="1", outcome="rejected", code="unmapped_event", event="Card"),
        entry(message_id="2", source="till"),
    ]
    admin.answers = {"/tap": [page(*entries), page()]}
    lines = call("tap", "--json", *options, "--url", admin.url).stdout.splitlines()
    assert [int(json.loads(line)["message_id"]) for line in lines] == shown


def test_an_unknown_outcome_is_an_error_that_lists_the_known_ones(admin: FakeAdmin) -> None:
    done = call("tap", "--outcome", "acepted", "--url", admin.url)
    assert done.exit_code == 2
    assert "--outcome: invalid value 'acepted'; expected accepted, rejected," in done.stderr
    assert admin.requests == []


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_texts_of_senders_are_escaped(admin: FakeAdmin, options: list[str]) -> None:
    hostile = entry(event=HOSTILE, order_id=HOSTILE, message_id=HOSTILE, source=HOSTILE, keys={HOSTILE: HOSTILE})
    admin.answers = {"/tap": [page(hostile), page()]}
    assert_harmless(call("tap", *options, "--url", admin.url))


def test_a_gateway_that_stops_ends_the_command_with_a_sentence() -> None:
    done = call("tap", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 1
    assert "is the gateway running?" in done.stderr
