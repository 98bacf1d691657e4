"""The comparison with the reference mapper detects faults: each test plants one in a mapper, and it must be detected.

The faults change the events before, or the results after the mapper, so that they do not depend on its code.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson
import pytest

from gateway.mapping import Mapper, compile_mapper
from gateway.model import JsonObject, Mapped, Rejection
from tests.mapping.builders import NOW
from tests.mapping.comparison import Case, case, outcome
from tests.mapping.reference_tables import PATHS
from tests.mapping.reference_values import at

Fault: TypeAlias = Callable[[Case, Any], Mapped]
"""A function that maps an event with one fault."""
SEEDS = range(40)
"""Every fault must be detected within the events of these seeds, 1600 in all."""


def in_event(change: Callable[[JsonObject], JsonObject]) -> Fault:
    """A fault that changes the event before it is mapped."""

    def faulty(case: Case, event: Any) -> Mapped:
        return case.mapper.map(change(event) if isinstance(event, dict) else event, NOW)

    return faulty


def in_body(change: Callable[[JsonObject], JsonObject]) -> Fault:
    """A fault that changes the bodies of the mapped events."""

    def faulty(case: Case, event: Any) -> Mapped:
        mapped = case.mapper.map(event, NOW)
        if not isinstance(mapped, list):
            return mapped
        return [each._replace(body=orjson.dumps(change(orjson.loads(each.body)))) for each in mapped]

    return faulty


def put(event: JsonObject, path: str, value: Any) -> JsonObject:
    """The event with a value at a path that exists."""
    key, _, rest = path.partition(".")
    return event | {key: put(event[key], rest, value) if rest else value}


def in_texts(field: str, change: Callable[[str], Any]) -> Fault:
    """A fault that changes every text at the paths of a field."""

    def changed(event: JsonObject) -> JsonObject:
        for path in PATHS[field]:
            value = at(event, path)
            if isinstance(value, str) and value.isprintable():
                event = put(event, path, change(value))
        return event

    return in_event(changed)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def without_path(field: str, position: int) -> Fault:
    """One path of a field is never read."""

    def changed(event: JsonObject) -> JsonObject:
        path = PATHS[field][position]
        return put(event, path, None) if at(event, path) is not None else event

    return in_event(changed)


def swapped(first: str, second: str) -> Fault:
    """Two paths are read in the wrong order."""

    def changed(event: JsonObject) -> JsonObject:
        value, other = at(event, first), at(event, second)
        return event if value is None or other is None else put(put(event, first, other), second, value)

    return in_event(changed)


def last_body_for_all(case: Case, event: Any) -> Mapped:
    """One object is shared by all standard events, so that all have the last name."""
    mapped = case.mapper.map(event, NOW)
    return [each._replace(body=mapped[-1].body) for each in mapped] if isinstance(mapped, list) else mapped


def email_in_custom_data(case: Case, event: Any) -> Mapped:
    email = at(event, "properties.email") if isinstance(event, dict) else None

    def changed(body: JsonObject) -> JsonObject:
        return body | {"custom_data": body.get("custom_data", {}) | ({"email": email} if email else {})}

    return in_body(changed)(case, event)


def events_of_any_age(case: Case, event: Any) -> Mapped:
    mapped = case.mapper.map(event, NOW)
    if isinstance(mapped, Rejection) and mapped.code == "event_time_too_old":
        return case.mapper.map(event | {"originalTimestamp": NOW}, NOW)
    return mapped


def weak_identities(case: Case, event: Any) -> Mapped:
    mapped = case.mapper.map(event, NOW)
    weak = isinstance(mapped, Rejection) and mapped.code == "weak_match_keys"
    return case.mapper.map(event | {"userId": "somebody"}, NOW) if weak else mapped


def always_a_product(body: JsonObject) -> JsonObject:
    holder = body if "content_type" in body else body["custom_data"]
    holder["content_type"] = "product"
    return body


def value_as_text(body: JsonObject) -> JsonObject:
    holder = body if "value" in body else body["custom_data"]
    holder["value"] = str(holder["value"])
    return body


def a_week_for_all(case: Case, event: Any) -> Mapped:
    mapped = case.mapper.map(event, NOW)
    week = 7 * 86_400
    return (
        [each._replace(expires_at=orjson.loads(each.body)["event_time"] + week) for each in mapped]
        if isinstance(mapped, list)
        else mapped
    )


def upload_tag_of_settings(case: Case, event: Any) -> Mapped:
    mapped = case.mapper.map(event, NOW)
    tag = case.destination.upload_tag
    return (
        [each._replace(lane=each.lane._replace(upload_tag=tag)) for each in mapped]
        if isinstance(mapped, list)
        else mapped
    )


def one_event_set_only(case: Case, event: Any) -> Mapped:
    mapped = case.mapper.map(event, NOW)
    return mapped[:1] if isinstance(mapped, list) else mapped


def in_milliseconds(body: JsonObject) -> JsonObject:
    return body | {"event_time": body["event_time"] * 1000}


def without_integrations(event: JsonObject) -> JsonObject:
    return {key: value for key, value in event.items() if key != "integrations"}


def without_first_names(event: JsonObject) -> JsonObject:
    traits = event.get("traits")
    if not isinstance(traits, dict) or not isinstance(traits.get("name"), str):
        return event
    return event | {"traits": {key: value for key, value in traits.items() if "first" not in key.lower()}}


def with_setting(name: str, value: Any) -> Fault:
    """One setting is not read: the mapper has this value for it."""
    mappers: dict[str, Mapper] = {}

    def faulty(case: Case, event: Any) -> Mapped:
        key = str(case.tree)
        if key not in mappers:
            mappers[key] = compile_mapper(
                "store", case.destination.model_copy(update={name: value}), case.max_event_bytes
            )
        return mappers[key].map(event, NOW)

    return faulty


def variants_reversed(body: JsonObject) -> JsonObject:
    keys = body.get("user_data", {})
    for key in ("fn", "ln", "zp"):
        if isinstance(keys.get(key), list):
            keys[key].reverse()
    return body


def if_matched(pattern: str, change: Callable[[str], str]) -> Callable[[str], str]:
    """A change of the texts that match a pattern as a whole."""
    return lambda text: change(text) if re.fullmatch(pattern, text, re.IGNORECASE) else text


def dropped(_text: str) -> str:
    return "--"


HASH_WITH_APPENDIX = r"\s*[0-9a-f]{64}\.[\w-]{2,8}\s*"


def hashed_external_id(body: JsonObject) -> JsonObject:
    keys = body.get("match_keys", {})
    if "extern_id" in keys:
        keys["extern_id"] = sha256(keys["extern_id"])
    return body


FAULTS: dict[str, Fault] = {
    "an email hashed without normalisation": in_texts("email", lambda text: sha256(text) if "@" in text else text),
    "a city hashed without normalisation": in_texts("city", sha256),
    "a hash hashed again": in_texts("email", lambda text: sha256(text) if len(text) == 64 else text),
    "day and month of a birthday exchanged": in_texts(
        "birthday", lambda text: text[4:6] + text[2:4] + text[:2] + text[6:]
    ),
    "the first path of the phone not read": without_path("phone", 0),
    "the last path of the zip not read": without_path("zip", -1),
    "anonymousId before userId": swapped("userId", "anonymousId"),
    "timestamp before originalTimestamp": swapped("originalTimestamp", "timestamp"),
    "a name that overrides an explicit first name": in_event(without_first_names),
    "external IDs hashed against the setting": in_body(hashed_external_id),
    "one object shared by several standard events": last_body_for_all,
    "a hash of the Parameter Builder hashed again": in_texts("first_name", if_matched(HASH_WITH_APPENDIX, sha256)),
    "a hash of the Parameter Builder without its appendix": in_texts(
        "city", if_matched(HASH_WITH_APPENDIX, lambda text: text.strip()[:64])
    ),
    "phone digits always national": in_texts("phone", if_matched("[1-9][0-9]+", lambda text: f"0{text}")),
    "phone digits always international": in_texts("phone", if_matched("[1-9][0-9]+", lambda text: f"+{text}")),
    "phone digits without a country dropped": in_texts("phone", if_matched("44[0-9]+", dropped)),
    "the old 1 of Mexico not cut": in_texts("phone", if_matched(r"\+?52 ?1 ?55.*", dropped)),
    "odd separators in phones": in_texts("phone", if_matched(".*[_{].*", dropped)),
    "NFKC": in_texts("city", lambda text: unicodedata.normalize("NFKC", text)),
    "ZIP+4 without a country read as a whole": in_texts(
        "zip", if_matched(r"\d{5}-\d{4}", lambda text: text.replace("-", ""))
    ),
    "Canadian provinces as typed": in_texts("state", if_matched("ontario", lambda text: f"{text}a")),
    "countries in English only": in_texts("country", if_matched("[^a-zA-Z]+", dropped)),
    "countries without articles": in_texts("country", if_matched("the .*", dropped)),
    "genders without titles": in_texts("gender", if_matched("mrs?.?", dropped)),
    "debris around emails": in_texts("email", if_matched("mailto:.*|<.*", dropped)),
    "a birthday with the month first dropped": in_texts(
        "birthday", if_matched(r"\d\d?/(1[3-9]|[23]\d)/\d{4}", dropped)
    ),
    "birthdays with slashes like the others": in_texts("birthday", lambda text: text.replace("/", "-")),
    "birthday_order not read": with_setting("birthday_order", "day_first"),
    "external_id_case not read": with_setting("external_id_case", "keep"),
    "match_variants not read": with_setting("match_variants", value=True),
    "one form only": with_setting("match_variants", value=False),
    "variants in the wrong order": in_body(variants_reversed),
    "an email in custom_data": email_in_custom_data,
    "events of any age": events_of_any_age,
    "identities that are too broad": weak_identities,
    "content_type always product": in_body(always_a_product),
    "the value as text": in_body(value_as_text),
    "the time in milliseconds": in_body(in_milliseconds),
    "events expire after a week": a_week_for_all,
    "the event's upload tag not read": upload_tag_of_settings,
    "one event set only": one_event_set_only,
    "integrations not read": in_event(without_integrations),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_detected(fault: str) -> None:
    assert any(
        outcome(FAULTS[fault](generated, event)) != outcome(generated.reference(event))
        for seed in SEEDS
        for generated in [case(seed)]
        for event in generated.events
    )


def test_no_fault_is_detected_in_the_unchanged_mapper() -> None:
    unchanged = in_body(lambda body: body)

    for seed in SEEDS:
        generated = case(seed)
        for event in generated.events:
            assert outcome(unchanged(generated, event)) == outcome(generated.reference(event))
