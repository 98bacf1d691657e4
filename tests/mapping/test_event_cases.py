"""Rules of the event, the sale, consent and privacy, as cases: a source event, and what is sent or why nothing is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.model import JsonObject, Mapped, NotSent, Rejection
from tests.mapping.builders import NOW, destination, mapper, sale
from tests.mapping.comparison import outcome
from tests.mapping.reference_mapper import map_event
from tests.mapping.reference_values import at

CASES: list[JsonObject] = json.loads((Path(__file__).parent / "data/event_cases.json").read_text("utf-8"))["cases"]
"""`expected` are paths of the body to values, null for absent; `outcome` is the code of an event that is not sent.

A path may begin with `identity` (`user_data` or `match_keys`), `sale` (`custom_data` or the body) or `lane`.
"""
ROWS = [
    pytest.param(api, case, id=f"{number} {case['rule']} {api}")
    for number, case in enumerate(CASES)
    for api in case["api"]
]


def is_as_expected(mapped: Mapped, api: str, case: JsonObject) -> bool:
    if "outcome" in case:
        code = mapped.code if isinstance(mapped, Rejection) else "ignored" if mapped is None else mapped
        return bool(code == case["outcome"])
    if not isinstance(mapped, list):
        return False
    body = orjson.loads(mapped[0].body)
    places = {
        "identity": body.get("user_data") or body.get("match_keys"),
        "sale": body["custom_data"] if api == "conversions" else body,
        "lane": mapped[0].lane._asdict(),
    }
    return all(at(places | body, path) == value for path, value in case["expected"].items())


@pytest.mark.parametrize(("api", "case"), ROWS)
def test_an_event_is_sent_as_the_case_says(api: str, case: JsonObject) -> None:
    mapped = mapper(api, **case.get("settings", {})).map(case["event"], NOW)

    assert is_as_expected(mapped, api, case), mapped


@pytest.mark.parametrize(("api", "case"), ROWS)
def test_the_reference_mapper_agrees_with_the_case(api: str, case: JsonObject) -> None:
    settings = destination(api, **case.get("settings", {}))
    mapped = map_event("store", settings, case["event"], NOW)

    assert is_as_expected(mapped, api, case), mapped
    assert outcome(mapper(api, **case.get("settings", {})).map(case["event"], NOW)) == outcome(mapped)


@pytest.mark.parametrize(("api", "case"), ROWS)
def test_a_redacted_event_is_sent_as_the_case_says(api: str, case: JsonObject) -> None:
    store = mapper(api, **case.get("settings", {}))
    redacted = store.redact(case["event"], NOW)

    if case.get("outcome") == "consent_denied":
        assert redacted is None
    else:
        assert is_as_expected(store.map(orjson.loads(redacted or b""), NOW), api, case), redacted


PERSONAL = ("Ann@example.com", "ann%40example.com", "+49 151 23456789", "203.0.113.7")


@pytest.mark.parametrize("place", ["properties.note", "properties.deep.a", "context.page.url", "properties.link"])
@pytest.mark.parametrize("text", PERSONAL)
def test_a_redacted_event_has_no_personal_text(place: str, text: str) -> None:
    value = f"https://shop.example/p?to={text}" if place.endswith(("url", "link")) else text
    event: Any = {"type": "track", "event": "Order Completed", "userId": "u-1"}
    *holders, key = place.split(".")
    holder = event
    for name in holders:
        holder = holder.setdefault(name, {})
    holder[key] = value

    for api in ("conversions", "offline"):
        assert text not in (mapper(api).redact(event) or b"").decode()


def test_a_redacted_event_keeps_only_the_entries_of_integrations_that_are_read() -> None:
    event = {
        "event": "Order Completed",
        "integrations": {
            "All": True,
            "Facebook Conversions": {"contentType": "hotel", "user": "Ann"},
            "Google Ads": {"user": "Ann"},
        },
    }

    def kept(api: str) -> Any:
        return orjson.loads(mapper(api).redact(event) or b"")["integrations"]

    assert kept("conversions") == {"All": True, "Facebook Conversions": {"contentType": "hotel"}}
    assert kept("offline") == {"All": True}


@pytest.mark.parametrize("key", ["type", "event", "messageId", "originalTimestamp", "timestamp", "sentAt"])
@pytest.mark.parametrize("value", [{"email": "ann@example.com"}, ["Ann"], {"a": [{"b": "Ann"}]}])
def test_a_redacted_event_keeps_no_content_of_objects_where_a_text_belongs(key: str, value: Any) -> None:
    event = sale(**{key: value})
    redacted = mapper().redact(event) or b""

    assert b"ann" not in redacted.lower()
    assert outcome(mapper().map(orjson.loads(redacted), NOW)) == outcome(mapper().map(event, NOW))


def test_a_type_that_looks_personal_is_left_out_of_a_redacted_event() -> None:
    assert "type" not in orjson.loads(mapper().redact(sale(type="ann@example.com")) or b"")
    assert orjson.loads(mapper().redact(sale(type="sale")) or b"")["type"] == "sale"


@pytest.mark.parametrize(
    ("event", "ids"),
    [
        (sale(properties={"order_id": "1001"}), ("m-1", "1001")),
        (sale(properties={"orderId": 1001.0}), ("m-1", "1001")),
        (sale(properties={"order_id": {}, "orderId": "1002"}), ("m-1", "1002")),
        (sale(messageId=None, properties={"invoice": "I-7"}), (None, "I-7")),
        (sale(messageId="ann@example.com", properties={"order_id": "+1 650 555 1212"}), (None, None)),
        (sale(messageId=7, properties=[]), (None, None)),
        (sale(messageId="m" * 4097, properties={"order_id": "o" * 4096}), (None, "o" * 200)),
        ({"type": "alien", "messageId": "m-2", "properties": {"order_id": "1003"}}, ("m-2", "1003")),
        ("text", (None, None)),
        (sale(context={"consentManagement": {"deniedConsentIds": ["ads"]}}), (None, None)),
    ],
    ids=[
        "usual",
        "number",
        "next path",
        "path of the settings",
        "personal",
        "types",
        "long",
        "unknown type",
        "text",
        "denied",
    ],
)
def test_the_ids_of_a_source_event(event: Any, ids: tuple[str | None, str | None]) -> None:
    store = mapper(extra_fields={"order_id": ["properties.invoice"]}, consent={"categories": ["ads"]})

    assert store.ids(event) == ids


def test_properties_that_are_left_out_are_counted_by_name() -> None:
    store = mapper()
    properties = {"customer_email": "x", "note": "ann@example.com", "deep": {"userIP": 1}, "ann@b.de": 1, "email": "x"}

    for _ in range(2):
        store.map({"event": "Order Completed", "userId": "u-1", "properties": properties}, NOW)

    assert store.coverage().left_out == {"(other)": 2, "customer_email": 2, "note": 2, "userIP": 2}


def test_the_names_that_are_counted_are_limited() -> None:
    store = mapper()
    for number in range(300):
        store.map({"event": "Order Completed", "userId": "u-1", "properties": {f"email_{number}": 1}}, NOW)

    left_out = store.coverage().left_out
    assert sum(left_out.values()) == 300
    assert len(left_out) == 101


def test_consent_is_denied_before_anything_else_is_read() -> None:
    store = mapper(consent={"categories": ["C0004"]})

    for event in ({}, {"event": "Unmapped"}, {"event": "Order Completed", "integrations": {"All": False}}):
        denied = event | {"context": {"consentManagement": {"deniedConsentIds": ["C0004"]}}}
        assert store.map(denied, NOW) is NotSent.CONSENT_DENIED
        assert store.redact(denied) is None
