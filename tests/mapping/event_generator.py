"""Generated source events and settings for the property tests, from a seed.

The events have every spelling, path and type of value, valid and invalid. Most values are plausible, so that most
events are mapped. This is a seeded generator and not a hypothesis strategy because it is some twenty times as fast.
Hypothesis chooses the seeds.
"""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Callable
from typing import Any, TypeAlias

from gateway.model import JsonObject
from tests.mapping.builders import NOW, STANDARD_EVENTS
from tests.mapping.reference_values import make_encodable
from tests.mapping.typical_events import typical_event
from tests.mapping.value_generator import (
    COUNTRIES,
    LONE_SURROGATES,
    Values,
    action_source,
    birthday,
    city,
    country,
    emails,
    external_id,
    full_name,
    gender,
    ip_address,
    junk,
    madid,
    name,
    phones,
    state,
    url,
    zip_code,
)

EVENT_NAMES = (
    *("Products Searched", "Product Viewed", "Product List Viewed", "Product Added", "Product Added to Wishlist"),
    *("Checkout Started", "Payment Info Entered", "Order Completed", "Signup", "Store Visit", "order completed"),
)
CATEGORIES = ("Games", "clothing", "flights", "Möbel")
ZIP_KEYS = ("zip", "zipcode", "zip_code", "zipCode", "postalcode", "postal_code", "postalCode")


def event(rng: random.Random) -> Any:
    """A source event, often with invalid values. Rarely it is not an object."""
    if rng.random() < 0.005:
        return junk(rng)
    if rng.random() < 0.35:
        return typical_event(rng, rng.choice(EVENT_NAMES))
    generated: JsonObject = {"type": "track", "event": rng.choice(EVENT_NAMES)}
    junk_share = rng.choice((0.0, 0.02, 0.1, 0.3))
    """The share of this event's values that are junk."""

    def put(holder: JsonObject, key: str, values: Values, probability: float) -> None:
        if rng.random() < probability:
            holder[key] = junk(rng) if rng.random() < junk_share else values(rng)

    density = rng.choice((0.05, 0.2, 0.5, 0.9))
    put(generated, "messageId", lambda _: rng.choice((f"m-{rng.randrange(10**6)}", " m ")), 0.5)
    put(generated, "userId", external_id, 0.4)
    put(generated, "anonymousId", external_id, 0.2)
    put(generated, "originalTimestamp", timestamp, 0.4)
    put(generated, "timestamp", timestamp, 0.3)
    put(generated, "traits", lambda _: traits(rng, put, density), 0.7)
    put(generated, "context", lambda _: context(rng, put, density), 0.6)
    put(generated, "properties", lambda _: properties(rng, put, density), 0.85)
    put(generated, "integrations", integrations, 0.15)
    put(generated, "externalId", external_ids, 0.1)
    put(generated, "event", junk, 0.02)
    return decoded(json.loads(json.dumps(generated), parse_constant=lambda _: None))


