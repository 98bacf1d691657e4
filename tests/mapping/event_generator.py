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
    put(generated, "cost", amount, 0.1)
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
    for key in ("value", "color"):
        put(generated, key, amount, 0.1)
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
    put(generated, "consentManagement", consent_management, 0.3)
    put(generated, "consent", lambda _: object_with(rng, "categoryPreferences", preferences), 0.1)
    put(generated, "fbc", lambda _: f"fb.1.1558571054389.{rng.randrange(10**9)}AbC ", density * 0.3)
    put(generated, "fbp", lambda _: f"fb.1.1558571054389.{rng.randrange(10**9)}", density * 0.4)
    put(generated, "dateofbirth", birthday, 0.05)
    put(generated, "currency", lambda _: rng.choice(("CHF", "yen")), 0.1)
    put(generated, "zip", zip_code, 0.1)
    put(generated, "device", lambda _: object_with(rng, "advertisingId", madid), density * 0.5)
    put(generated, "page", lambda _: object_with(rng, "url", page_url), density * 0.5)
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
    put(generated, "url", page_url, 0.2)
    for key in ("fbc", "fbp"):
        put(generated, key, lambda _: f"fb.1.1558571054389.{rng.randrange(10**9)}", 0.1)
    for key in ("event_id", "eventId"):
        put(generated, key, lambda _: rng.choice((f"e-{rng.randrange(100)}", 17, " e ", "")), 0.15)
    for key in ("query", "search_string"):
        put(generated, key, lambda _: rng.choice((*PERSONAL_VALUES, "red shoes", " hats ", 5)), 0.15)
    for key, values in EVENT_VALUES.items():
        put(generated, key, values, 0.08)
    put(generated, rng.choice(PERSONAL_LOOKING_NAMES), personal_looking, 0.3)
    put(generated, rng.choice(("note", "color", "deep", "list")), personal_looking, 0.3)
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


PERSONAL_LOOKING_NAMES = (
    *(
        "customer_email",
        "Kontakt-E-Mail",
        "headphones",
        "isMobile",
        "shippingAddress",
        "place_of_birth",
        "user first name",
    ),
    *("client_ip", "userIP", "ipAddress", "shipping", "classname", "SSN", "ssn_hash", "Passport", "streetName", "zip2"),
    *("ann@example.com", "10.0.0.1", "description", "ip", "postcode_area", "store_address"),
)
PERSONAL_VALUES = (
    *(
        "Ann@example.com",
        "write to ann.b@mail.example.org today",
        "a%40b.de",
        "ann@localhost",
        "npm@1.2.3",
        "ann＠b.de",
    ),
    *(
        "+49 151 23456789",
        "+1 (650) 555-1212",
        "＋491512345678",
        "+12",
        "0049 151 23456789",
        "00123456789012",
        "+" + "1" * 16,
    ),
    *("203.0.113.7", " 203.0.113.7 ", "2001:db8::1", "fe80::1", "1.2.3", "10:30", "::", "https://203.0.113.7/", "café"),
)
"""Texts that look personal, and texts that nearly do."""


def page_url(rng: random.Random) -> Any:
    if rng.random() < 0.5:
        return url(rng)
    scheme = rng.choice(("https://", "http://", "HTTPS://", "", " https://"))
    host = rng.choice(("shop.example", "ann:secret@shop.example", "shop.example:8080", "ann@b.de"))
    path = rng.choice(("", "/", "/p", "/u/ann@example.com/p", "/u/ann%40example.com", "/a@b", "//"))
    parameters = [
        rng.choice(
            (
                *("a=1", "email=x", "user%5Bemail%5D=x", "first+name=Ann", "q=ann%40example.com", "q=+49 151 23456789"),
                *(
                    "q=%2B4915123456789",
                    "ip=1",
                    "zip=1",
                    "fbclid=AbC-1",
                    "fbclid=a@b.de",
                    "",
                    "utm_source=mail",
                    "phone",
                ),
                *("to=ann@example.com", "at=203.0.113.7", "shipping=fast", "=x", "v=1.2.3"),
            )
        )
        for _ in range(rng.randrange(4))
    ]
    query = "?" + "&".join(parameters) if parameters or rng.random() < 0.1 else ""
    fragment = rng.choice(
        ("", "", "#top", "#email=x", "#/a?b=ann@example.com", "#", "#name", "#ann@example.com", "#a=1")
    )
    return scheme + host + path + query + fragment


def personal_looking(rng: random.Random) -> Any:
    def leaf() -> Any:
        return rng.choice((rng.choice(PERSONAL_VALUES), page_url(rng), "plain", 5, None, "MAY"))

    name = rng.choice(PERSONAL_LOOKING_NAMES)
    return rng.choice(
        (leaf(), leaf(), [leaf(), leaf()], {name: leaf(), "n": leaf()}, [{"a": [leaf()], name: {"b": leaf()}}])
    )


