"""Source events and settings for the property tests, made of a seed: every spelling, place and shape, right and wrong.

A seeded generator and not hypothesis strategies all the way down, because it is some twenty times as fast; hypothesis
chooses the seeds. Most values are plausible, so that most events map; the rest is meant to hurt.
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
from tests.mapping.usual import usual
from tests.mapping.values import (
    COUNTRIES,
    HALF_CHARACTERS,
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
    """A source event; now and then no object at all, and often with something wrong in it."""
    if rng.random() < 0.005:
        return junk(rng)
    if rng.random() < 0.35:
        return usual(rng, rng.choice(EVENT_NAMES))
    made: JsonObject = {"type": "track", "event": rng.choice(EVENT_NAMES)}
    untidy = rng.choice((0.0, 0.02, 0.1, 0.3))
    """The share of values in this event that are junk."""

    def put(holder: JsonObject, key: str, values: Values, likely: float) -> None:
        if rng.random() < likely:
            holder[key] = junk(rng) if rng.random() < untidy else values(rng)

    density = rng.choice((0.05, 0.2, 0.5, 0.9))
    put(made, "messageId", lambda _: rng.choice((f"m-{rng.randrange(10**6)}", " m ")), 0.5)
    put(made, "userId", external_id, 0.4)
    put(made, "anonymousId", external_id, 0.2)
    put(made, "originalTimestamp", timestamp, 0.4)
    put(made, "timestamp", timestamp, 0.3)
    put(made, "traits", lambda _: traits(rng, put, density), 0.7)
    put(made, "context", lambda _: context(rng, put, density), 0.6)
    put(made, "properties", lambda _: properties(rng, put, density), 0.85)
    put(made, "integrations", integrations, 0.15)
    put(made, "externalId", external_ids, 0.1)
    put(made, "event", junk, 0.02)
    return taken_in(json.loads(json.dumps(made), parse_constant=lambda _: None))


def taken_in(value: Any) -> Any:
    """The value as it comes from the intake: NaN, infinities and texts with half a character are null."""
    if isinstance(value, dict):
        return {key: taken_in(one) for key, one in value.items()}
    if isinstance(value, list):
        return [taken_in(one) for one in value]
    return None if isinstance(value, str) and make_encodable(value) is None else value


Put: TypeAlias = Callable[[JsonObject, str, Values, float], None]


def traits(rng: random.Random, put: Put, density: float) -> JsonObject:
    made: JsonObject = {}
    some = density * 0.5
    for key in ("userId", "id"):
        put(made, key, external_id, some * 0.5)
    put(made, "email", emails, density)
    put(made, "phone", phones, density)
    put(made, "gender", gender, density)
    for key in ("birthday", "dateOfBirth", "dateofbirth", "dob", "DOB"):
        put(made, key, birthday, some * 0.5)
    for key in ("firstName", "firstname", "first_name", "lastName", "lastname", "last_name"):
        put(made, key, name, some * 0.6)
    put(made, "name", full_name, some)
    put(made, "mobile", phones, 0.1)
    put(made, "member", external_id, 0.1)
    put(made, "action_source", action_source, 0.05)
    for holder, likely in ((made, some * 0.5), (made.setdefault("address", {}), some)):
        put(holder, "city", city, likely)
        put(holder, "state", state, likely)
        put(holder, "country", country, likely)
        put(holder, rng.choice(ZIP_KEYS), zip_code, likely)
        put(holder, rng.choice(ZIP_KEYS), zip_code, likely * 0.3)
    if not made["address"] or rng.random() < 0.1:
        put(made, "address", lambda _: junk(rng), 1)
    return made


def context(rng: random.Random, put: Put, density: float) -> JsonObject:
    made: JsonObject = {}
    put(made, "traits", lambda _: traits(rng, put, density), 0.4)
    put(made, "ip", ip_address, density)
    put(made, "userAgent", lambda _: rng.choice(("Mozilla/5.0 (X11)", " till/1.0 ", 7)), density)
    put(made, "fbc", lambda _: f"fb.1.1558571054389.{rng.randrange(10**9)}AbC ", density * 0.3)
    put(made, "fbp", lambda _: f"fb.1.1558571054389.{rng.randrange(10**9)}", density * 0.4)
    put(made, "dateofbirth", birthday, 0.05)
    put(made, "currency", lambda _: rng.choice(("CHF", "yen")), 0.1)
    put(made, "zip", zip_code, 0.1)
    put(made, "device", lambda _: holding(rng, "advertisingId", madid), density * 0.5)
    put(made, "page", lambda _: holding(rng, "url", url), density * 0.5)
    put(made, "externalId", external_ids, 0.3)
    put(made, "dataProcessingOptions", data_processing, 0.3)
    return made


def holding(rng: random.Random, key: str, values: Values) -> JsonObject:
    return {key: junk(rng) if rng.random() < 0.05 else values(rng)}


def properties(rng: random.Random, put: Put, density: float) -> JsonObject:
    made: JsonObject = {}
    for key in ("total", "price", "value", "revenue", "cost"):
        put(made, key, amount, 0.3)
    for key in ("order_id", "orderId", "item_number"):
        put(
            made,
            key,
            lambda _: rng.choice(("A-1", 17, "B", "ü", 2.0, "\ud800", " B ")),
            0.3,
        )
    put(made, "currency", lambda _: rng.choice(("USD", "eur", " gbp ", "€", "EURO", "12", "Ä€U")), 0.5)
    put(
        made,
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
    put(made, "products", products, 0.5)
    for key in ("product_id", "sku"):
        put(made, key, lambda _: rng.choice(("p1", 2, "s", " s ")), 0.15)
    for key in ("brand", "category", "quantity", "price", "name"):
        put(made, key, PRODUCT[key], 0.15)
    put(made, "email", emails, density * 0.5)
    put(made, "phone", phones, density * 0.5)
    put(made, "action_source", action_source, 0.2)
    put(made, "url", url, 0.2)
    put(made, "customer_mail", emails, 0.1)
    put(made, "who", full_name, 0.1)
    put(made, "given", name, 0.1)
    put(made, "land", country, 0.1)
    put(made, "customer_phone", phones, 0.1)
    put(made, "date_of_birth", birthday, 0.1)
    put(
        made,
        "store",
        lambda _: {"id": 5, "town": city(rng), "First Name": "Ann", "rows": [{"e_mail": 1, "Email": "x", "n": 2}]},
        0.2,
    )
    for key in META_NAMES:
        put(made, key, lambda _: rng.choice(("in_store", 5, 2.5, ["a", "b"], ["a", 5], {"a": 1}, True, None)), 0.05)
    for _ in range(rng.randrange(3)):
        put(
            made,
            rng.choice(PROPERTY_NAMES),
            lambda _: rng.choice(("red", "FR", 5, 1.25, ["a"], {"b": None}, *HALF_CHARACTERS, ["\ud800", 2**70])),
            0.7,
        )
    return made


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
    made = {key: values(rng) for key, values in PRODUCT.items() if rng.random() < 0.5}
    if made and rng.random() < 0.1:
        made[rng.choice(list(made))] = junk(rng)
    return made


def products(rng: random.Random) -> Any:
    return product(rng) if rng.random() < 0.15 else [product(rng) for _ in range(rng.randrange(4))]


def external_ids(rng: random.Random) -> Any:
    def one() -> Any:
        if rng.random() < 0.1:
            return junk(rng)
        kind = rng.choice(("LeadId", "LeadId", "email", "leadid", 5))
        return {
            "type": kind,
            "id": rng.choice(("l:525645896321548", 123, "abc", "Ann@example.com", "77", "", None, "l:x")),
        }

    return one() if rng.random() < 0.1 else [one() for _ in range(rng.randrange(3))]


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
    """The settings of a destination, as a tree."""
    made: JsonObject = {"api": rng.choice(("conversions", "offline")), "access_token": "token"}
    sets = ("1001", "1002", "1003")
    made["standard_to_event_sets"] = {
        standard: rng.sample(sets, rng.choice((1, 1, 2))) for standard in STANDARD_EVENTS if rng.random() < 0.9
    } or {"Purchase": ["1001"]}

    def sometimes(key: str, likely: float, values: Values) -> None:
        if rng.random() < likely:
            made[key] = values(rng)

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
    sometimes("default_country", 0.6, lambda _: rng.choice([each for each in COUNTRIES if each]))
    sometimes("default_currency", 0.3, lambda _: "EUR")
    sometimes("default_value", 0.3, lambda _: rng.choice((1, 2.5)))
    sometimes("purchase_without_value", 0.3, lambda _: "reject")
    sometimes("action_source", 0.3, lambda _: rng.choice(("physical_store", "website", "phone_call")))
    sometimes("upload_tag", 0.3, lambda _: "till")
    sometimes("extra_fields", 0.4, extra_fields)
    return made


def extra_fields(rng: random.Random) -> JsonObject:
    """More paths for a few fields; none of them is a personal field's and another's too."""
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