def decoded(value: Any) -> Any:
    """The value as the HTTP API decodes it: NaN, infinities and texts with a lone surrogate are null."""
    if isinstance(value, dict):
        return {key: decoded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [decoded(inner) for inner in value]
    return None if isinstance(value, str) and make_encodable(value) is None else value


Put: TypeAlias = Callable[[JsonObject, str, Values, float], None]


def traits(rng: random.Random, put: Put, density: float) -> JsonObject:
    generated: JsonObject = {}
    share = density * 0.5
    for key in ("userId", "id"):
        put(generated, key, external_id, share * 0.5)
    put(generated, "email", emails, density)
    put(generated, "phone", phones, density)
    put(generated, "gender", gender, density)
    for key in ("birthday", "dateOfBirth", "dateofbirth", "dob", "DOB"):
        put(generated, key, birthday, share * 0.5)
    for key in ("firstName", "firstname", "first_name", "lastName", "lastname", "last_name"):
        put(generated, key, name, share * 0.6)
    put(generated, "name", full_name, share)
    put(generated, "mobile", phones, 0.1)
    put(generated, "member", external_id, 0.1)
    put(generated, "action_source", action_source, 0.05)
    for holder, probability in ((generated, share * 0.5), (generated.setdefault("address", {}), share)):
        put(holder, "city", city, probability)
        put(holder, "state", state, probability)
        put(holder, "country", country, probability)
        put(holder, rng.choice(ZIP_KEYS), zip_code, probability)
        put(holder, rng.choice(ZIP_KEYS), zip_code, probability * 0.3)
    if not generated["address"] or rng.random() < 0.1:
        put(generated, "address", lambda _: junk(rng), 1)
    return generated


def context(rng: random.Random, put: Put, density: float) -> JsonObject:
    generated: JsonObject = {}
    put(generated, "traits", lambda _: traits(rng, put, density), 0.4)
    put(generated, "ip", ip_address, density)
    put(generated, "userAgent", lambda _: rng.choice(("Mozilla/5.0 (X11)", " till/1.0 ", 7)), density)
    put(generated, "fbc", lambda _: f"fb.1.1558571054389.{rng.randrange(10**9)}AbC ", density * 0.3)
    put(generated, "fbp", lambda _: f"fb.1.1558571054389.{rng.randrange(10**9)}", density * 0.4)
    put(generated, "dateofbirth", birthday, 0.05)
    put(generated, "currency", lambda _: rng.choice(("CHF", "yen")), 0.1)
    put(generated, "zip", zip_code, 0.1)
    put(generated, "device", lambda _: object_with(rng, "advertisingId", madid), density * 0.5)
    put(generated, "page", lambda _: object_with(rng, "url", url), density * 0.5)
    put(generated, "externalId", external_ids, 0.3)
    put(generated, "dataProcessingOptions", data_processing, 0.3)
    return generated


def object_with(rng: random.Random, key: str, values: Values) -> JsonObject:
    return {key: junk(rng) if rng.random() < 0.05 else values(rng)}


def properties(rng: random.Random, put: Put, density: float) -> JsonObject:
    generated: JsonObject = {}
    for key in ("total", "price", "value", "revenue", "cost"):
        put(generated, key, amount, 0.3)
    for key in ("order_id", "orderId", "item_number"):
        put(
            generated,
            key,
            lambda _: rng.choice(("A-1", 17, "B", "ü", 2.0, "\ud800", " B ")),
            0.3,
        )
    put(generated, "currency", lambda _: rng.choice(("USD", "eur", " gbp ", "€", "EURO", "12", "Ä€U")), 0.5)
    put(
        generated,
        "upload_tag",
        lambda _: rng.choice(
            (
                "May",
                " store 5 ",
                5,
                "t" * 200,
                "t" * 201,
                "a&b=c",
                "\ud800",
            )
        ),
        0.2,
    )
    put(generated, "products", products, 0.5)
    for key in ("product_id", "sku"):
        put(generated, key, lambda _: rng.choice(("p1", 2, "s", " s ")), 0.15)
    for key in ("brand", "category", "quantity", "price", "name"):
        put(generated, key, PRODUCT[key], 0.15)
    put(generated, "email", emails, density * 0.5)
    put(generated, "phone", phones, density * 0.5)
    put(generated, "action_source", action_source, 0.2)
    put(generated, "url", url, 0.2)
    put(generated, "customer_mail", emails, 0.1)
    put(generated, "who", full_name, 0.1)
    put(generated, "given", name, 0.1)
    put(generated, "land", country, 0.1)
    put(generated, "customer_phone", phones, 0.1)
    put(generated, "date_of_birth", birthday, 0.1)
    put(
        generated,
        "store",
        lambda _: {"id": 5, "town": city(rng), "First Name": "Ann", "rows": [{"e_mail": 1, "Email": "x", "n": 2}]},
        0.2,
    )
    for key in META_NAMES:
        put(
            generated, key, lambda _: rng.choice(("in_store", 5, 2.5, ["a", "b"], ["a", 5], {"a": 1}, True, None)), 0.05
        )
    for _ in range(rng.randrange(3)):
        put(
            generated,
            rng.choice(PROPERTY_NAMES),
            lambda _: rng.choice(("red", "FR", 5, 1.25, ["a"], {"b": None}, *LONE_SURROGATES, ["\ud800", 2**70])),
            0.7,
        )
    return generated


META_NAMES = (
    *("content_name", "content_category", "content_ids", "num_items", "predicted_ltv", "net_revenue", "search_string"),
    *("status", "delivery_category", "lead_event_source", "store_data"),
)
PROPERTY_NAMES = (
    *("color", "products.0.id", "a.b", "traits.email", "", "Größe", "content_type", "contents", "coupon", "\ud800"),
    *(
        "First-Name",
        "LAST_NAME",
        "zip_code",
        "Postal Code",
        "date_of_birth",
        "value",
        "user_data",
        "__class__",
        "Sex",
        "first.name",
    ),
)


# The sale.


def amount(rng: random.Random) -> Any:
    return rng.choice((18.99, 5, "12.50", " 7 ", "1e3", "text", "$5", "NaN", "inf", -3, 0, "0", "1,000.5", "1_0", "٣"))


PRODUCT: dict[str, Values] = {
    "product_id": lambda rng: rng.choice(("p1", 12, "p 2", " p 2 ")),
    "id": lambda rng: rng.choice((1, "i1", 3.0)),
    "sku": lambda rng: rng.choice(("s1", 9)),
    "quantity": lambda rng: rng.choice((1, 2.5, "3", 0, -1, "x")),
    "price": amount,
    "brand": lambda rng: rng.choice(("Hasbro", "b", 5, " b ")),
    "category": lambda rng: rng.choice((*CATEGORIES, "unlisted", " Games ")),
    "name": lambda _: "Ann's game",
}


def product(rng: random.Random) -> Any:
    if rng.random() < 0.1:
        return junk(rng)
    generated = {key: values(rng) for key, values in PRODUCT.items() if rng.random() < 0.5}
    if generated and rng.random() < 0.1:
        generated[rng.choice(list(generated))] = junk(rng)
    return generated


def products(rng: random.Random) -> Any:
    return product(rng) if rng.random() < 0.15 else [product(rng) for _ in range(rng.randrange(4))]


def external_ids(rng: random.Random) -> Any:
    def entry() -> Any:
        if rng.random() < 0.1:
            return junk(rng)
        kind = rng.choice(("LeadId", "LeadId", "email", "leadid", 5))
        return {
            "type": kind,
            "id": rng.choice(("l:525645896321548", 123, "abc", "Ann@example.com", "77", "", None, "l:x")),
        }

    return entry() if rng.random() < 0.1 else [entry() for _ in range(rng.randrange(3))]


def data_processing(rng: random.Random) -> Any:
    return rng.choice(
        (
            [["LDU"], 1, 1000],
            [["LDU"], 0, 0],
            [[]],
            [[], 0, 0],
            [["LDU"]],
            ["LDU", 1, 1000],
            [["x"], 1, 1000],
            [["LDU"], "1", 1000],
            [["LDU"], 1, None],
        )
    )


def integrations(rng: random.Random) -> Any:
    own = rng.choice(
        (
            False,
            True,
            {"contentType": rng.choice(("product", "hotel", "", 5, " hotel "))},
            {},
        )
    )
    return rng.choice(
        (
            {"All": rng.choice((True, False))},
            {"FacebookOfflineConversions": own},
            {"All": False, "FacebookOfflineConversions": own},
            {"Facebook Offline Conversions": own, "All": rng.choice((True, False))},
        )
    )


def timestamp(rng: random.Random) -> Any:
    ago = rng.choice(
        (0, 1, 3600, 86400, 8 * 86400, 61 * 86400, 62 * 86400, 62 * 86400 + 1, 70 * 86400, -200, -300, -301, 10**9)
    )
    time = dt.datetime.fromtimestamp(NOW - ago, dt.UTC)
    east = time.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=30)))
    return rng.choice(
        (
            *(NOW - ago, (NOW - ago) * 1000, (NOW - ago) * 1000 + 250, NOW - ago + 0.5, str(NOW - ago)),
            *(time.strftime("%Y-%m-%dT%H:%M:%SZ"), time.strftime("%Y-%m-%dT%H:%M:%S.123Z"), east.isoformat()),
            *(time.strftime("%Y-%m-%d %H:%M:%S"), time.strftime("%Y-%m-%dT%H:%M:%S"), time.strftime("%Y-%m-%d")),
            rng.choice(
                (
                    "yesterday",
                    "2026-13-01T00:00:00Z",
                    "2026-11-18T05:26:40+0200",
                    -5,
                    "2026-11-18t05:26:40.999z",
                )
            ),
        )
    )


