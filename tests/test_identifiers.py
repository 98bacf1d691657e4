"""The IDs of events: which values are IDs, and that they are short and printable."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.identifiers import MAX_ID_LENGTH, NO_IDS, EventIds, ids_of_mapped, short_id


@pytest.mark.parametrize("value", [None, "", 5, True, 1.5, [], {}, ["a"], {"a": 1}, b"a"])
def test_only_a_text_is_an_id(value: Any) -> None:
    assert short_id(value) is None


@pytest.mark.parametrize("text", ["x" * 10_000, "\x1b[2J" * 500, "\U000e0001" * 500, "\u202e" * 199, "\ud800" * 300])
def test_an_id_is_short_and_printable_and_shortening_it_again_changes_nothing(text: str) -> None:
    given = short_id(text)
    assert given is not None
    assert len(given) <= MAX_ID_LENGTH
    assert given.isprintable()
    assert short_id(given) == given


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        (b'{"event_id":"m1","custom_data":{"order_id":"1001"}}', EventIds("m1", "1001")),
        (b'{"event_id":"m1","order_id":"not of this dialect","custom_data":{}}', EventIds("m1", None)),
        (b'{"match_keys":{},"order_id":"1001"}', EventIds(None, "1001")),
        (b'{"event_id":7,"custom_data":{"order_id":[1]}}', NO_IDS),
        (b"{", NO_IDS),
        (b"[]", NO_IDS),
        (b"\xff", NO_IDS),
    ],
    ids=["conversions", "conversions without order ID", "offline", "wrong types", "no JSON", "no object", "no UTF-8"],
)
def test_the_ids_of_a_mapped_event_are_those_that_its_dialect_has(body: bytes, ids: EventIds) -> None:
    assert ids_of_mapped(body) == ids
