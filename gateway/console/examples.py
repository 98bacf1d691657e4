"""Example events of the playground, from the e-commerce specification of RudderStack and Segment. No real person's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from gateway.model import JsonObject, UnixSeconds

Example = Callable[[UnixSeconds], JsonObject]
"""Makes an event that happened just before a time."""


def _event(name: str, now: UnixSeconds, properties: JsonObject, traits: JsonObject) -> JsonObject:
    return {
        "type": "track",
        "event": name,
        "messageId": "example-1",
        "userId": "customer-7",
        "originalTimestamp": datetime.fromtimestamp(now - 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "context": {"traits": traits},
        "properties": properties,
    }


def _store_sale(now: UnixSeconds) -> JsonObject:
    traits = {
        "email": "Alex@Example.com ",
        "phone": "(202) 555-0146",
        "firstName": "Alex",
        "lastName": "Doe",
        "address": {"city": "New York", "state": "New York", "postalCode": "10001-1234", "country": "US"},
        "birthday": "1990-02-16",
    }
    products = [
        {"product_id": "sku-1", "quantity": 2, "price": 19.95, "category": "clothing"},
        {"product_id": "sku-2", "quantity": 1, "price": 20.0, "category": "shoes"},
    ]
    properties = {"order_id": "1001", "total": 59.9, "currency": "USD", "products": products}
    return _event("Order Completed", now, properties, traits)


def _phone_without_country(now: UnixSeconds) -> JsonObject:
    return _event("Order Completed", now, {"order_id": "1002", "total": 12.5}, {"phone": "089 5550123"})


def _cart(now: UnixSeconds) -> JsonObject:
    properties = {"product_id": "sku-1", "quantity": 1, "price": 19.95, "currency": "EUR", "category": "clothing"}
    return _event("Product Added", now, properties, {"email": "chris@example.com"})


def _too_old(now: UnixSeconds) -> JsonObject:
    return _store_sale(now - 63 * 86_400)


def _nobody(now: UnixSeconds) -> JsonObject:
    event = _event("Order Completed", now, {"order_id": "1003", "total": 5}, {})
    del event["userId"]
    return event


EXAMPLES: Mapping[str, Example] = {
    "store sale": _store_sale,
    "phone number without a country": _phone_without_country,
    "product added to a cart": _cart,
    "sale that is too old": _too_old,
    "sale of an unknown customer": _nobody,
}
"""By name."""
