"""Builders of destinations, mappers and events, with defaults, and of the results of mapping an event."""

from __future__ import annotations

from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.mapping import Mapper, compile_mapper
from gateway.model import JsonObject, Rejection

NOW = 1_795_000_000
"""18 November 2026, 11:06:40 UTC."""
STANDARD_EVENTS = (
    *("AddPaymentInfo", "AddToCart", "AddToWishlist", "InitiateCheckout", "Lead", "Other", "Purchase"),
    *("Search", "ViewContent"),
)


def destination(api: str = "conversions", **settings: Any) -> DestinationSettings:
    """A destination in which every standard event has an event set."""
    event_sets = {standard: ["1001"] for standard in STANDARD_EVENTS}
    return DestinationSettings.model_validate(
        {"api": api, "access_token": "token", "standard_to_event_sets": event_sets} | settings
    )


def mapper(api: str = "conversions", **settings: Any) -> Mapper:
    return compile_mapper("store", destination(api, **settings))


def sale(**changes: Any) -> JsonObject:
    """A track call with a user ID. A change to None removes the key."""
    event: JsonObject = {"type": "track", "event": "Order Completed", "userId": "u-1", "messageId": "m-1"}
    return {key: value for key, value in (event | changes).items() if value is not None}


def bodies(mapper: Mapper, event: Any, now: int = NOW) -> list[JsonObject]:
    """The decoded bodies of an event that must be mapped."""
    mapped = mapper.map(event, now)
    assert isinstance(mapped, list), mapped
    return [orjson.loads(each.body) for each in mapped]


def body(mapper: Mapper, event: Any, now: int = NOW) -> JsonObject:
    """The decoded body of an event that must be mapped for one event set."""
    [only] = bodies(mapper, event, now)
    return only


def identity(mapper: Mapper, event: Any, now: int = NOW) -> JsonObject:
    """`user_data` or `match_keys` of the one body."""
    upload = body(mapper, event, now)
    keys: JsonObject = upload.get("user_data") or upload["match_keys"]
    return keys


def code(mapper: Mapper, event: Any, now: int = NOW) -> str:
    """The rejection code of an event that must be rejected."""
    mapped = mapper.map(event, now)
    assert isinstance(mapped, Rejection), mapped
    return mapped.code
