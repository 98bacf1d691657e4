"""Every normalisation example, mapped from a source event to the hash that is sent."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.model import JsonObject
from tests.mapping.builders import code, identity, mapper, sale

EXAMPLES: dict[str, JsonObject] = {
    row["id"]: row
    for row in json.loads((Path(__file__).parent / "data/normalisation_examples.json").read_text("utf-8"))["examples"]
}
PLACES = {
    "em": ("traits", "email"),
    "ph": ("traits", "phone"),
    "fn": ("traits", "firstName"),
    "ln": ("traits", "lastName"),
    "db": ("traits", "birthday"),
    "ge": ("traits", "gender"),
    "ct": ("traits", "city"),
    "st": ("traits", "state"),
    "zp": ("traits", "zip"),
    "country": ("traits", "country"),
    "fbp": ("context", "fbp"),
    "client_ip_address": ("context", "ip"),
}
LISTS = {"em", "ph", "external_id"}
"""Keys that are lists in `conversions`. In `offline`, the first two are."""
NAME_STARTS = {"fi-01", "f5first-01"}
"""Examples of keys that are calculated from the first name, in `offline` only."""
BIRTHDAY_PARTS = {"doby-01", "dobm-01", "dobd-01"}
"""Examples of the parts of a date. Source events have whole dates."""
INNER_SPACE = "fn-07-inner-space"
"""Example of a name with two forms. Its text is the second one."""
HASHED_PARTS = "db-10-hashed-parts"

CHECKED = {
    key: row for key, row in EXAMPLES.items() if key not in {INNER_SPACE, HASHED_PARTS, *NAME_STARTS, *BIRTHDAY_PARTS}
}
ROWS = [pytest.param(row, id=key) for key, row in CHECKED.items()]
OFFLINE_ROWS = [pytest.param(row, id=key) for key, row in CHECKED.items() if row["capi_key"] != "client_ip_address"]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def event_of(row: JsonObject) -> JsonObject:
    key, given = row["capi_key"], row["input"]
    country = row.get("context", {}).get("country")
    traits = {"country": country} if country else {}
    match key:
        case "external_id":
            return sale(userId=given)
        case "lead_id":
            return sale(context={"externalId": [{"type": "LeadId", "id": given}]})
        case "madid":
            return sale(context={"device": {"advertisingId": given}})
        case _:
            holder, name = PLACES[key]
            return sale(**{"traits": traits, holder: (traits if holder == "traits" else {}) | {name: given}})


def upload_of(row: JsonObject, api: str, **settings: Any) -> JsonObject:
    country = row.get("context", {}).get("default_country")
    return identity(mapper(api, default_country=country, **settings), event_of(row))


@pytest.mark.parametrize("row", ROWS)
def test_each_example_is_sent_as_documented_in_conversions(row: JsonObject) -> None:
    key = row["capi_key"]

    if row["action"] == "hash_or_raw":
        hashed, raw = row["send"]
        assert upload_of(row, "conversions")[key] == [hashed]
        assert upload_of(row, "conversions", hash_external_id=False)[key] == [raw]
    else:
        sent = upload_of(row, "conversions").get(key)
        expected = row["send"]
        assert sent == ([expected] if key in LISTS and isinstance(expected, str) else expected)


@pytest.mark.parametrize("row", OFFLINE_ROWS)
def test_each_example_is_sent_as_documented_in_offline(row: JsonObject) -> None:
    if row["capi_key"] == "db":
        keys = upload_of(row, "offline")
        whole = row["normalised"]
        parts = {"doby": whole[:4], "dobm": whole[4:6], "dobd": whole[6:]} if whole else {}
        assert {key: keys.get(key) for key in ("doby", "dobm", "dobd")} == {
            key: sha256(parts[key]) if parts else None for key in ("doby", "dobm", "dobd")
        }
        return
    sent: Any = upload_of(row, "offline").get(row["legacy_key"])
    if row["action"] == "hash_or_raw":
        hashed, raw = row["send"]
        assert sent == raw
        assert upload_of(row, "offline", hash_external_id=True)[row["legacy_key"]] == hashed
    elif row["capi_key"] == "madid" and row["send"]:
        assert sent == sha256(row["send"])
    elif row["capi_key"] == "lead_id" and row["send"]:
        assert sent == str(row["send"])
    else:
        expected = row["send"]
        assert sent == ([expected] if row["capi_key"] in {"em", "ph"} and isinstance(expected, str) else expected)


def test_year_month_and_day_of_a_birthday_are_hashed_separately_in_offline() -> None:
    sent = identity(mapper("offline"), sale(traits={"birthday": "16, 2, 1997"}))

    assert {key: sent[key] for key in ("doby", "dobm", "dobd")} == {
        key: EXAMPLES[f"{key}-01"]["send"] for key in ("doby", "dobm", "dobd")
    }


def test_hashed_parts_of_a_birthday_are_sent_in_offline_and_dropped_in_conversions() -> None:
    parts = EXAMPLES[HASHED_PARTS]["input"]
    event = sale(traits={"birthday": parts})

    sent = identity(mapper("offline"), event)

    assert {key: sent[key] for key in parts} == parts
    assert "db" not in identity(mapper("conversions"), event)


def test_a_name_with_an_inner_space_is_sent_in_both_forms_in_conversions_and_without_the_space_in_offline() -> None:
    row = EXAMPLES[INNER_SPACE]

    assert identity(mapper("conversions"), event_of(row))["fn"] == [sha256("maryann"), row["send"]]
    assert identity(mapper("offline"), event_of(row))["fn"] == sha256("maryann")


@pytest.mark.parametrize("example", sorted(NAME_STARTS))
def test_the_first_letters_of_a_name_are_sent_in_offline_only(example: str) -> None:
    row = EXAMPLES[example]
    event = sale(traits={"firstName": row["input"]})

    assert identity(mapper("offline"), event)[row["legacy_key"]] == row["send"]
    assert row["capi_key"] not in identity(mapper("conversions"), event)


def test_the_first_letters_are_those_of_the_normalised_name_without_spaces() -> None:
    sent = identity(mapper("offline"), sale(traits={"name": "É. Tolkien-Reuel", "firstName": " Jo  Ann-Lee "}))

    assert [sent[key] for key in ("fi", "f5first", "f5last")] == list(map(sha256, ("j", "joann", "tolki")))


def test_a_hashed_name_has_no_first_letters() -> None:
    event = sale(traits={"firstName": sha256("mary"), "lastName": sha256("keener")})

    for hashing in (True, False):
        assert identity(mapper("offline", hashing=hashing), event).keys() == {"fn", "ln", "extern_id"}


def test_first_letters_are_not_sent_without_the_name() -> None:
    event = sale(userId=None, traits={"firstName": "--", "name": "- -"})

    assert code(mapper("offline"), event) == "no_match_key"


def test_every_example_is_checked_or_listed_as_an_exception() -> None:
    assert len(ROWS) + len({INNER_SPACE, HASHED_PARTS, *NAME_STARTS, *BIRTHDAY_PARTS}) == len(EXAMPLES)
    assert EXAMPLES.keys() >= {INNER_SPACE, HASHED_PARTS, *NAME_STARTS, *BIRTHDAY_PARTS}
