"""Events without anything odd in them, as most senders' are: what the mapper's short cuts are made for."""

from __future__ import annotations

import datetime as dt
import random
from hashlib import sha256
from typing import Any

import phonenumbers

from gateway.model import JsonObject
from tests.mapping.builders import NOW
from tests.mapping.values import example_phones, phone_spellings, some_hash

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
UNDER: JsonObject = {"zip": ("zip", "postalCode", "zipcode", "zip_code")}
"""Other names under which a part of an address may stand."""


def usual(rng: random.Random, name: str) -> JsonObject:
    """An event of this name."""
    person: JsonObject = {}
    some = rng.choice((0.3, 0.6, 0.9))

    def maybe(holder: JsonObject, key: str, *values: Any) -> None:
        if rng.random() < some:
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
    address = {key: value for key, value in rng.choice(ADDRESSES).items() if rng.random() < some}
    address = {rng.choice(UNDER.get(key, (key,))): value for key, value in address.items()}
    if rng.random() < 0.5:
        person["address"] = address
    else:
        person |= address
    made: JsonObject = {"type": "track", "event": name, "messageId": f"m-{number}"}
    maybe(
        made, "userId", f"user-{number}", number, f" user-{number} ", "71ee45a3c0db9a9865f7313dd3372cf6", some_hash(rng)
    )
    maybe(made, "anonymousId", f"anonymous-{number}")
    maybe(made, "originalTimestamp", *times(rng))
    maybe(made, "timestamp", *times(rng))
    made["properties"] = sold(rng, some)
    context: JsonObject = {}
    if rng.random() < 0.7:
        made["traits"] = person
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
    return made | {"context": context}


def phones(rng: random.Random) -> list[Any]:
    """A number in a few spellings; most are of countries that the settings and the addresses know."""
    near = [number for region, number in example_phones() if region in {"US", "DE", "GB", "BR", "IT"}]
    number = rng.choice(near if rng.random() < 0.6 else [number for _, number in example_phones()])
    changed = phonenumbers.PhoneNumber()
    changed.merge_from(number)
    changed.national_number = (number.national_number or 0) // 100 * 100 + rng.randrange(100)
    spellings = phone_spellings(changed)
    # With a digit too many or too few, and with the trunk zero after the country's code: usual mistakes.
    return [*spellings, spellings[0][:-3], spellings[0] + "123", f"+{changed.country_code}0{changed.national_number}"]


def birthdays(rng: random.Random) -> list[str]:
    date = dt.date(1950, 1, 1) + dt.timedelta(days=rng.randrange(21_000))
    return [date.strftime(form) for form in ("%d, %m, %Y", "%Y-%m-%d", "%Y%m%d", "%d.%m.%Y", "%Y-%m-%dT00:00:00.000Z")]


def times(rng: random.Random) -> list[Any]:
    seconds = NOW - rng.randrange(8 * 86_400)
    time = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return [time.strftime("%Y-%m-%dT%H:%M:%S.000Z"), time.isoformat(), seconds, seconds * 1000]


def sold(rng: random.Random, some: float) -> JsonObject:
    made: JsonObject = {"color": "red", "coupon": "MAY", "store": {"id": 5, "town": "Ulm"}}
    products = [
        {"product_id": f"p{index}", "name": "A game", "price": 9.5, "quantity": index + 1, "category": "Games"}
        for index in range(rng.randrange(4))
    ]
    for key, value in (
        *(("products", products), ("order_id", "A-1"), ("total", 18.99), ("currency", rng.choice(("USD", "eur")))),
        *(("revenue", "12.50"), ("upload_tag", "May"), ("category", "Games"), ("item_number", 2)),
    ):
        if rng.random() < some:
            made[key] = value
    return made
