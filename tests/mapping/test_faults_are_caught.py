"""The comparison with the reference notices faults: each of these is put into a mapper on purpose and must be found.

The faults act around the mapper, on what goes in or on what comes out, so that they fit whatever it is inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson
import pytest

from gateway.model import JsonObject, Mapped, Rejection
from tests.mapping.builders import NOW
from tests.mapping.comparison import Case, case, seen
from tests.mapping.reference_tables import PATHS
from tests.mapping.reference_values import at

Fault: TypeAlias = Callable[[Case, Any], Mapped]
"""A mapper that is wrong in one thing."""
SEEDS = range(40)
"""Within these, some sixteen hundred events, every fault must be noticed."""


def going_in(change: Callable[[JsonObject], JsonObject]) -> Fault:
    def faulty(made: Case, event: Any) -> Mapped:
        return made.mapper.map(change(event) if isinstance(event, dict) else event, NOW)

    return faulty


def coming_out(change: Callable[[JsonObject], JsonObject]) -> Fault:
    def faulty(made: Case, event: Any) -> Mapped:
        mapped = made.mapper.map(event, NOW)
        if not isinstance(mapped, list):
            return mapped
        return [one._replace(body=orjson.dumps(change(orjson.loads(one.body)))) for one in mapped]

    return faulty


def put(event: JsonObject, path: str, value: Any) -> JsonObject:
    """The event with a value at a path that exists."""
    key, _, rest = path.partition(".")
    return event | {key: put(event[key], rest, value) if rest else value}


def each(field: str, change: Callable[[str], Any]) -> Fault:
    """Every text at a path of the field is changed before the mapper sees it."""

    def changed(event: JsonObject) -> JsonObject:
        for path in PATHS[field]:
            value = at(event, path)
            if isinstance(value, str) and value.isprintable():
                event = put(event, path, change(value))
        return event

    return going_in(changed)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def remove_path(field: str, position: int) -> Fault:
    """One path of a field is never looked at."""

    def changed(event: JsonObject) -> JsonObject:
        path = PATHS[field][position]
        return put(event, path, None) if at(event, path) is not None else event

    return going_in(changed)


def swapped(first: str, second: str) -> Fault:
    """Two paths are asked in the wrong order."""

    def changed(event: JsonObject) -> JsonObject:
        one, other = at(event, first), at(event, second)
        return event if one is None or other is None else put(put(event, first, other), second, one)

    return going_in(changed)


def shared(made: Case, event: Any) -> Mapped:
    """One object for all standard events, so that all carry the last name."""
    mapped = made.mapper.map(event, NOW)
    return [one._replace(body=mapped[-1].body) for one in mapped] if isinstance(mapped, list) else mapped


def leaking(event: JsonObject) -> Callable[[JsonObject], JsonObject]:
    email = at(event, "properties.email")
    return lambda body: body | {"custom_data": body.get("custom_data", {}) | ({"email": email} if email else {})}


def leaks(made: Case, event: Any) -> Mapped:
    return coming_out(leaking(event if isinstance(event, dict) else {}))(made, event)


def ageless(made: Case, event: Any) -> Mapped:
    """Events of any age are sent."""
    mapped = made.mapper.map(event, NOW)
    if isinstance(mapped, Rejection) and mapped.code == "event_time_too_old":
        return made.mapper.map(event | {"originalTimestamp": NOW}, NOW)
    return mapped


def weak_ones_pass(made: Case, event: Any) -> Mapped:
    mapped = made.mapper.map(event, NOW)
    weak = isinstance(mapped, Rejection) and mapped.code == "weak_match_keys"
    return made.mapper.map(event | {"userId": "somebody"}, NOW) if weak else mapped


def always_a_product(body: JsonObject) -> JsonObject:
    holder = body if "content_type" in body else body["custom_data"]
    holder["content_type"] = "product"
    return body


def value_as_text(body: JsonObject) -> JsonObject:
    holder = body if "value" in body else body["custom_data"]
    holder["value"] = str(holder["value"])
    return body


def with_a_week_for_all(made: Case, event: Any) -> Mapped:
    mapped = made.mapper.map(event, NOW)
    week = 7 * 86_400
    return (
        [each_one._replace(expires_at=orjson.loads(each_one.body)["event_time"] + week) for each_one in mapped]
        if isinstance(mapped, list)
        else mapped
    )


def untagged(made: Case, event: Any) -> Mapped:
    mapped = made.mapper.map(event, NOW)
    tag = made.destination.upload_tag
    return (
        [one._replace(lane=one.lane._replace(upload_tag=tag)) for one in mapped] if isinstance(mapped, list) else mapped
    )


def one_event_set_only(made: Case, event: Any) -> Mapped:
    mapped = made.mapper.map(event, NOW)
    return mapped[:1] if isinstance(mapped, list) else mapped


def in_milliseconds(body: JsonObject) -> JsonObject:
    return body | {"event_time": body["event_time"] * 1000}


def never_switched_off(event: JsonObject) -> JsonObject:
    return {key: value for key, value in event.items() if key != "integrations"}


def with_names_overridden(event: JsonObject) -> JsonObject:
    traits = event.get("traits")
    if not isinstance(traits, dict) or not isinstance(traits.get("name"), str):
        return event
    return event | {"traits": {key: one for key, one in traits.items() if "first" not in key.lower()}}


def hashing_all_external_ids(body: JsonObject) -> JsonObject:
    keys = body.get("match_keys", {})
    if "extern_id" in keys:
        keys["extern_id"] = sha256(keys["extern_id"])
    return body


FAULTS: dict[str, Fault] = {
    "an email hashed as it stands": each("email", lambda text: sha256(text) if "@" in text else text),
    "a city hashed as typed": each("city", sha256),
    "a hash hashed again": each("email", lambda text: sha256(text) if len(text) == 64 else text),
    "a birthday's day and month exchanged": each("birthday", lambda text: text[4:6] + text[2:4] + text[:2] + text[6:]),
    "the first path of the phone skipped": remove_path("phone", 0),
    "the last path of the zip skipped": remove_path("zip", -1),
    "userId after anonymousId": swapped("userId", "anonymousId"),
    "timestamp before originalTimestamp": swapped("originalTimestamp", "timestamp"),
    "a name that overrides an explicit first name": going_in(with_names_overridden),
    "external IDs hashed against the setting": coming_out(hashing_all_external_ids),
    "one object shared by several standard events": shared,
    "an email in custom_data": leaks,
    "events of any age": ageless,
    "identities that are too broad": weak_ones_pass,
    "every content_type product": coming_out(always_a_product),
    "a value as text": coming_out(value_as_text),
    "milliseconds": coming_out(in_milliseconds),
    "a week for every event": with_a_week_for_all,
    "the event's upload tag not read": untagged,
    "one event set only": one_event_set_only,
    "integrations not read": going_in(never_switched_off),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_mapper_is_noticed(fault: str) -> None:
    assert any(
        seen(FAULTS[fault](made, event)) != seen(made.reference(event))
        for seed in SEEDS
        for made in [case(seed)]
        for event in made.events
    )


def test_no_fault_is_noticed_where_there_is_none() -> None:
    def same(made: Case, event: Any) -> Mapped:
        return coming_out(lambda body: body)(made, event)

    for seed in SEEDS:
        made = case(seed)
        for event in made.events:
            assert seen(same(made, event)) == seen(made.reference(event))
