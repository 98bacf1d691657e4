"""Every worked case of normalisation through the whole mapper: from a source event to the hash in the upload."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from gateway.model import JsonObject
from tests.mapping.builders import identity, mapper, sale

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
"""Keys that `conversions` gets as a list; in `offline` the first two."""
NO_FIELD = {"fi-01", "f5first-01"}
"""Rows of keys that say less than `fn`, which is always sent instead."""
BIRTHDAY_PARTS = {"doby-01", "dobm-01", "dobd-01"}
"""Rows of a date's parts, which an event never has alone."""
SLASHES = "db-03-us-slashes"
HASHED_PARTS = "db-10-hashed-parts"

TAKEN = {key: row for key, row in EXAMPLES.items() if key not in {SLASHES, HASHED_PARTS, *NO_FIELD, *BIRTHDAY_PARTS}}
ROWS = [pytest.param(row, id=key) for key, row in TAKEN.items()]
OFFLINE_ROWS = [pytest.param(row, id=key) for key, row in TAKEN.items() if row["capi_key"] != "client_ip_address"]


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
def test_a_worked_case_is_sent_as_it_should_be_in_conversions(row: JsonObject) -> None:
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
def test_a_worked_case_is_sent_as_it_should_be_in_offline(row: JsonObject) -> None:
    if row["capi_key"] == "db":
        sent = upload_of(row, "offline")
        whole = row["normalised"]
        parts = {"doby": whole[:4], "dobm": whole[4:6], "dobd": whole[6:]} if whole else {}
        assert {key: sent.get(key) for key in ("doby", "dobm", "dobd")} == {
            key: hashlib.sha256(parts[key].encode()).hexdigest() if parts else None for key in ("doby", "dobm", "dobd")
        }
        return
    found: Any = upload_of(row, "offline").get(row["legacy_key"])
    if row["action"] == "hash_or_raw":
        hashed, raw = row["send"]
        assert found == raw
        assert upload_of(row, "offline", hash_external_id=True)[row["legacy_key"]] == hashed
    elif row["capi_key"] == "madid" and row["send"]:
        assert found == hashlib.sha256(row["send"].encode()).hexdigest()
    elif row["capi_key"] == "lead_id" and row["send"]:
        assert found == str(row["send"])
    else:
        expected = row["send"]
        assert found == ([expected] if row["capi_key"] in {"em", "ph"} and isinstance(expected, str) else expected)


def test_the_parts_of_a_birthday_are_hashed_each_for_itself() -> None:
    sent = identity(mapper("offline"), sale(traits={"birthday": "16, 2, 1997"}))

    assert {key: sent[key] for key in ("doby", "dobm", "dobd")} == {
        key: EXAMPLES[f"{key}-01"]["send"] for key in ("doby", "dobm", "dobd")
    }


def test_parts_that_come_hashed_are_sent_in_offline_and_cannot_be_joined_in_conversions() -> None:
    parts = EXAMPLES[HASHED_PARTS]["input"]
    event = sale(traits={"birthday": parts})

    sent = identity(mapper("offline"), event)

    assert {key: sent[key] for key in parts} == parts
    assert "db" not in identity(mapper("conversions"), event)


def test_american_slashes_are_dropped_and_not_guessed() -> None:
    """The worked case wants month first *when the sender declares that order*, and no source event can declare it.

    With slashes the rule is day first. Taking `02/16/1997` for the 16th of February while `02/03/1997` is the 2nd of
    March would hash half of an American sender's birthdays wrongly, and nobody would notice.
    """
    event = sale(traits={"birthday": EXAMPLES[SLASHES]["input"]})

    assert "db" not in identity(mapper("conversions"), event)
    assert "doby" not in identity(mapper("offline"), event)


def test_keys_that_say_less_than_the_first_name_are_not_sent() -> None:
    sent = identity(mapper(), sale(traits={"firstName": EXAMPLES["fi-01"]["input"]}))

    assert sent["fn"] == EXAMPLES["fn-01-documented"]["send"]
    assert not sent.keys() & {"fi", "f5first"}


def test_no_worked_case_is_left_out() -> None:
    assert len(ROWS) + len({SLASHES, HASHED_PARTS, *NO_FIELD, *BIRTHDAY_PARTS}) == len(EXAMPLES)
    assert EXAMPLES.keys() >= {SLASHES, HASHED_PARTS, *NO_FIELD, *BIRTHDAY_PARTS}