# Settings.


def settings(rng: random.Random) -> JsonObject:
    """The settings of a destination, as read from TOML."""
    generated: JsonObject = {"api": rng.choice(("conversions", "offline")), "access_token": "token"}
    sets = ("1001", "1002", "1003")
    generated["standard_to_event_sets"] = {
        standard: rng.sample(sets, rng.choice((1, 1, 2))) for standard in STANDARD_EVENTS if rng.random() < 0.9
    } or {"Purchase": ["1001"]}

    def sometimes(key: str, probability: float, values: Values) -> None:
        if rng.random() < probability:
            generated[key] = values(rng)

    sometimes(
        "events_to_standard",
        0.5,
        lambda _: {each: rng.sample(STANDARD_EVENTS, rng.choice((1, 1, 2, 3))) for each in rng.sample(EVENT_NAMES, 4)},
    )
    sometimes(
        "category_to_content_type", 0.5, lambda _: {"Games": "product", "clothing": "product_group", "Möbel": "hotel"}
    )
    value_fields = ("properties.price", "properties.cost", "cost", "properties.store.id", "traits.value")
    sometimes("value_field", 0.4, lambda _: rng.choice(value_fields))
    sometimes("limited_data_usage", 0.5, lambda _: True)
    sometimes("hashing", 0.15, lambda _: False)
    sometimes("hash_external_id", 0.4, lambda _: rng.choice((True, False)))
    sometimes("external_id_case", 0.3, lambda _: rng.choice(("keep", "lower")))
    sometimes("birthday_order", 0.3, lambda _: rng.choice(("day_first", "month_first")))
    sometimes("match_variants", 0.3, lambda _: rng.choice((True, False)))
    sometimes("default_country", 0.6, lambda _: rng.choice([each for each in COUNTRIES if each]))
    sometimes("default_currency", 0.3, lambda _: "EUR")
    sometimes("default_value", 0.3, lambda _: rng.choice((1, 2.5)))
    sometimes("purchase_without_value", 0.3, lambda _: "reject")
    sometimes("action_source", 0.3, lambda _: rng.choice(("physical_store", "website", "phone_call")))
    sometimes("upload_tag", 0.3, lambda _: "till")
    sometimes("extra_fields", 0.4, extra_fields)
    return generated


def extra_fields(rng: random.Random) -> JsonObject:
    """Additional paths for a few fields. No path belongs to an identity field and to another field."""
    possible = {
        "email": ["properties.customer_mail"],
        "phone": ["properties.customer_phone", "traits.mobile"],
        "external_id": ["properties.color", "traits.member"],
        "first_name": ["properties.given"],
        "country": ["properties.land"],
        "value": ["properties.cost"],
        "order_id": ["properties.store.id"],
        "currency": ["context.currency"],
        "event_time": ["properties.coupon"],
        "upload_tag": ["properties.coupon"],
        "item_number": ["properties.coupon"],
        "birthday": ["properties.date_of_birth"],
        "city": ["properties.store.town"],
        "zip": ["context.zip"],
        "name": ["properties.who"],
    }
    return {key: possible[key] for key in rng.sample(sorted(possible), rng.randrange(1, 4))}