def consent_management(rng: random.Random) -> Any:
    def some_categories() -> Any:
        return rng.sample(CONSENT_CATEGORIES, rng.randrange(len(CONSENT_CATEGORIES)))

    generated: JsonObject = {}
    if rng.random() < 0.7:
        generated["deniedConsentIds"] = rng.choice(
            (some_categories(), some_categories(), [], [None, " C0004 ", 5], "C0004")
        )
    if rng.random() < 0.5:
        generated["allowedConsentIds"] = rng.choice((some_categories(), {"C0004": "Ads", "x": 1}, "C0004"))
    if rng.random() < 0.6:
        generated["provider"] = rng.choice(("oneTrust", "onetrust", "ketch", "custom", "", 5))
    if rng.random() < 0.7:
        generated["resolutionStrategy"] = rng.choice(("and", "or", "any", "all", "", 5))
    return generated


def preferences(rng: random.Random) -> Any:
    given = (True, False, None, "false", 0)
    return {name: rng.choice(given) for name in rng.sample(CONSENT_CATEGORIES, rng.randrange(4))}


CONSENT_CATEGORIES = ("C0004", "C0002", "Advertising", "email")
EVENT_VALUES: dict[str, Values] = {
    "opt_out": lambda rng: rng.choice((True, False, "true", "False", " no ", 0, 1, 0.0, "", "perhaps", [], {})),
    "referrer_url": page_url,
    "customer_segmentation": lambda rng: rng.choice(
        ("new_customer_to_business", " customer_in_loyalty_program ", "vip", 5)
    ),
    "original_event_data": lambda rng: {
        key: rng.choice(values)
        for key, values in {
            "event_name": ("Purchase", "", 5),
            "event_time": (NOW - 500, str(NOW), "2026-11-01T00:00:00Z", "then", None, True),
            "order_id": ("A-1", 5),
            "event_id": ("e", None),
            "other": (1,),
        }.items()
        if rng.random() < 0.5
    },
    "attribution_data": lambda rng: {
        key: rng.choice((0.3, "0.3", 5, "", None, True, ["x"], 2**70))
        for key in ("attribution_share", "scope", "ad_id", "visit_time", "unknown")
        if rng.random() < 0.5
    },
    "app_data": lambda rng: {
        key: rng.choice(values)
        for key, values in {
            "advertiser_tracking_enabled": (True, 0, 1, "1", 2, 1.0),
            "extinfo": (["a2", "", "", "x"], ["i2"], [], [""], ["a2", 5], "a2"),
            "url_schemes": (["a"], "a", [], [5], ""),
            "campaign_ids": ("1", 1),
            "name": ("x",),
        }.items()
        if rng.random() < 0.5
    },
    "advertiser_tracking_enabled": lambda rng: rng.choice((True, False, 0, 1, 2, "1", 1.0)),
}
"""Values on the event in `conversions`."""
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
    "delivery_category": lambda rng: rng.choice(("in_store", "curbside", "home_delivery", "drone", 5)),
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
            ["LDU"],
            [],
            [["LDU"], 1],
            [["LDU", "LDU"]],
            "LDU",
            {"options": ["LDU"]},
            " ",
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
            {rng.choice(CONVERSIONS_SWITCHES): own, "All": rng.choice((True, False))},
            {"Facebook Conversions": own, "FacebookOfflineConversions": True},
            {"Google Ads": False, "All": True},
        )
    )


CONVERSIONS_SWITCHES = ("Facebook Conversions", "FACEBOOK_CONVERSIONS", "Facebook Conversions API (Actions)")


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
    value_fields = ("properties.price", "properties.cost", "cost", "properties.store.id", "traits.color", "revenue")
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
    sometimes("action_source", 0.3, lambda _: rng.choice(("physical_store", "website", "phone_call", "app")))
    sometimes("consent", 0.3, consent)
    sometimes("allow_properties", 0.3, lambda _: rng.sample((*PERSONAL_LOOKING_NAMES, "note", "email", "store"), 4))
    if generated["api"] == "conversions" and rng.random() < 0.1:
        generated |= {"crm": True, "lead_event_source": "HubSpot"}
    sometimes("upload_tag", 0.3, lambda _: "till")
    sometimes("extra_fields", 0.4, extra_fields)
    return generated


def consent(rng: random.Random) -> JsonObject:
    generated: JsonObject = {"categories": rng.sample(CONSENT_CATEGORIES, rng.choice((1, 2, 3)))}
    if rng.random() < 0.5:
        generated["provider"] = rng.choice(("oneTrust", "ketch", "custom"))
    if rng.random() < 0.3:
        generated["resolution"] = rng.choice(("and", "or"))
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
        "event_id": ["properties.coupon"],
        "search_string": ["context.currency", "properties.note"],
        "referrer_url": ["context.page.url"],
        "opt_out": ["properties.store.id", "context.currency"],
    }
    return {key: possible[key] for key in rng.sample(sorted(possible), rng.randrange(1, 4))}
