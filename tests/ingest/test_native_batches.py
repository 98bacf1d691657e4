"""Requests that the native path maps: results and counts are those of the Python path, also where both map a part."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from random import Random
from typing import Any, NamedTuple

import pytest

from gateway.config import ServerSettings
from gateway.ingest import DedupWindow, Source
from gateway.ingest.body import ExpandedBody, Reservation
from gateway.ingest.decode import BadRequest
from gateway.ingest.documents import DecodedBody, DocumentReader, EventType
from gateway.ingest.events import RequestResult
from gateway.ingest.fair_scheduler import FairScheduler
from gateway.ingest.request_mapper import (
    EVENTS_PER_SLICE,
    MIN_NATIVE_SLICE,
    NATIVE_FACTOR,
    SLICE_SECONDS,
    RequestMapper,
    _next_size,
)
from gateway.mapping import native
from gateway.memory_budget import MemoryBudget
from gateway.model import JsonObject, split_events
from tests.hostile.requests import random_event, sale
from tests.mapping.builders import mapper

NOW = 1_800_000_000
pytestmark = pytest.mark.skipif(native.load() is None, reason="the native extension is not built, or is switched off")


class Outcome(NamedTuple):
    """All that a request leads to, without the order of lanes and letters."""

    uploads: dict[Any, list[bytes]]
    response: tuple[int, int, list[JsonObject]]
    letters: Counter[Any]
    counts: tuple[dict[str, int], ...]
    rejections: dict[tuple[str, str], int]
    keys: dict[str, set[bytes]]


def outcome_of(result: RequestResult) -> Outcome:
    uploads: dict[Any, list[bytes]] = {}
    for run in result.all_runs():
        assert run.events == len(split_events(run.payload))
        uploads.setdefault(run.lane, []).extend(split_events(run.payload))
    return Outcome(
        # Within a lane, what Python maps comes after what the native path maps.
        {lane: sorted(bodies) for lane, bodies in uploads.items()},
        (result.accepted, result.ignored, [event.as_json() for event in result.rejected]),
        Counter((letter.destination, letter.code, letter.event, letter.message_id) for letter in result.dead_letters),
        (result.mapped_by_destination, result.deduplicated, result.consent_denied),
        result.rejections,
        {destination: keys for destination, keys in result.keys.items() if keys},
    )


class Shop:
    """A source with its destinations; the same requests can be mapped with and without the native path."""

    def __init__(self, *destinations: JsonObject, dedup: bool = True) -> None:
        names = [f"d{number}" for number in range(len(destinations))]
        windows = {name: DedupWindow(1000, 3600.0, float(NOW)) for name in names} if dedup else {}
        mappers = [
            (
                name,
                mapper(
                    standard_to_event_sets={"Purchase": ["1", "2"]}, events_to_standard={"sale": ["Purchase"]}, **given
                ),
            )
            for name, given in zip(names, destinations, strict=True)
        ]
        self.source = Source("shop", mappers, windows)
        self.document: Any = None

    async def request(self, body: JsonObject, *, call_type: str | None = None, natively: bool = True) -> Outcome:
        settings, scheduler = ServerSettings(), FairScheduler()
        reader, requests = DocumentReader(settings, scheduler), RequestMapper(settings, scheduler, lambda: float(NOW))
        text = json.dumps(body).encode()
        with Reservation(MemoryBudget(settings.max_memory)) as reservation:
            if natively:
                self.document = await reader.read(ExpandedBody(text, None), reservation, is_batch=call_type is None)
            else:
                self.document = await reader._decode(ExpandedBody(text, None), reservation)
            if call_type is None:
                mapped = await requests.map_batch(self.source, self.document, reservation)
            else:
                mapped = await requests.map_single(self.source, self.document, call_type)
        return outcome_of(mapped.result)


async def both(make: Callable[[], Shop], *bodies: JsonObject, call_type: str | None = None) -> list[Outcome]:
    """The outcomes of requests on the native path, which have to be those of the Python path."""
    shop, expected = make(), make()
    outcomes = []
    for body in bodies:
        outcome = await shop.request(body, call_type=call_type)
        assert not isinstance(shop.document, DecodedBody), "the native reader has to read it"
        other = await expected.request(body, call_type=call_type, natively=False)
        assert outcome == other
        for each in (shop, expected):
            for destination, keys in outcome.keys.items():
                each.source.dedup[destination].add(keys, float(NOW))
        outcomes.append(outcome)
    return outcomes


def calls(*numbers: int, **changes: Any) -> list[JsonObject]:
    return [{**sale(number), "event": "sale", "timestamp": NOW, **deepcopy(changes)} for number in numbers]


def one_destination() -> Shop:
    return Shop({})


def two_destinations() -> Shop:
    return Shop({}, {"api": "offline", "upload_tag": "till"})


def test_event_types_are_those_of_the_extension() -> None:
    module: Any = native.load()
    assert {event_type.name: event_type.value for event_type in EventType} == {
        name: getattr(module, name) for name in ("TRACK", "IGNORED", "UNKNOWN", "NOT_AN_OBJECT")
    }


@pytest.mark.parametrize("make", [one_destination, two_destinations])
async def test_a_batch_of_usual_events_is_mapped_natively_for_each_destination(make: Callable[[], Shop]) -> None:
    (outcome,) = await both(make, {"batch": calls(*range(5))})
    assert outcome.response == (5, 0, [])
    assert {sum(map(len, outcome.uploads.values()))} == {5 * 2 * len(make().source.mappers)}


async def test_events_that_python_maps_and_rejects_are_counted_with_the_others() -> None:
    events: list[Any] = calls(*range(6))
    events[1]["event"] = "Unknown To All"
    events[2]["properties"]["opt_out"] = "yes"
    events[3] = {"type": "identify", "userId": "7"}
    events[4] = {**events[4], "type": "sale"}
    events += [None, 7, {}]
    (outcome,) = await both(two_destinations, {"batch": events})
    assert outcome.response[:2] == (3, 1)
    assert [event["index"] for event in outcome.response[2]] == [1, 4, 6, 7, 8]


async def test_an_event_that_only_one_destination_rejects_is_accepted_once() -> None:
    events = calls(1, 2)
    del events[0]["properties"]["total"]

    def make() -> Shop:
        return Shop({}, {"purchase_without_value": "reject"}, dedup=False)

    (outcome,) = await both(make, {"batch": events})
    assert outcome.response == (2, 0, [])
    assert outcome.rejections == {("d1", "purchase_without_value"): 1}


async def test_repeated_events_are_removed_within_a_request_and_between_requests() -> None:
    first, second = calls(1, 2, 1, 3), calls(3, 4, 4, 2)
    outcomes = await both(two_destinations, {"batch": first}, {"batch": second}, {"batch": second})
    assert [outcome.response[:2] for outcome in outcomes] == [(3, 1), (1, 3), (0, 4)]


async def test_of_a_rejected_event_and_its_repetition_the_second_is_accepted() -> None:
    events = calls(1, 1)
    events[0]["event"] = "Unknown To All"
    (outcome,) = await both(one_destination, {"batch": events})
    assert (outcome.response[0], len(outcome.response[2])) == (1, 1)


async def test_events_without_an_id_are_not_taken_for_repetitions() -> None:
    (outcome,) = await both(one_destination, {"batch": calls(1, 1, 1, messageId=None)})
    assert outcome.response == (3, 0, [])


async def test_a_batch_of_several_slices_is_mapped_completely() -> None:
    count = EVENTS_PER_SLICE * NATIVE_FACTOR + 1
    (outcome,) = await both(one_destination, {"batch": calls(*range(count))})
    assert outcome.response == (count, 0, [])


@pytest.mark.parametrize(("call_type", "counts"), [("track", (1, 0)), ("page", (0, 1))])
async def test_a_single_call_has_the_type_of_its_route(call_type: str, counts: tuple[int, int]) -> None:
    (event,) = calls(1, type="something else")
    (outcome,) = await both(two_destinations, event, call_type=call_type)
    assert outcome.response[:2] == counts


async def test_a_single_call_that_is_rejected_has_its_dead_letter() -> None:
    (event,) = calls(1)
    (outcome,) = await both(one_destination, {**event, "event": "Unknown To All"}, call_type="track")
    assert [code for _, code, _, _ in outcome.letters] == ["unmapped_event"]


@pytest.mark.parametrize(
    ("body", "call_type"),
    [
        ({"batch": calls(1), "context": {"ip": "1.2.3.4"}}, None),
        ({"batch": calls(1), "integrations": {"All": True}}, None),
        ({"batch": calls(1, note="x" * 140_000)}, None),
        ({**calls(1)[0], "batch": []}, "track"),
        ({**calls(1)[0], "note": "x" * 40_000}, "track"),
        ({"batch": {"not": "a list"}}, None),
    ],
)
async def test_python_reads_bodies_that_are_not_usual(body: JsonObject, call_type: str | None) -> None:
    shop = one_destination()
    try:
        await shop.request(body, call_type=call_type)
    except BadRequest as error:
        assert error.code in {"event_too_large", "no_batch"}  # noqa: PT017 (only some of the bodies are refused)
    assert isinstance(shop.document, DecodedBody)


@pytest.mark.parametrize("events", [[], calls(*range(4))])
async def test_the_number_of_events_is_checked(events: Sequence[JsonObject]) -> None:
    reader_settings = ServerSettings(max_batch_events=3)
    scheduler = FairScheduler()
    with Reservation(MemoryBudget(10**9)) as reservation:
        text = json.dumps({"batch": events}).encode()
        document = await DocumentReader(reader_settings, scheduler).read(
            ExpandedBody(text, None), reservation, is_batch=True
        )
        with pytest.raises(BadRequest) as refused:
            await RequestMapper(reader_settings, scheduler, lambda: float(NOW)).map_batch(
                one_destination().source, document, reservation
            )
    assert refused.value.code == ("too_many_events" if events else "empty_batch")


async def test_random_batches_have_the_same_outcome_on_both_paths() -> None:
    random = Random(5)
    native_documents = 0
    shop, expected = two_destinations(), two_destinations()
    for _ in range(150):
        events = [random_event(random, event) for event in calls(*random.choices(range(40), k=random.randrange(1, 12)))]
        body = json.loads(json.dumps({"batch": events}).encode("utf-8", "replace"))
        outcome = await shop.request(body)
        native_documents += not isinstance(shop.document, DecodedBody)
        other = await expected.request(body, natively=False)
        assert outcome == other
    assert native_documents > 30


async def test_memory_is_reserved_before_a_body_is_read_and_too_little_of_it_refuses_the_request() -> None:
    settings = ServerSettings()
    budget = MemoryBudget(100_000)
    text = json.dumps({"batch": calls(*range(100))}).encode()
    with Reservation(budget) as reservation, pytest.raises(BadRequest) as refused:
        await DocumentReader(settings, FairScheduler()).read(ExpandedBody(text, None), reservation, is_batch=True)
    assert refused.value.status == 429
    assert budget.reserved == 0
    await asyncio.sleep(0)


def test_slow_slices_get_smaller_and_fast_ones_larger_within_bounds() -> None:
    assert _next_size(128, SLICE_SECONDS * 2) == 32
    assert _next_size(128, SLICE_SECONDS / 2) == 128
    assert _next_size(128, SLICE_SECONDS / 10) == 256
    assert _next_size(MIN_NATIVE_SLICE, 1.0) == MIN_NATIVE_SLICE
    assert _next_size(EVENTS_PER_SLICE * NATIVE_FACTOR, 0.0) == EVENTS_PER_SLICE * NATIVE_FACTOR
