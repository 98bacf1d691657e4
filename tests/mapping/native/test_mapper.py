"""The native mapper: the same results as the Python path, for generated events, batches and SDKs' payloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.sales import Sales
from gateway.mapping.native import load, plan
from gateway.model import JsonObject, Lane, split_events
from tests.mapping.builders import NOW, destination, identity, mapper, sale
from tests.mapping.comparison import EVENTS, SECONDS, property_settings, smallest
from tests.mapping.native.comparison import Pair, bodies, document_of, encoded, native_of, read_body
from tests.mapping.native.generator import Case, case
from tests.mapping.native.sdk_events import SDK_EVENTS

pytestmark = [
    pytest.mark.timeout(SECONDS),
    pytest.mark.skipif(load() is None, reason="the native extension is not built, or switched off"),
]


def failure(generated: Case, body: bytes) -> str | None:
    """What differs for one event, counters included, with new mappers."""
    pair = generated.pair()
    return pair.difference(body) or pair.counter_difference()


def report(seed: int, generated: Case, body: bytes) -> str:
    """The failure of the smallest event that still fails."""

    def fails(event: Any) -> bool:
        smaller = encoded(event)
        return smaller is not None and read_body(smaller) is not None and failure(generated, smaller) is not None

    least = smallest(orjson.loads(body), fails)
    return f"seed {seed}\nsettings {generated.tree}\nevent {least}\n{failure(generated, orjson.dumps(least))}"


@property_settings()
@given(st.integers(0, 2**48))
def test_native_mapping_gives_the_bytes_lanes_and_counters_of_the_python_path(seed: int) -> None:
    generated = case(seed)
    pair = generated.pair()
    if not pair.is_native:
        return
    for body in bodies(generated.events):
        if pair.difference(body) is not None:
            pytest.fail(report(seed, generated, body))
    if difference := pair.counter_difference():
        failing = next((body for body in bodies(generated.events) if failure(generated, body)), None)
        pytest.fail(difference if failing is None else report(seed, generated, failing))


@property_settings(EVENTS // 4)
@given(st.integers(0, 2**48))
def test_a_batch_is_mapped_as_its_events_one_by_one_would_be(seed: int) -> None:
    generated = case(seed)
    pair = generated.pair()
    body = b'{"batch":[' + b",".join(bodies(generated.events)) + b"]}"

    if pair.is_native:
        assert pair.difference(body) is None
        assert pair.counter_difference() is None


def test_a_third_of_the_generated_events_that_python_maps_is_mapped_natively() -> None:
    native = python = 0
    for seed in range(12):
        generated = case(seed)
        pair = generated.pair()
        if pair.is_native:
            usable = list(bodies(generated.events))
            assert all(pair.difference(body) is None for body in usable)
            native += pair.mapped
            python += sum(isinstance(pair.python.map(orjson.loads(body), NOW), list) for body in usable)

    assert native > 0.35 * python


def fall_back_share(events: Sequence[JsonObject], **settings: Any) -> float:
    pair = Pair(destination(**settings))
    assert all(pair.difference(orjson.dumps(event)) is None for event in events)
    return 1 - pair.mapped / len(events)


def test_of_the_demos_sales_fewer_than_one_in_fifty_fall_back() -> None:
    sales = Sales(7, bad_share=0.0, clock=lambda: float(NOW)).events(2000)

    assert fall_back_share(sales, events_to_standard={"Quote Requested": ["Lead"]}) < 0.02


@pytest.mark.parametrize("sdk", SDK_EVENTS)
def test_the_payloads_of_the_usual_sdks_are_mapped_natively(sdk: str) -> None:
    assert fall_back_share(SDK_EVENTS[sdk]) == 0


def test_only_the_selected_events_are_mapped() -> None:
    store = mapper()
    document = document_of(orjson.dumps({"batch": [sale(userId=f"u-{number}") for number in range(5)]}))

    [run], fall_back = native_of(store).map(document, bytes([1, 0, 1]), NOW, 2)
    assert fall_back == []
    assert run.events == 2
    assert [event["user_data"] for event in map(orjson.loads, split_events(run.payload))] == [
        identity(store, sale(userId=f"u-{number}")) for number in (2, 4)
    ]


def test_events_that_fall_back_are_named_in_order_and_count_nothing() -> None:
    store = mapper()
    unusual = sale(userId=None, traits={"email": ["a@b.de", "c@d.de"]})
    document = document_of(orjson.dumps({"batch": [unusual, sale(), 5, sale(event=None)]}))

    runs, fall_back = native_of(store).map(document, bytes([1] * 4), NOW)
    assert fall_back == [0, 2, 3]
    assert [run.events for run in runs] == [1]
    assert store.coverage().events == 1


def test_events_are_divided_into_lanes_by_their_upload_tags() -> None:
    store = mapper()
    tags = ("a", "b", "a", None, " RudderStack ", "b")
    events = [sale(properties={"upload_tag": tag}) for tag in tags]
    document = document_of(orjson.dumps({"batch": events}))

    runs, _ = native_of(store).map(document, bytes([1] * 6), NOW)
    assert [(run.lane, run.events) for run in runs] == [
        (Lane("store", "1001", "a"), 2),
        (Lane("store", "1001", "b"), 2),
        (Lane("store", "1001", "RudderStack"), 2),
    ]


@pytest.mark.parametrize(("first", "selected"), [(-1, b"\1"), (2, b"\1"), (0, b"\1\1\1"), (1, b"\1\1")])
def test_a_selection_beyond_the_events_is_an_error(first: int, selected: bytes) -> None:
    document = document_of(orjson.dumps({"batch": [sale(), sale()]}))

    with pytest.raises(IndexError):
        native_of(mapper()).map(document, selected, NOW, first)


def test_settings_that_only_the_python_path_maps_are_named() -> None:
    store = mapper(extra_fields={"email": ["properties.customer.mail"]})

    assert store.native is None
    assert store.path == "python (`extra_fields` reads an identity inside a property)"


def test_settings_beyond_the_limits_of_the_extension_are_named() -> None:
    deep = mapper(extra_fields={"email": [".".join(["a"] * 20)]})
    many = mapper(standard_to_event_sets={"Purchase": [str(number) for number in range(5000)]})

    assert (deep.native, many.native) == (None, None)
    assert "has too many steps" in deep.path
    assert many.path == "python (the plan is too large for native mapping)"


def test_an_error_in_a_function_of_python_gives_the_event_to_the_python_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_text: str) -> str:
        raise ValueError("a bug")

    monkeypatch.setattr(plan, "without_personal_text", fail)
    document = document_of(orjson.dumps({"batch": [sale(), sale(properties={"note": "a@b.de"}), sale()]}))

    runs, fall_back = native_of(mapper()).map(document, bytes([1] * 3), NOW)
    assert fall_back == [1]
    assert [run.events for run in runs] == [2]


def test_exhausted_memory_and_interrupts_in_a_function_of_python_are_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    document = document_of(orjson.dumps(sale(properties={"note": "a@b.de"})))
    for error in (MemoryError, KeyboardInterrupt):

        def fail(_text: str, error: type[BaseException] = error) -> str:
            raise error

        monkeypatch.setattr(plan, "without_personal_text", fail)
        with pytest.raises(error):
            native_of(mapper()).map(document, b"\1", NOW)
