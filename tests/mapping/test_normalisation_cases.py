"""Cases of single rules of normalisation, as data: what is sent for one value, in both dialects.

A case has the `field`, its `value`, and what goes with it: other `traits` and `settings`. It has the `normalised`
texts, whose hashes are sent in this order, or the texts that are `sent` as they are. In `offline` the first of them is
sent, or what `offline` has. No texts mean that the key is dropped.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway.mapping.normalise import country_code
from gateway.mapping.reference_data import GENDERS
from gateway.model import JsonObject
from tests.mapping import reference_normalise
from tests.mapping.builders import NOW, body, identity, mapper, sale
from tests.mapping.reference_mapper import map_event

DATA = Path(__file__).parent / "data"
CASES: list[JsonObject] = json.loads((DATA / "normalisation_cases.json").read_text("utf-8"))
KEYS = {
    "email": ("em", "email"),
    "phone": ("ph", "phone"),
    "gender": ("ge", "gen"),
    "birthday": ("db", ""),
    "first_name": ("fn", "fn"),
    "last_name": ("ln", "ln"),
    "city": ("ct", "ct"),
    "state": ("st", "st"),
    "zip": ("zp", "zip"),
    "country": ("country", "country"),
    "external_id": ("external_id", "extern_id"),
}
NAMES = {"first_name": "firstName", "last_name": "lastName"}
BIRTHDAY_PARTS = ("doby", "dobm", "dobd")


def event_of(case: JsonObject) -> JsonObject:
    if case["field"] == "external_id":
        return sale(userId=case["value"], traits=case.get("traits", {}))
    name = NAMES.get(case["field"], case["field"])
    return sale(traits=case.get("traits", {}) | {name: case["value"]})


def sent_texts(case: JsonObject) -> list[str]:
    """What `conversions` sends."""
    return list(case["sent"]) if "sent" in case else list(map(sha256, case["normalised"]))


def sent_offline(case: JsonObject) -> list[str]:
    if "offline" in case:
        return list(map(sha256, case["offline"]))
    return sent_texts(case)[:1]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


ROWS = [pytest.param(case, id=f"{number} {case['rule']}") for number, case in enumerate(CASES)]


@pytest.mark.parametrize("case", ROWS)
def test_a_value_is_sent_in_conversions_as_the_case_says(case: JsonObject) -> None:
    keys = identity(mapper("conversions", **case.get("settings", {})), event_of(case))

    assert as_list(keys.get(KEYS[case["field"]][0])) == sent_texts(case)


@pytest.mark.parametrize("case", ROWS)
def test_a_value_is_sent_in_offline_as_the_case_says(case: JsonObject) -> None:
    keys = identity(mapper("offline", **{"hash_external_id": True} | case.get("settings", {})), event_of(case))

    if case["field"] == "birthday":
        assert [keys[part] for part in BIRTHDAY_PARTS if part in keys] == sent_offline(case)
    else:
        assert as_list(keys.get(KEYS[case["field"]][1])) == sent_offline(case)


@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_the_reference_mapper_agrees_with_every_case(api: str) -> None:
    for case in CASES:
        store = mapper(api, **case.get("settings", {}))
        expected = map_event("store", store.destination, event_of(case), NOW)

        assert isinstance(expected, list)
        assert body(store, event_of(case)) == orjson.loads(expected[0].body), case


@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_a_redacted_event_of_every_case_is_mapped_like_the_original(api: str) -> None:
    starts = {"fi", "f5first", "f5last"}
    for case in CASES:
        store = mapper(api, **case.get("settings", {}))
        redacted = orjson.loads(store.redact(event_of(case), NOW) or b"")

        original = {key: sent for key, sent in identity(store, event_of(case)).items() if key not in starts}
        assert identity(store, redacted) == original, case


def test_a_value_with_one_form_is_sent_as_one_hash() -> None:
    keys = identity(mapper(), sale(traits={"firstName": "Mary", "zip": "80331", "country": "DE"}))

    assert [keys["fn"], keys["zp"]] == [sha256("mary"), sha256("80331")]


@pytest.mark.parametrize("given", [["Mary", "Jane"], [], [sha256("mary"), 5], [sha256("")]])
def test_a_list_of_other_values_than_hashes_is_no_name(given: list[Any]) -> None:
    event = sale(traits={"firstName": given, "first_name": "Ann"})

    assert identity(mapper(), event)["fn"] == sha256("ann")


def test_every_country_is_known_by_the_names_that_the_reference_knows() -> None:
    unknown = {
        name: code
        for name, code in reference_normalise.countries().items()
        if (country_code(name) or "").lower() != code
    }

    assert unknown == {}


def test_every_gender_word_is_known() -> None:
    assert reference_normalise.genders() == GENDERS
