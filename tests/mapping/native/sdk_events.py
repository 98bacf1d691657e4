"""Track calls in the form in which the usual server-side SDKs send them, with the properties of their documentation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from gateway.model import JsonObject
from tests.mapping.builders import NOW

TRAITS: JsonObject = {
    "email": "Ann.Lee@Example.com",
    "firstName": "Ann",
    "lastName": "Lee-Smith",
    "phone": "+1 (202) 555-0182",
    "birthday": "1984-03-09",
    "gender": "female",
    "address": {"street": "1 Main St", "city": "New York", "state": "NY", "postalCode": "10001", "country": "USA"},
    "plan": "premium",
    "logins": 5,
}
ORDER: JsonObject = {
    "checkout_id": "fksdjfsdjfisjf9sdfjsd9f",
    "order_id": "50314b8e9bcf000000000000",
    "affiliation": "Google Store",
    "total": 27.50,
    "subtotal": 22.5,
    "revenue": 25.00,
    "shipping": 3,
    "tax": 2,
    "discount": 2.5,
    "coupon": "hasbros",
    "currency": "USD",
    "products": [
        {
            "product_id": "507f1f77bcf86cd799439011",
            "sku": "45790-32",
            "name": "Monopoly: 3rd Edition",
            "price": 19,
            "quantity": 1,
            "category": "Games",
            "url": "https://www.example.com/product/path",
            "image_url": "https:///www.example.com/product/path.jpg",
        },
        {"product_id": "505bd76785ebb509fc183733", "sku": "46493-32", "name": "Uno", "price": 3, "quantity": 2},
    ],
}
PRODUCT: JsonObject = {
    "product_id": "507f1f77bcf86cd799439011",
    "sku": "G-32",
    "category": "Games",
    "name": "Monopoly: 3rd Edition",
    "brand": "Hasbro",
    "variant": "200 pieces",
    "price": 18.99,
    "quantity": 1,
    "coupon": "MAYDEALS",
    "position": 3,
}
SALES: Sequence[tuple[str, JsonObject]] = (("Order Completed", ORDER), ("Product Added", PRODUCT))
_MOMENT = dt.datetime.fromtimestamp(NOW - 60, dt.UTC)
ISO_Z = _MOMENT.strftime("%Y-%m-%dT%H:%M:%S.123Z")
ISO_OFFSET = _MOMENT.replace(microsecond=123456).isoformat()
UUID = "8e1b7c7a-96a5-4d9c-8b0e-0f6f3f6a1f2b"


def _call(name: str, properties: JsonObject, library: str, **keys: object) -> JsonObject:
    context = {"library": {"name": library, "version": "2.1.0"}, "traits": TRAITS}
    return {
        "type": "track",
        "event": name,
        "userId": "f4ca124298",
        "anonymousId": UUID,
        "properties": properties,
        "context": context,
        "messageId": UUID,
        **keys,
    }


SDK_EVENTS: Mapping[str, Sequence[JsonObject]] = {
    "rudder-sdk-python": [
        _call(
            name,
            properties,
            "rudder-analytics-python",
            channel="server",
            integrations={"All": True},
            timestamp=ISO_OFFSET,
            originalTimestamp=ISO_OFFSET,
        )
        for name, properties in SALES
    ],
    "rudder-sdk-node": [
        _call(
            name,
            properties,
            "@rudderstack/rudder-sdk-node",
            channel="server",
            integrations={},
            timestamp=ISO_Z,
            originalTimestamp=ISO_Z,
            sentAt=ISO_Z,
            _metadata={"nodeVersion": "20.11.0"},
        )
        for name, properties in SALES
    ],
    "rudder-sdk-js": [
        _call(
            name,
            properties,
            "RudderLabs JavaScript SDK",
            channel="web",
            integrations={"All": True},
            originalTimestamp=ISO_Z,
            sentAt=ISO_Z,
            rudderId=UUID,
        )
        | {
            "context": {
                "app": {"name": "RudderLabs JavaScript SDK", "version": "2.1.0"},
                "traits": TRAITS,
                "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
                "locale": "en-GB",
                "page": {"path": "/checkout", "url": "https://shop.example/checkout?step=2&fbclid=IwAR3", "search": ""},
                "ip": "203.0.113.7",
            }
        }
        for name, properties in SALES
    ],
    "analytics-python": [
        _call(name, properties, "analytics-python", integrations={}, timestamp=ISO_OFFSET) for name, properties in SALES
    ],
    "analytics-node": [
        _call(
            name,
            properties,
            "@segment/analytics-node",
            integrations={},
            timestamp=ISO_Z,
            _metadata={"nodeVersion": "20.11.0", "jsRuntime": "node"},
        )
        for name, properties in SALES
    ],
}
"""By SDK."""
