"""Generated events in which most values have the usual form, for which the fast path was written."""

from __future__ import annotations

import datetime as dt
import random
from hashlib import sha256
from typing import Any

import phonenumbers

from gateway.model import JsonObject
from tests.mapping.builders import NOW
from tests.mapping.value_generator import example_phones, phone_spellings, some_hash

FIRST_NAMES = ("Mary", "JOHN", "alex", "Jean-Luc", "Mary Ann", "Valéry")
LAST_NAMES = ("Keener", "SMITH", "O'Brien", "de Souza", "Groß")
ADDRESSES = (
    {"city": "New Orleans", "state": "Louisiana", "zip": "70112-1234", "country": "USA"},
    {"city": "Seattle", "state": "WA", "zip": 98101, "country": "US"},
    {"city": "Boston", "state": "ma", "zip": "02134"},
    {"city": "München", "state": "Bayern", "zip": "80331", "country": "Germany"},
    {"city": "London", "zip": "SW1A 1AA", "country": "gb"},
    {"city": "São Paulo", "state": "SP", "zip": "01310-100", "country": "BRA"},
    {"city": "Reno", "state": "Nevada", "zip": "89501-1234", "country": sha256(b"us").hexdigest()},
    {"country": "IT"},
    {"country": "Atlantis"},
)
ALTERNATIVE_KEYS: JsonObject = {"zip": ("zip", "postalCode", "zipcode", "zip_code")}
"""Keys of an address under which a part of it may be sent."""


def typical_event(rng: random.Random, name: str) -> JsonObject:
    """An event with this name."""
    person: JsonObject = {}
    share = rng.choice((0.3, 0.6, 0.9))
    """The share of fields that the event has."""

    def maybe(holder: JsonObject, key: str, *values: Any) -> None:
        if rng.random() < share:
            holder[key] = rng.choice(values)

    number = rng.randrange(10**6)
    maybe(
        person,
        "email",
        f"Buyer{number}@Example.COM",
        f"buyer.{number}@mail.example.org",
        f" b{number}@x.de ",
        some_hash(rng),
    )
    maybe(person, "phone", *phones(rng))
    maybe(person, "gender", "male", "F", "m", "Female")
    maybe(person, "birthday", *birthdays(rng))
    maybe(person, "firstName", *FIRST_NAMES)
    maybe(person, "lastName", *LAST_NAMES)
    maybe(person, "name", "Alex Keener", "Ana Maria Souza", "Cher")
    address = {key: value for key, value in rng.choice(ADDRESSES).items() if rng.random() < share}
    address = {rng.choice(ALTERNATIVE_KEYS.get(key, (key,))): value for key, value in address.items()}
    if rng.random() < 0.5:
        person["address"] = address
    else:
        person |= address
    generated: JsonObject = {"type": "track", "event": name, "messageId": f"m-{number}"}
    maybe(
        generated,
        "userId",
        f"user-{number}",
        number,
        f" user-{number} ",
        "71ee45a3c0db9a9865f7313dd3372cf6",
        some_hash(rng),
    )
    maybe(generated, "anonymousId", f"anonymous-{number}")
    maybe(generated, "originalTimestamp", *times(rng))
    maybe(generated, "timestamp", *times(rng))
    generated["properties"] = sale(rng, share)
    context: JsonObject = {}
    if rng.random() < 0.7:
        generated["traits"] = person
    else:
        context["traits"] = person
    maybe(context, "ip", "203.0.113.7", "2001:DB8::8A2E:370:7334")
    maybe(context, "userAgent", "Mozilla/5.0 (X11)", "till/1.0")
    maybe(context, "page", {"url": f"https://shop.example/?fbclid=Ab{number}"}, {"url": "https://shop.example/p"})
    maybe(context, "device", {"advertisingId": "38400000-8CF0-11BD-B23E-10B96E40000D"})
    maybe(context, "dataProcessingOptions", [["LDU"], 1, 1000], [])
    if rng.random() < 0.2:
        context["fbc"], context["fbp"] = f"fb.1.1558571054389.Ab{number}", f"fb.1.1558571054389.{number}"
    if rng.random() < 0.1:
        context["externalId"] = [{"type": "LeadId", "id": f"l:{number}"}]
    return generated | {"context": context}


def phones(rng: random.Random) -> list[Any]:
    """A number in a few spellings. Most numbers are from countries of the settings and of the addresses."""
    configured = [number for region, number in example_phones() if region in {"US", "DE", "GB", "BR", "IT"}]
    number = rng.choice(configured if rng.random() < 0.6 else [number for _, number in example_phones()])
    changed = phonenumbers.PhoneNumber()
    changed.merge_from(number)
    changed.national_number = (number.national_number or 0) // 100 * 100 + rng.randrange(100)
    spellings = phone_spellings(changed)
    # Usual mistakes: digits too many or too few, and the national prefix 0 after the calling code.
    return [*spellings, spellings[0][:-3], spellings[0] + "123", f"+{changed.country_code}0{changed.national_number}"]


def birthdays(rng: random.Random) -> list[str]:
    date = dt.date(1950, 1, 1) + dt.timedelta(days=rng.randrange(21_000))
    return [
        date.strftime(form)
        for form in ("%d, %m, %Y", "%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%dT00:00:00.000Z")
    ]


def times(rng: random.Random) -> list[Any]:
    seconds = NOW - rng.randrange(8 * 86_400)
    time = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return [time.strftime("%Y-%m-%dT%H:%M:%S.000Z"), time.isoformat(), seconds, seconds * 1000]


def sale(rng: random.Random, share: float) -> JsonObject:
    generated: JsonObject = {"color": "red", "coupon": "MAY", "store": {"id": 5, "town": "Ulm"}}
    products = [
        {"product_id": f"p{index}", "name": "A game", "price": 9.5, "quantity": index + 1, "category": "Games"}
        for index in range(rng.randrange(4))
    ]
    for key, value in (
        *(("products", products), ("order_id", "A-1"), ("total", 18.99), ("currency", rng.choice(("USD", "eur")))),
        *(("revenue", "12.50"), ("upload_tag", "May"), ("category", "Games"), ("item_number", 2)),
    ):
        if rng.random() < share:
            generated[key] = value
    return generated
