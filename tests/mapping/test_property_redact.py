"""Properties of redacted events: mapped like the original, no personal values, unchanged by a second redaction."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.mapping import redact
from gateway.mapping.routes import switches_of
from gateway.model import Dialect
from tests.mapping.builders import NOW, mapper, sale
from tests.mapping.comparison import EVENTS, SECONDS, Outcome, canonical, case, outcome, property_settings, smallest
from tests.mapping.reference_tables import IDENTITY_KEYS, NAME_STARTS, PATHS

pytestmark = pytest.mark.timeout(SECONDS)
SEEDS = st.integers(0, 2**48)
PERSONAL_TEXTS = (
    *("John_Smith", "jürgen", "ｊｏｈｎ", "a.b+c", "o'neil", "Ann@example.com", "650 555", "555-1212", "20 7946"),
    *("Valéry", "O'Brien", "Jean-Luc", "Mary", "İpek", "Groß", "ＳＭＩＴＨ", "Keener", "Souza", "Tolkien", "정"),
    *("Paris", "New York", "São Paulo", "Saint-Jean", "القاهرة", "John's", "California", "Bayern", "carolina"),
    *("94035-1234", "M1 1AE", "K1A 0B1", "100-0001"),
)
"""Parts of the generated personal values. No other generated value contains them."""


FREE_TEXT_PROPERTIES = {"customer_mail", "who", "given", "store"}
"""Properties that contain a malformed email, a name or a city, and whose names do not show it."""


def without_free_properties(event: Any) -> Any:
    properties = event.get("properties") if isinstance(event, dict) else None
    if not isinstance(properties, dict):
        return event
    return event | {"properties": {key: value for key, value in properties.items() if key not in FREE_TEXT_PROPERTIES}}


def without_name_starts(original: Outcome) -> Outcome:
    """The outcome without the keys that are calculated from plain names: a redacted event has only their hashes."""
    if not isinstance(original, list):
        return original
    bodies = [(lane, expires_at, orjson.loads(body)) for lane, expires_at, body in original]
    for _, _, body in bodies:
        for field in NAME_STARTS:
            body.get("match_keys", {}).pop(IDENTITY_KEYS[field][1], None)
    return [(lane, expires_at, canonical(orjson.dumps(body))) for lane, expires_at, body in bodies]


@property_settings(EVENTS // 2)
@given(SEEDS)
def test_a_redacted_event_is_mapped_like_the_original(seed: int) -> None:
    generated = case(seed)

    def differs(event: Any) -> bool:
        redacted = generated.mapper.redact(event, NOW)
        expected = without_name_starts(outcome(generated.mapper.map(event, NOW)))
        if redacted is None or expected == "event_too_large":  # a redacted event may be smaller
            return False
        return outcome(generated.mapper.map(orjson.loads(redacted), NOW)) != expected

    for event in generated.events:
        if differs(event):
            least = smallest(event, differs)
            redacted = generated.mapper.redact(least, NOW)
            expected = without_name_starts(outcome(generated.mapper.map(least, NOW)))
            actual = outcome(generated.mapper.map(orjson.loads(redacted or b""), NOW))
            pytest.fail(
                f"seed {seed}\n{generated.tree}\nevent    {least}\nredacted {redacted!r}\n"
                f"expected {expected}\nactual   {actual}"
            )


@property_settings(EVENTS // 4)
@given(SEEDS)
def test_redacting_a_redacted_event_changes_nothing(seed: int) -> None:
    generated = case(seed)

    for event in generated.events:
        redacted = generated.mapper.redact(event, NOW)
        if redacted is not None:
            assert generated.mapper.redact(orjson.loads(redacted), NOW) == redacted, (
                f"seed {seed}\n{generated.tree}\n{event}"
            )


@property_settings(EVENTS // 4)
@given(SEEDS)
def test_a_redacted_event_has_no_personal_value(seed: int) -> None:
    generated = case(seed)

    def leaks(event: Any) -> bool:
        text = (generated.mapper.redact(event, NOW) or b"").decode()
        return any(personal in text for personal in PERSONAL_TEXTS)

    if generated.destination.allow_properties:
        return  # these properties are kept whatever they look like
    for event in map(without_free_properties, generated.events):
        if leaks(event):
            least = smallest(event, leaks)
            redacted = generated.mapper.redact(least, NOW)
            pytest.fail(f"seed {seed}\nsettings {generated.tree}\nevent {least}\nredacted {redacted!r}")


PERSONAL_FIELDS = {
    "email": "Zoe.Quartz@example.com",
    "phone": "+1 650 555 1212",
    "gender": "female",
    "birthday": "16, 02, 1997",
    "first_name": "Zoe",
    "last_name": "Quartz",
    "name": "Zoe Quartz",
    "city": "Quartzville",
    "state": "California",
    "zip": "94035-1234",
}


@pytest.mark.parametrize("hashing", [True, False])
@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_a_personal_value_is_redacted_at_every_path_of_its_field(api: str, hashing: bool) -> None:
    store = mapper(api, hashing=hashing, default_country="US")

    for field, value in PERSONAL_FIELDS.items():
        for path in PATHS[field]:
            redacted = store.redact(placed(path, value))
            assert value not in (redacted or b"").decode(), path


@pytest.mark.parametrize(
    "name", ["email", "E-Mail", "First Name", "last_name", "phoneNumber", "Birth-Date", "Zip Code"]
)
def test_a_property_with_the_name_of_an_identity_is_removed_at_any_depth(name: str) -> None:
    event = sale(properties={name: "Quartz", "list": [{"deep": {name: "Quartz", "kept": 1}}]})

    for api in ("conversions", "offline"):
        redacted = (mapper(api).redact(event) or b"").decode()
        assert "Quartz" not in redacted
        assert '"kept":1' in redacted


def test_values_that_the_mapper_does_not_read_are_removed() -> None:
    event = sale(traits={"diary": "Quartz"}, context={"location": {"street": "Quartz"}}, Note="Quartz")

    assert "Quartz" not in (mapper().redact(event) or b"").decode()


@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_a_personal_value_at_an_additional_path_is_redacted(api: str) -> None:
    for field, value in PERSONAL_FIELDS.items():
        for path in ("properties.zz", "properties.a.b", "context.custom.zz", "traits.zz", "zz"):
            store = mapper(api, extra_fields={field: [path]}, default_country="US")
            event = placed(path, value)
            redacted = store.redact(event)
            assert value not in (redacted or b"").decode(), (field, path)
            expected = without_name_starts(outcome(store.map(event, NOW)))
            assert outcome(store.map(orjson.loads(redacted or b""), NOW)) == expected


def more_than_is_read(api: str, integrations: Any) -> bool:
    """Whether a redacted event has more of these `integrations` than mapping reads."""
    redacted = orjson.loads(mapper(api).redact(sale(integrations=integrations)) or b"")["integrations"]
    switches = {"All", *switches_of(Dialect(api))}
    return bool(redacted.keys() - switches) or any(
        not isinstance(entry, bool) and (not isinstance(entry, dict) or bool(entry.keys() - {"contentType"}))
        for entry in redacted.values()
    )


INTEGRATIONS = (
    *({"All": "Zoe Quartz"}, {"All": 5}, {"All": [True]}, {"Google Ads": {"user": "Zoe"}}),
    *({"FacebookOfflineConversions": {"user": "Zoe"}}, {"Facebook Offline Conversions": {"contentType": {"a": "Zoe"}}}),
)


@pytest.mark.parametrize("api", ["conversions", "offline"])
@pytest.mark.parametrize("integrations", INTEGRATIONS, ids=str)
def test_of_integrations_only_what_mapping_reads_is_kept(api: str, integrations: Any) -> None:
    assert not more_than_is_read(api, integrations)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("_switch", lambda entry: entry),
        ("_switch", lambda entry: {"contentType": entry.get("contentType")} if isinstance(entry, dict) else entry),
        ("_switch", lambda entry: entry if isinstance(entry, dict) else entry is not False),
        ("switches_of", lambda api: (*switches_of(api), "Google Ads")),
    ],
    ids=["entries as given", "other types as given", "objects as given", "entries of other destinations kept"],
)
def test_a_planted_fault_in_the_reduction_of_integrations_is_detected(
    monkeypatch: pytest.MonkeyPatch, name: str, fault: Any
) -> None:
    monkeypatch.setattr(redact, name, fault)

    assert any(more_than_is_read("conversions", given) for given in INTEGRATIONS)


@pytest.mark.parametrize("entry", [{}, None], ids=["the content type lost", "entries lost"])
def test_a_planted_fault_that_loses_what_mapping_reads_of_integrations_is_detected(
    monkeypatch: pytest.MonkeyPatch, entry: Any
) -> None:
    monkeypatch.setattr(redact, "_switch", lambda _: entry)
    store = mapper()
    events = [
        sale(event="Product Added", integrations={"FacebookOfflineConversions": {"contentType": "hotel"}}),
        sale(integrations={"All": False}),
    ]

    def is_detected(event: Any) -> bool:
        redacted = orjson.loads(store.redact(event, NOW) or b"")
        return outcome(store.map(redacted, NOW)) != outcome(store.map(event, NOW))

    assert any(map(is_detected, events))


def placed(path: str, value: Any) -> Any:
    """A sale with a value at a path."""
    event: Any = sale()
    *holders, key = path.split(".")
    holder = event
    for name in holders:
        holder = holder.setdefault(name, {})
    holder[key] = value
    return event
