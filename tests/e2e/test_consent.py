"""Consent and the values on the event, from the sender to the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.environment import EVENT_SET, WRITE_KEY, Environment, post, sale, until

CONSENT = 'consent = { provider = "oneTrust", categories = ["C0004"], resolution = "and" }'
VALUES: dict[str, Any] = {
    "opt_out": True,
    "referrer_url": "https://search.example/?q=shoes",
    "customer_segmentation": "new_customer_to_business",
    "original_event_data": {"event_name": "Purchase", "order_id": "A-1"},
    "attribution_data": {"attribution_share": 0.3},
    "app_data": {"extinfo": ["a2"], "advertiser_tracking_enabled": True},
    "advertiser_tracking_enabled": True,
}


def test_an_event_that_denies_consent_reaches_only_the_destination_that_needs_none(tmp_path: Path) -> None:
    denied = {"consentManagement": {"provider": "oneTrust", "deniedConsentIds": ["C0004"]}}
    with Environment(tmp_path, destination=CONSENT) as env, env.start():
        answers = [
            post(f"{env.url}/v1/track", sale(1, context=denied) | {"writeKey": WRITE_KEY}),
            env.track(sale(2, context=denied), sale(3)),
        ]
        until(lambda: len(env.arrived()) == 1 and len(env.arrived(EVENT_SET + "00")) == 3, "the other events")
        status = env.status()

    assert answers == [
        (200, {"status": "ok", "accepted": 1, "ignored": 0, "rejected": []}),
        (200, {"status": "ok", "accepted": 2, "ignored": 0, "rejected": []}),
    ]
    assert (status["consent_denied"], status["rejected"]) == (2, {})


def test_the_sandbox_accepts_every_value_on_the_event(tmp_path: Path) -> None:
    properties = (
        sale(1)["properties"] | VALUES | {"query": "shoes", "products": [{"id": 1, "delivery_category": "curbside"}]}
    )
    with Environment(tmp_path) as env, env.start():
        env.track(sale(1, properties=properties))
        until(lambda: bool(env.arrived()), "the event")
        [event] = env.arrived()

    assert {key: event[key] for key in VALUES} == VALUES
    assert event["custom_data"]["search_string"] == "shoes"
    assert event["custom_data"]["contents"][0]["delivery_category"] == "curbside"
