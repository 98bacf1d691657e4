"""The validation of the stand-in for Meta: it refuses the incomplete events that Meta refuses."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.sandbox.validate import GENERAL, check_call

NOW = 1_800_000_000

WEBSITE = {
    "event_name": "Purchase",
    "event_time": NOW - 60,
    "action_source": "website",
    "event_source_url": "https://shop.example/checkout",
    "user_data": {"em": ["0" * 64], "client_user_agent": "Mozilla/5.0"},
    "custom_data": {"value": 5, "currency": "USD"},
}
APP = {
    **WEBSITE,
    "action_source": "app",
    "user_data": {"em": ["0" * 64]},
    "app_data": {"advertiser_tracking_enabled": 1, "extinfo": ["a2"]},
}


def without(event: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in keys}


@pytest.mark.parametrize(
    "event",
    [
        WEBSITE,
        APP,
        without(APP, "event_source_url"),
        {**without(WEBSITE, "event_source_url"), "action_source": "email"},
    ],
    ids=["website", "app", "app without URL", "email without URL"],
)
def test_a_complete_event_is_accepted(event: dict[str, Any]) -> None:
    assert check_call({"data": [event]}, NOW) is None


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (without(WEBSITE, "event_source_url"), "website needs event_source_url and client_user_agent"),
        ({**WEBSITE, "event_source_url": ""}, "website needs event_source_url and client_user_agent"),
        ({**WEBSITE, "user_data": {"em": ["0" * 64]}}, "website needs event_source_url and client_user_agent"),
        (without(APP, "app_data"), "app needs app_data"),
        ({**APP, "app_data": {}}, "app needs app_data"),
    ],
    ids=["no URL", "empty URL", "no user agent", "no app data", "empty app data"],
)
def test_an_incomplete_event_of_a_website_or_an_app_refuses_the_whole_call(event: dict[str, Any], message: str) -> None:
    refusal = check_call({"data": [WEBSITE, event]}, NOW)
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.subcode, refusal.index) == (400, 100, GENERAL, 1)
    assert refusal.message == message
