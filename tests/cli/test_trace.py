"""`gateway trace`: what it says about events that were delivered, wait, were rejected, or are not known."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from gateway.model import JsonObject
from gateway.trace import TracedEvent, TraceGap, TraceResult, TraceState, WaitingReason
from tests.cli.conftest import FakeAdmin, call
from tests.cli.test_terminal import HOSTILE, assert_harmless

AT = 1_772_366_400.0


def traced(**changes: Any) -> TracedEvent:
    values: dict[str, Any] = {
        "message_id": "m1",
        "order_id": "1001",
        "destination": "store",
        "event_set": "1148",
        "tag_hash": "-",
        "stored_at": AT,
        "state": TraceState.DELIVERED,
        "ended_at": AT + 3,
        "meta_trace_id": "A1b2",
        "attempts": 1,
        **changes,
    }
    return TracedEvent(**values)


def letter(**changes: Any) -> JsonObject:
    return {
        "number": 7,
        "stage": "mapping",
        "code": "unmapped_event",
        "message": "no event set",
        "destination": "store",
        "source": "shop",
        "event_set": None,
        "upload_tag": None,
        "at": AT,
        "message_id": "m1",
        "order_id": "1001",
        "attempts": 0,
        "meta": None,
        "event": '{"secret":"jane@example.com"}',
        **changes,
    }


def answer(*events: TracedEvent, letters: list[JsonObject] | None = None, **changes: Any) -> JsonObject:
    return {"id": "1001", **asdict(TraceResult(events, **changes)), "dead_letters": letters or []}


def lines(admin: FakeAdmin, given: JsonObject, status: int = 0) -> list[str]:
    admin.answers = {"/trace": given}
    done = call("trace", "1001", "--url", admin.url)
    assert done.exit_code == status, done.output
    assert admin.requests[-1] == "GET /trace?id=1001"
    return done.stdout.splitlines()


def test_a_delivered_event_has_its_times_its_ids_and_the_trace_id_of_meta(admin: FakeAdmin) -> None:
    first, *shown = lines(admin, answer(traced(attempts=2)))
    assert "deliver" in first
    assert shown == [
        "",
        "delivered: store, dataset 1148",
        "  2026-03-01 12:00:00 UTC  Received, mapped and stored durably; the sender got 200.",
        "  2026-03-01 12:00:03 UTC  Meta accepted it, 3 s after it came in in call number 2.",
        "  order ID: 1001",
        "  message ID: m1",
        "  Meta's trace ID: A1b2",
        "  calls: 2",
    ]


def test_an_event_that_waits_has_the_reason_and_what_to_do(admin: FakeAdmin) -> None:
    waiting = traced(
        state=TraceState.WAITING, ended_at=None, meta_trace_id=None, attempts=0, waiting=WaitingReason("token")
    )
    shown = lines(admin, answer(waiting))
    assert "waiting" in shown[0]
    assert shown[4].startswith("  now ")
    assert "uploads are stopped: Meta refuses the access token" in shown[4]
    assert "Replace the token" in shown[5]


def test_a_rejected_event_has_the_reason_the_remedy_and_its_dead_letter(admin: FakeAdmin) -> None:
    shown = lines(admin, answer(letters=[letter()]))
    assert shown[2] == "refused: store"
    assert (
        "The event name is mapped to standard events for which no event set is configured. (unmapped_event)" in shown[3]
    )
    assert "events_to_standard" in shown[4]
    assert shown[-1] == "  dead letter 7: see `gateway dead-letters show 7`"
    assert "jane" not in "\n".join(shown)


def test_a_refused_event_and_its_dead_letter_are_one_story(admin: FakeAdmin) -> None:
    refused = traced(state=TraceState.DEAD_LETTERED, code="meta_100_2804050", meta_trace_id=None)
    of_meta = letter(
        stage="upload",
        code="meta_100_2804050",
        event_set="1148",
        upload_tag="t",
        at=AT + 4,
        meta={"code": 100, "subcode": 2804050, "trace_id": "A1"},
    )
    shown = lines(admin, answer(refused, letters=[of_meta]))
    assert "refused" in shown[0]
    assert [line for line in shown if line.startswith("refused: ")] == ["refused: store, dataset 1148"]
    assert shown[-1] == "  dead letter 7: see `gateway dead-letters show 7`"


def test_an_unknown_event_gives_status_1_and_says_what_was_recorded(admin: FakeAdmin) -> None:
    gap = TraceGap(AT, AT + 60, 12)
    assert lines(admin, answer(recorded_since=AT - 60, gaps=[gap]), status=1) == [
        "No event with this ID is known.",
        "Events are recorded since 2026-03-01 11:59:00 UTC.",
        "From 2026-03-01 12:00:00 UTC to 2026-03-01 12:01:00 UTC, 12 events were not recorded.",
    ]
    assert lines(admin, answer(is_enabled=False), status=1)[1].startswith("Accepted events are not traced")
    assert lines(admin, answer(), status=1)[1] == "No event has been recorded yet."
    assert lines(admin, answer(failure="the disk is full"), status=1)[-1] == (
        "The trace cannot be used: the disk is full"
    )


def test_json_has_no_content_of_dead_letters(admin: FakeAdmin) -> None:
    admin.answers = {"/trace": answer(traced(), letters=[letter()])}
    done = call("trace", "1001", "--json", "--url", admin.url)
    assert json.loads(done.stdout)["events"][0]["meta_trace_id"] == "A1b2"
    assert json.loads(done.stdout)["dead_letters"][0]["number"] == 7
    assert "jane" not in done.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_texts_of_senders_and_of_meta_are_escaped(admin: FakeAdmin, options: list[str]) -> None:
    hostile = traced(message_id=HOSTILE, order_id=HOSTILE, destination=HOSTILE, meta_trace_id=HOSTILE)
    admin.answers = {"/trace": answer(hostile, letters=[letter(code=HOSTILE, source=HOSTILE, destination=HOSTILE)])}
    assert_harmless(call("trace", "1001", *options, "--url", admin.url))


def test_an_answer_of_another_form_is_an_error_in_one_sentence(admin: FakeAdmin) -> None:
    admin.answers = {"/trace": {"id": "1001", "events": 7, "dead_letters": []}}
    done = call("trace", "1001", "--url", admin.url)
    assert done.exit_code == 1
    assert "cannot be read" in done.stderr
