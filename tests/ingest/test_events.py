"""Mapping the events of a request: errors in a mapper, the bounds of dead letters and responses, and deduplication."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from gateway.identifiers import EventIds
from gateway.ingest import DedupWindow, Source
from gateway.ingest.documents import MAX_EVENT_VALUES
from gateway.ingest.events import (
    MAX_UNREPLAYABLE,
    OBJECT_BYTES,
    RequestResult,
    map_event,
    reject_event,
)
from gateway.ingest.server import MAX_NAMED_REJECTIONS
from gateway.model import DeadLetter, Mapped, Rejection
from tests.hostile.requests import batch, many_keys, nested, sale
from tests.ingest.harness import NOW, FakeMapper, running
from tests.mapping.builders import mapper

SECRET = "jane.roe@example.com"


def source(*mappers: Any, name: str = "shop", dedup: dict[str, DedupWindow] | None = None) -> Source:
    return Source(name, [(f"d{number}", mapper) for number, mapper in enumerate(mappers)], dedup or {})


def mapped(events: list[dict[str, Any]], sender: Source, max_bytes: int = 32_768) -> RequestResult:
    result = RequestResult()
    for index, event in enumerate(events):
        map_event(sender, event, index, NOW, result, max_bytes)
    return result


# Errors in a mapper


def test_an_error_in_a_mapper_rejects_that_event_only_and_keeps_it(caplog: pytest.LogCaptureFixture) -> None:
    events = [sale(1), {**sale(2), "event": "bug", "email": SECRET}, sale(3)]
    result = mapped(events, source(FakeMapper()))
    assert (result.accepted, len(result.mapped)) == (2, 2)
    (rejected,) = result.rejected
    assert (rejected.index, rejected.rejection.code) == (1, "internal_error")
    (letter,) = result.dead_letters
    assert letter.code == "internal_error"
    assert json.loads(letter.event or b"") == events[1]
    assert result.rejections == {("d0", "internal_error"): 1}
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message == "an event could not be mapped because of an internal error"
    assert SECRET not in record.message


def test_an_error_in_the_mapper_of_one_destination_does_not_affect_another() -> None:
    class Failing(FakeMapper):
        def map(self, event: Any, now: int, /) -> Mapped:
            raise KeyError(event["event"], now)

    result = mapped([sale(1)], source(Failing(), FakeMapper()))
    assert (result.accepted, result.rejected) == (1, [])
    assert result.mapped_by_destination == {"d1": 1}
    assert [(letter.destination, letter.code) for letter in result.dead_letters] == [("d0", "internal_error")]


def test_an_error_in_the_redaction_keeps_the_dead_letter_without_its_event(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(FakeMapper):
        def redact(self, event: Any, now: int | None = None, /) -> bytes | None:
            raise ValueError(event, now)

    result = mapped([{**sale(1), "event": "unmapped"}], source(Failing()))
    assert [(letter.code, letter.event) for letter in result.dead_letters] == [("unmapped_event", None)]
    assert "could not be redacted" in caplog.text


async def test_an_error_in_a_mapper_is_answered_per_event_and_the_others_are_accepted() -> None:
    async with running() as server:
        response = await server.exchange(server.target.post(batch(sale(1), {**sale(2), "event": "bug"}, sale(3))))
        assert (response.status, response.body["accepted"]) == (200, 2)
        assert [(event["index"], event["code"]) for event in response.body["rejected"]] == [(1, "internal_error")]
        event = json.dumps({**sale(4), "event": "bug"}).encode()
        response = await server.exchange(server.target.post(event, "/v1/track"))
        assert (response.status, response.body["code"]) == (400, "internal_error")
        assert [letter.code for letter in server.committer.letters] == ["internal_error"] * 2
        assert server.ledger.rejected["shop", "store", "internal_error"] == 2
        assert server.counted(500) == 0


# Bounds


def test_of_dead_letters_without_event_a_request_keeps_100_and_counts_all() -> None:
    result, sender = RequestResult(), source(FakeMapper())
    rejection = Rejection("not_an_object", "The event is not an object.")
    for index in range(250):
        reject_event(sender, None, index, NOW, result, rejection)
    map_event(sender, {**sale(1), "event": "unmapped"}, 250, NOW, result, 32_768)
    assert MAX_UNREPLAYABLE == 100
    assert [letter.code for letter in result.dead_letters] == ["not_an_object"] * 100 + ["unmapped_event"]
    assert result.rejections == {("d0", "not_an_object"): 250, ("d0", "unmapped_event"): 1}
    assert len(result.rejected) == 251


async def test_250_events_that_are_no_objects_are_stored_as_100_dead_letters_and_counted_as_250() -> None:
    async with running() as server:
        response = await server.exchange(server.target.post(batch(*([None] * 250), sale(1))))
        assert (response.status, response.body["accepted"]) == (200, 1)
        assert len(response.body["rejected"]) == MAX_NAMED_REJECTIONS == 100
        assert [event["index"] for event in response.body["rejected"]] == list(range(100))
        assert response.body["rejected_by_code"] == {"not_an_object": 250}
        assert len(server.committer.letters) == 100
        assert server.ledger.rejected["shop", "store", "not_an_object"] == 250
        assert server.ledger.dead["store", server.committer.letters[0].stage, "not_an_object"] == 100


async def test_up_to_100_rejections_are_all_named_without_counts() -> None:
    async with running() as server:
        response = await server.exchange(server.target.post(batch(*([None] * 100))))
        assert len(response.body["rejected"]) == 100
        assert "rejected_by_code" not in response.body


def test_the_event_of_a_dead_letter_is_not_kept_when_it_is_too_large() -> None:
    event = {**sale(1, x="y" * 1000), "event": "unmapped"}
    for limit, kept in ((len(json.dumps(event)), True), (len(json.dumps(event)) - 1, False)):
        (letter,) = mapped([event], source(FakeMapper()), limit).dead_letters
        assert (letter.event is not None) == kept


def test_a_rejected_event_of_an_unknown_type_is_kept_redacted_up_to_the_limit() -> None:
    store = mapper(consent={"categories": ["ads"]})
    personal = {"email": SECRET, "firstName": "Zoe"}
    event = {"type": "sale", "messageId": "m1", "properties": {"order_id": 1001, "note": SECRET}, "traits": personal}
    event |= {"context": {"traits": personal}, "previousId": SECRET, "groupId": SECRET, "email": SECRET, "name": SECRET}
    denied = {**event, "context": {"consentManagement": {"deniedConsentIds": ["ads"]}}}
    rejection = Rejection("unknown_type", "The type is unknown.")

    def kept(given: Any, limit: int) -> DeadLetter:
        result = RequestResult()
        reject_event(source(store), given, 0, NOW, result, rejection, limit)
        (letter,) = result.dead_letters
        return letter

    letter = kept(event, 32_768)
    assert (letter.message_id, letter.order_id) == ("m1", "1001")
    assert json.loads(letter.event or b"")["type"] == "sale"
    assert SECRET not in str(letter)
    assert "Zoe" not in str(letter)
    size = len(letter.event or b"")
    assert kept(event, size).event == letter.event
    assert kept(event, size - 1).event is None
    assert kept(event, 0).order_id == "1001", "the IDs are kept without the content"
    others: list[Any] = [denied, None, "text", []]
    for given in others:
        assert (kept(given, 32_768).event, kept(given, 32_768).message_id, kept(given, 32_768).order_id) == (None,) * 3


async def test_an_event_of_an_unknown_type_in_a_batch_is_kept_with_the_context_of_the_batch() -> None:
    async with running() as server:
        events = [{**sale(1), "type": "sale"}, {**sale(2), "type": None}, {**sale(3, x="y" * 140_000), "type": "sale"}]
        content = batch(*events, context={"consentManagement": {"deniedConsentIds": ["ads"]}})
        assert (await server.exchange(server.target.post(content))).status == 200
        letters = server.committer.letters
        assert [letter.code for letter in letters] == ["unknown_type"] * 3
        kept = [json.loads(letter.event) for letter in letters if letter.event is not None]
        assert [event["type"] for event in kept] == ["sale", None], "the third is too large"
        assert all(event["context"]["consentManagement"] == {"deniedConsentIds": ["ads"]} for event in kept)


def test_a_rejected_event_has_its_ids_in_its_dead_letter() -> None:
    (letter,) = mapped([{**sale(7), "event": "unmapped", "messageId": "m7"}], source(FakeMapper())).dead_letters
    assert letter.message_id == "m7"


def test_an_error_while_the_ids_are_read_keeps_the_dead_letter_without_them(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(FakeMapper):
        def ids(self, event: Any, /) -> EventIds:
            raise ValueError(event)

    result = mapped([{**sale(1), "event": "unmapped"}], source(Failing()))
    assert [(letter.code, letter.message_id, letter.event) for letter in result.dead_letters] == [
        ("unmapped_event", None, None)
    ]
    assert "could not be redacted" in caplog.text


def test_the_size_of_a_result_covers_all_it_holds() -> None:
    events = [sale(1), {**sale(2), "event": "unmapped"}, {**sale(3), "event": "bug"}]
    result = mapped(events, source(FakeMapper(), FakeMapper()))
    content = sum(len(event.body) for event in result.mapped) + sum(
        len(each.event or b"") for each in result.dead_letters
    )
    content += sum(4 * len(each.message_id or "") for each in result.dead_letters)
    objects = len(result.mapped) + len(result.dead_letters) + len(result.rejected)
    assert result.size == content + objects * OBJECT_BYTES


async def test_a_batch_with_more_events_than_allowed_gets_413_and_stores_nothing() -> None:
    async with running() as server:
        assert (await server.exchange(server.target.post(batch(*([{"type": "page"}] * 2500))))).status == 200
        response = await server.exchange(server.target.post(batch(*([{"type": "page"}] * 2501))))
        assert (response.status, response.body["code"]) == (413, "too_many_events")
        assert server.ledger.received == {"shop": 2500}


@pytest.mark.parametrize(
    "shared",
    [
        {"integrations": many_keys(100_000)},
        {"integrations": many_keys(3000)},
        {"integrations": nested(300, **many_keys(2000))},
        {"context": {"x": [[]] * 3000}},
        {"context": {"x": "y" * 40_000}},
    ],
    ids=["100,000 keys", "3,000 keys", "too many levels", "many values", "long text"],
)
async def test_what_a_batch_says_for_all_events_counts_as_often_as_there_are_events(shared: dict[str, Any]) -> None:
    async with running(max_memory=256 * 2**20) as server:
        events = [{**sale(number), "event": "unmapped"} for number in range(500)]
        response = await server.exchange(server.target.post(batch(*events, **shared)))
        assert (response.status, response.body["code"]) == (413, "shared_context_too_large")
        assert server.committer.letters == []


async def test_a_small_context_of_a_batch_is_shared_by_all_of_its_events() -> None:
    async with running() as server:
        events = [{**sale(number), "context": {"page": number}} for number in range(2000)]
        shared = {"context": {"library": {"name": "x" * 200}, "page": 0}, "integrations": {"All": True}}
        assert (await server.exchange(server.target.post(batch(*events, **shared)))).status == 200
        last = json.loads(server.committer.bodies[-1])
        assert last["context"] == {"library": {"name": "x" * 200}, "page": 1999}
        assert last["integrations"] == {"All": True}


@pytest.mark.parametrize(
    "properties",
    [{"x": "y" * 140_000}, {"x": [0] * (MAX_EVENT_VALUES + 1)}, nested(300, x="y" * 140_000)],
    ids=["long text", "many values", "too many levels"],
)
async def test_an_event_that_takes_too_long_to_map_is_rejected_and_the_others_are_accepted(
    properties: dict[str, Any],
) -> None:
    async with running() as server:
        response = await server.exchange(server.target.post(batch(sale(1), sale(2, **properties), sale(3))))
        assert (response.status, response.body["accepted"]) == (200, 2)
        assert [(event["index"], event["code"]) for event in response.body["rejected"]] == [(1, "event_too_large")]


async def test_a_single_event_with_too_many_values_gets_413() -> None:
    async with running({"max_event_bytes": "1MiB"}) as server:
        event = json.dumps(sale(1, x=[0] * (MAX_EVENT_VALUES + 1))).encode()
        response = await server.exchange(server.target.post(event, "/v1/track"))
        assert (response.status, response.body["code"]) == (413, "event_too_large")


# Deduplication


def test_two_sources_with_the_same_message_id_are_both_accepted_and_a_repetition_is_not() -> None:
    dedup = {"d0": DedupWindow(1000, 1e9, float(NOW))}
    shops = [source(FakeMapper(), name=name, dedup=dedup) for name in ("one", "two")]
    for shop in shops:
        result = mapped([sale(1), sale(1)], shop)
        assert (result.accepted, result.deduplicated) == (1, {"d0": 1})
        dedup["d0"].add(result.keys["d0"], float(NOW))
    for shop in shops:
        result = mapped([sale(1)], shop)
        assert (result.accepted, result.ignored, result.deduplicated) == (0, 1, {"d0": 1})


def test_a_rejected_event_is_not_remembered() -> None:
    sender = source(FakeMapper(), dedup={"d0": DedupWindow(1000, 1e9, float(NOW))})
    result = mapped([{**sale(1), "event": "unmapped"}, sale(1)], sender)
    assert (result.accepted, len(result.rejected)) == (1, 1)
