"""What the live view shows of a request, with the real mapper."""

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import pytest

from gateway.config import DestinationSettings
from gateway.ingest import Source
from gateway.ingest.decode import Complexity
from gateway.ingest.documents import DecodedBody
from gateway.ingest.events import RequestResult, map_event
from gateway.ingest.tap_entries import HIDDEN, MAX_NAME, tap_entries
from gateway.mapping import compile_mapper, native
from gateway.tap import TapEntry, TapOutcome

NOW = 1_800_000_000
PERSONAL = {
    "email": "marker.email@example.com",
    "phone": "+12025550147",
    "firstName": "Markerfirst",
    "lastName": "Markerlast",
    "birthday": "1971-03-04",
    "address": {"city": "Markercity", "state": "CA", "postalCode": "94105", "country": "US"},
}


def destination(api: str = "conversions", **settings: Any) -> DestinationSettings:
    return DestinationSettings.model_validate(
        {
            "api": api,
            "access_token": "t",
            "standard_to_event_sets": {"Purchase": ["11", "12"], "Lead": ["13"]},
            "events_to_standard": {"Quote": ["Lead", "Purchase"]},
            **settings,
        }
    )


def source(**destinations: DestinationSettings) -> Source:
    given = destinations or {"store": destination()}
    return Source("shop", [(name, compile_mapper(name, settings)) for name, settings in given.items()])


def sale(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m{number}",
        "timestamp": NOW - 60,
        "userId": "marker-user",
        "context": {"traits": PERSONAL, "ip": "203.0.113.77", "userAgent": "marker-agent"},
        "properties": {"order_id": f"100{number}", "total": 5, "currency": "USD", "note": "marker-note"},
        **changes,
    }


def tapped(*events: Any, given: Source | None = None, limit: int = 50) -> Sequence[TapEntry]:
    given = given or source()
    result = RequestResult()
    for index, event in enumerate(events):
        map_event(given, event, index, NOW, result, 2**15)
    body = DecodedBody(events[0] if len(events) == 1 else {"batch": list(events)}, Complexity())
    document = native.read(json.dumps(body.content).encode(), 10_000, 32)
    entries = tap_entries(given.name, body, result, limit, float(NOW))
    assert document is None or entries == tap_entries(given.name, document, result, limit, float(NOW))
    return entries


def test_an_accepted_event_has_its_destinations_and_the_first_digits_of_its_hashes() -> None:
    (entry,) = tapped(sale(), given=source(store=destination(), crm=destination()))
    assert (entry.outcome, entry.event, entry.source) == (TapOutcome.ACCEPTED, "Purchase", "shop")
    assert (entry.destinations, entry.event_sets) == (["store", "crm"], ["11", "12"])
    assert (entry.message_id, entry.order_id) == ("m1", "1001")
    assert {"email", "phone", "first_name", "city"} <= set(entry.keys)
    assert entry.keys["email"] == sha256(b"marker.email@example.com").hexdigest()[:6]
    assert entry.keys["client_user_agent"] == ""
    assert entry.properties > 0


@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_no_entry_contains_a_personal_value_or_a_whole_hash(api: str) -> None:
    given = source(store=destination(api, hash_external_id=True))
    denied = sale(3, context={"traits": PERSONAL, "consentManagement": {"deniedConsentIds": ["c"]}})
    entries = tapped(
        sale(1), sale(2, timestamp="never"), denied, sale(4, event="marker.email@example.com"), given=given
    )
    shown = json.dumps([str(entry) for entry in entries]).lower()
    markers = ("marker.email", "2025550147", "markerfirst", "markerlast", "1971", "markercity", "94105", "203.0.113")
    for marker in (*markers, "marker-user", "marker-agent", "marker-note"):
        assert marker not in shown, marker
    assert all(len(prefix) in {0, 6} for entry in entries for prefix in entry.keys.values())


def test_an_event_with_several_standard_names_is_one_entry() -> None:
    (entry,) = tapped(sale(event="Quote"))
    assert entry.event == "Lead, Purchase"
    assert entry.event_sets == ["13", "11", "12"]


def test_an_event_for_both_dialects_is_one_entry_also_in_a_batch() -> None:
    given = source(legacy=destination("offline"), store=destination())
    entries = tapped(sale(1), sale(2), given=given)
    assert [(entry.message_id, entry.destinations) for entry in entries] == [
        ("m1", ["legacy", "store"]),
        ("m2", ["legacy", "store"]),
    ]
    (entry,) = tapped(sale(1, properties={"total": 5, "currency": "USD"}), given=given)
    assert (entry.message_id, entry.order_id) == ("m1", None)


def test_events_of_a_batch_are_one_entry_each() -> None:
    entries = tapped(sale(1), sale(2), sale(3))
    assert [entry.message_id for entry in entries] == ["m1", "m2", "m3"]


def test_a_rejected_event_has_its_code_and_its_own_name() -> None:
    first, second = tapped(sale(1), sale(2, event="Newsletter \u202eOpened"))
    assert first.outcome is TapOutcome.ACCEPTED
    assert (second.outcome, second.code, second.destinations) == (TapOutcome.REJECTED, "unmapped_event", ["store"])
    assert (second.event, second.message_id) == ("Newsletter \\u202eOpened", "m2")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("x" * 10_000, "x" * MAX_NAME),
        ("\n" * 10_000, "\\x0a" * (MAX_NAME // 4)),
        ("Bob bob@example.com ordered", HIDDEN),
        ("y" * 95 + " bob@example.com", HIDDEN),
        ("\ud800", "\\ud800"),
    ],
)
def test_names_are_short_printable_and_not_personal(name: str, shown: str) -> None:
    (entry,) = tapped(sale(event=name))
    assert entry.event == shown


def test_of_events_that_are_not_sent_the_number_is_known() -> None:
    needing = destination(consent={"categories": ["ads"], "provider": "custom"})
    consent = {"consentManagement": {"provider": "custom", "deniedConsentIds": ["ads"]}}
    denied = [sale(number, context={"traits": PERSONAL, **consent}) for number in (1, 2)]
    (entry,) = tapped(*denied, given=source(store=needing))
    assert (entry.outcome, entry.count, entry.destinations) == (TapOutcome.CONSENT_DENIED, 2, ["store"])
    (entry,) = tapped(sale(integrations={"All": False}), given=source(store=needing))
    assert (entry.outcome, entry.count, entry.event) == (TapOutcome.IGNORED, 1, "Order Completed")


def test_no_more_entries_are_made_than_may_be_shown() -> None:
    events = [sale(number) for number in range(20)]
    assert len(tapped(*events, limit=7)) == 7
    assert tapped(*events, limit=0) == []
