"""Planted faults in the rules of the event, the sale, consent and privacy. See `test_planted_faults`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from gateway.model import JsonObject, Mapped, NotSent, Rejection
from tests.mapping.builders import NOW
from tests.mapping.comparison import Case, case, outcome
from tests.mapping.event_generator import CONVERSIONS_SWITCHES, EVENT_VALUES, PERSONAL_LOOKING_NAMES
from tests.mapping.reference_values import at
from tests.mapping.test_planted_faults import SEEDS, Fault, in_body, in_event, put, with_setting, without_path


def without_property(name: str) -> Fault:
    """One property is never read."""

    def changed(event: JsonObject) -> JsonObject:
        return put(event, f"properties.{name}", None) if at(event, f"properties.{name}") is not None else event

    return in_event(changed)


def without_key(name: str) -> Fault:
    """One key is missing on every event."""
    return in_body(lambda body: {key: value for key, value in body.items() if key != name})


def in_custom_data(change: Callable[[JsonObject, Any], JsonObject]) -> Fault:
    """A fault that changes `custom_data`, given the properties."""

    def faulty(case: Case, event: Any) -> Mapped:
        properties = at(event, "properties")

        def changed(body: JsonObject) -> JsonObject:
            custom = body.get("custom_data", {})
            new = change(custom, properties if isinstance(properties, dict) else {})
            return body | {"custom_data": new} if new != custom else body

        return in_body(changed)(case, event)

    return faulty


def as_given(name: str) -> Fault:
    """One property is passed on as it was given."""
    return in_custom_data(lambda custom, given: custom | ({name: given[name]} if name in custom else {}))


def url_as_given(case: Case, event: Any) -> Mapped:
    url = at(event, "context.page.url")
    return (
        in_body(lambda body: body | ({"event_source_url": url.strip()} if "event_source_url" in body else {}))(
            case, event
        )
        if isinstance(url, str)
        else case.mapper.map(event, NOW)
    )


def options_changed(is_faulty: Callable[[Any], bool]) -> Fault:
    """Some processing options are not read."""

    def changed(event: JsonObject) -> JsonObject:
        path = "context.dataProcessingOptions"
        return put(event, path, None) if at(event, path) is not None and is_faulty(at(event, path)) else event

    return in_event(changed)


def consent_kept(case: Case, event: Any) -> Mapped:
    """An event that denies consent is rejected, and so kept."""
    mapped = case.mapper.map(event, NOW)
    return Rejection("consent_denied", "") if mapped is NotSent.CONSENT_DENIED else mapped


def in_consent(field: str, value: Any) -> Fault:
    """One setting of the consent is not read."""

    def faulty(case: Case, event: Any) -> Mapped:
        if case.destination.consent is None:
            return case.mapper.map(event, NOW)
        return with_setting("consent", case.destination.consent.model_copy(update={field: value}))(case, event)

    return faulty


def incomplete_sent(code: str, holder: str, values: JsonObject) -> Fault:
    """Events are sent although they are incomplete."""

    def faulty(case: Case, event: Any) -> Mapped:
        mapped = case.mapper.map(event, NOW)
        if not isinstance(mapped, Rejection) or mapped.code != code:
            return mapped
        given = event.get(holder)
        return case.mapper.map(event | {holder: (given if isinstance(given, dict) else {}) | values}, NOW)

    return faulty


def message_id_first(event: JsonObject) -> JsonObject:
    properties = event.get("properties")
    if not isinstance(properties, dict) or not event.get("messageId"):
        return event
    return event | {"properties": {key: value for key, value in properties.items() if "event" not in key}}


def without_switches(event: JsonObject) -> JsonObject:
    given = event.get("integrations")
    if not isinstance(given, dict):
        return event
    return event | {"integrations": {key: value for key, value in given.items() if key not in CONVERSIONS_SWITCHES}}


def always_a_group(case: Case, event: Any) -> Mapped:
    """A single product is labelled a group."""
    mapped = case.mapper.map(event, NOW)
    if not isinstance(mapped, list) or at(event, "properties.products"):
        return mapped
    bodies = [orjson.loads(each.body) for each in mapped]
    for body in bodies:
        sale = body if "content_type" in body else body["custom_data"]
        if body["event_name"] == "ViewContent" and sale.get("content_type") == "product" and "contents" in sale:
            sale["content_type"] = "product_group"
    return [each._replace(body=orjson.dumps(body)) for each, body in zip(mapped, bodies, strict=True)]


def without_delivery(body: JsonObject) -> JsonObject:
    for product in body.get("custom_data", {}).get("contents", []):
        product.pop("delivery_category", None)
    return body


def value_before_total(case: Case, event: Any) -> Mapped:
    if case.destination.value_field is not None:
        return case.mapper.map(event, NOW)
    return with_setting("value_field", "properties.value")(case, event)


def bare_name_on_the_event_only(case: Case, event: Any) -> Mapped:
    field = case.destination.value_field
    if field is None or "." in field or at(event, f"properties.{field}") is None:
        return case.mapper.map(event, NOW)
    return case.mapper.map(put(event, f"properties.{field}", None), NOW)


def external_id_always_hashed(case: Case, event: Any) -> Mapped:
    if case.destination.hashing or case.destination.hash_external_id is not None:
        return case.mapper.map(event, NOW)
    return with_setting("hash_external_id", value=True)(case, event)


FAULTS: dict[str, Fault] = {
    "properties.fbp not read": without_path("fbp", -1),
    "properties.fbc not read": without_path("fbc", -1),
    "messageId before properties.event_id": in_event(message_id_first),
    "properties.query not read": without_property("query"),
    "properties.search_string not read": without_property("search_string"),
    "delivery_category of products not sent": in_body(without_delivery),
    **{f"{name} not read": without_key(name) for name in EVENT_VALUES},
    "an opt-out that cannot be read not sent": in_body(
        lambda body: {key: value for key, value in body.items() if (key, value) != ("opt_out", True)}
    ),
    "crm not read": with_setting("crm", value=False),
    "lead_event_source not read": with_setting("lead_event_source", "another"),
    "events of a website without its URL": incomplete_sent(
        "website_incomplete", "context", {"page": {"url": "https://x.example/"}, "userAgent": "x"}
    ),
    "events of an app without its data": incomplete_sent(
        "app_incomplete", "properties", {"app_data": {"extinfo": ["a2"]}}
    ),
    "consent not read": with_setting("consent", None),
    "an event that denies consent kept": consent_kept,
    "the provider of consent not read": in_consent("provider", None),
    "the resolution always and": in_consent("resolution", "and"),
    "the resolution always or": in_consent("resolution", "or"),
    "resolutionStrategy not read": in_event(
        lambda event: (
            put(event, "context.consentManagement.resolutionStrategy", "and")
            if at(event, "context.consentManagement.resolutionStrategy") is not None
            else event
        )
    ),
    "allowedConsentIds not read": in_event(
        lambda event: (
            put(event, "context.consentManagement.allowedConsentIds", None)
            if at(event, "context.consentManagement.allowedConsentIds") is not None
            else event
        )
    ),
    "consent of Segment not read": in_event(
        lambda event: put(event, "context.consent", None) if at(event, "context.consent") is not None else event
    ),
    "names that look personal passed on": with_setting("allow_properties", PERSONAL_LOOKING_NAMES),
    "allow_properties not read": with_setting("allow_properties", ()),
    "personal texts passed on": with_setting("allow_properties", ("note", "color")),
    "personal data inside of properties passed on": as_given("deep"),
    "personal texts in lists passed on": as_given("list"),
    "personal parts of the page's URL sent": url_as_given,
    "personal parts of URLs in custom_data sent": as_given("url"),
    "processing options that cannot be read left out": options_changed(lambda given: not isinstance(given, list)),
    '["LDU"] alone left out': options_changed(lambda given: given == ["LDU"]),
    "properties.value before properties.total": value_before_total,
    "a bare value_field read on the event only": bare_name_on_the_event_only,
    "another upload tag": with_setting("upload_tag", "rudderstack"),
    "a single product labelled a group": always_a_group,
    "external IDs hashed without hashing": external_id_always_hashed,
    "switches for the Conversions API not read": in_event(without_switches),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_detected(fault: str) -> None:
    assert any(
        outcome(FAULTS[fault](generated, event)) != outcome(generated.reference(event))
        for seed in SEEDS
        for generated in [case(seed)]
        for event in generated.events
    )
