"""Properties of the compiled mapper: the same results as the reference mapper, and no exception for any JSON value."""

from __future__ import annotations

import random
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.model import Rejection
from tests.mapping import event_generator
from tests.mapping.builders import NOW, mapper, sale
from tests.mapping.comparison import (
    EVENTS,
    EVENTS_A_SEED,
    SECONDS,
    canonical,
    case,
    outcome,
    property_settings,
    smallest,
)

pytestmark = pytest.mark.timeout(SECONDS)
SEEDS = st.integers(0, 2**48)
MAPPERS = [mapper(api, limited_data_usage=True, default_country="US") for api in ("conversions", "offline")]

texts = st.text(st.characters(categories=["L", "N", "P", "S", "Z", "Cc", "Cs"]), max_size=20)
numbers = st.integers() | st.integers(-(2**70), 2**70) | st.floats()
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)


@property_settings()
@given(SEEDS)
@example(819861204)  # an action source that is too long, before a valid one
@example(441326639)  # a currency that is too long
def test_the_compiled_mapper_agrees_with_the_reference_mapper(seed: int) -> None:
    generated = case(seed)

    def differs(event: Any) -> bool:
        return outcome(generated.mapper.map(event, NOW)) != outcome(generated.reference(event))

    for event in generated.events:
        if differs(event):
            least = smallest(event, differs)
            actual, expected = outcome(generated.mapper.map(least, NOW)), outcome(generated.reference(least))
            pytest.fail(
                f"seed {seed}\nsettings {generated.tree}\nevent {least}\nexpected {expected}\nactual   {actual}"
            )


def test_the_generated_events_have_every_outcome() -> None:
    outcomes = {
        "mapped" if isinstance(result, list) else result
        for seed in range(60)
        for generated in [case(seed)]
        for result in (outcome(generated.reference(event)) for event in generated.events)
    }

    assert outcomes == {
        *(None, "mapped", "not_an_object", "missing_event_name", "unmapped_event", "no_match_key", "weak_match_keys"),
        *("event_time_invalid", "event_time_too_old", "event_time_in_future", "purchase_without_value"),
        *("event_too_large", "website_incomplete", "app_incomplete", "not sent: consent_denied"),
    }


@property_settings(EVENTS * EVENTS_A_SEED // 16)  # one event in each example
@given(SEEDS, st.lists(json_values, min_size=1, max_size=3))
def test_no_json_value_at_any_path_raises_an_exception(seed: int, values: list[Any]) -> None:
    rng = random.Random(seed)
    event = event_generator.event(rng)
    for value in values:
        event = with_one_replaced(rng, event, value)

    for store in MAPPERS:
        mapped = store.map(event, NOW)
        redacted = store.redact(event)
        for upload in mapped if isinstance(mapped, list) else []:
            canonical(upload.body)
        if isinstance(mapped, Rejection):
            mapped.message.encode()
            assert (mapped.code == "not_an_object") == (not isinstance(event, dict)), event
        assert (redacted is None) == (not isinstance(event, dict))
        if redacted is not None:
            canonical(redacted)


def with_one_replaced(rng: random.Random, event: Any, value: Any) -> Any:
    """The event with the value at a random path, or under a new key."""
    if not isinstance(event, dict | list) or not event or rng.random() < 0.1:
        return value if rng.random() < 0.5 or not isinstance(event, dict) else event | {"another": value}
    if isinstance(event, list):
        index = rng.randrange(len(event))
        return [*event[:index], with_one_replaced(rng, event[index], value), *event[index + 1 :]]
    key = rng.choice(list(event))
    return event | {key: with_one_replaced(rng, event[key], value)}


def nested(levels: int) -> Any:
    value: Any = "x"
    for level in range(levels):
        value = [value] if level % 2 else {"deeper": value}
    return value


HUGE = [
    pytest.param("x" * 2**20, id="a text of 1 MiB"),
    pytest.param("1" * 2**20, id="a number of 1 MiB"),
    pytest.param("a@" * 2**19, id="an email of 1 MiB"),
    pytest.param(" " * 2**20 + "x", id="white space of 1 MiB"),
    pytest.param("https://x/?" + "fbclid=&" * 2**17, id="a query of 1 MiB"),
    pytest.param("0" * 2**20, id="zeros of 1 MiB"),
    pytest.param("\ufdfa" * 2**16, id="a text that becomes eighteen times longer when it is normalised"),
    pytest.param(10**5000, id="a number of five thousand digits"),
    pytest.param(nested(5000), id="five thousand levels"),
    pytest.param(["a@b.de"] * 10**4, id="ten thousand entries"),
    pytest.param({str(n): n for n in range(10**4)}, id="ten thousand names"),
]
PATHS = [
    *("event", "userId", "timestamp", "messageId", "traits", "context", "properties", "integrations", "externalId"),
    *("traits.email", "traits.phone", "traits.birthday", "traits.name", "traits.firstName", "traits.gender"),
    *("traits.zip", "traits.state", "traits.country", "traits.address", "traits.city", "context.page.url"),
    *("context.ip", "context.fbc", "context.userAgent", "context.externalId", "context.dataProcessingOptions"),
    *("properties.value", "properties.currency", "properties.order_id", "properties.products", "properties.upload_tag"),
    *("properties.color", "properties.category", "context.device.advertisingId"),
]


@pytest.mark.parametrize("value", HUGE)
def test_a_huge_or_deep_value_at_any_path_raises_no_exception(value: Any) -> None:
    for path in PATHS:
        event: Any = sale(event="Order Completed", userId="u-1")
        *holders, key = path.split(".")
        holder = event
        for name in holders:
            holder = holder.setdefault(name, {})
        holder[key] = value
        for store in MAPPERS:
            mapped = store.map(event, NOW)
            assert isinstance(mapped, list | Rejection), path
            assert not isinstance(mapped, Rejection) or mapped.code != "not_an_object", path
            assert orjson.loads(store.redact(event) or b"null"), path
