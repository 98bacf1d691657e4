"""Generated destinations and events for the native mapper: usual events with a few unusual values."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gateway.config import DestinationSettings
from gateway.model import JsonObject
from tests.mapping import event_generator
from tests.mapping.builders import NOW
from tests.mapping.native.comparison import Pair
from tests.mapping.typical_events import typical_event

EVENTS_A_SEED = 40

Change: TypeAlias = Callable[[random.Random, JsonObject], JsonObject]


@dataclass(frozen=True, slots=True)
class Case:
    """A generated destination, and events for it."""

    tree: JsonObject
    destination: DestinationSettings
    max_event_bytes: int
    events: list[Any]

    def pair(self) -> Pair:
        return Pair(self.destination, self.max_event_bytes)


def case(seed: int) -> Case:
    rng = random.Random(seed)
    tree = event_generator.settings(rng)
    destination = DestinationSettings.model_validate(tree)
    max_event_bytes = rng.choice((32_768, 32_768, 32_768, 700))
    return Case(tree, destination, max_event_bytes, [some_event(rng) for _ in range(EVENTS_A_SEED)])


def some_event(rng: random.Random) -> Any:
    """A usual event with up to three changes; sometimes one of which most values may be unusual."""
    if rng.random() < 0.15:
        return event_generator.event(rng)
    event = typical_event(rng, rng.choice(event_generator.EVENT_NAMES))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        event = rng.choice(CHANGES)(rng, event)
    return event


def with_decorated_text(rng: random.Random, event: Any) -> Any:
    """The event with a character more in one of its texts, often at an end."""

    def decorated(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        at = rng.choice((0, len(value), rng.randrange(len(value) + 1)))
        return value[:at] + rng.choice(CHARACTERS) + value[at:]

    return changed(rng, event, decorated)


def with_unusual_value(rng: random.Random, event: Any) -> Any:
    """The event with one of its values replaced by an unusual one."""
    return changed(rng, event, lambda _: rng.choice(UNUSUAL))


def with_property(rng: random.Random, event: JsonObject) -> JsonObject:
    value = rng.choice(UNUSUAL)
    return inside(event, "properties", {rng.choice(NAMES): rng.choice((value, [value], {rng.choice(NAMES): value}))})


def with_note(rng: random.Random, event: JsonObject) -> JsonObject:
    """The event with a property whose text looks personal, or nearly so."""
    text = rng.choice((*event_generator.PERSONAL_VALUES, *LOOKS))
    return inside(event, "properties", {"note": rng.choice((text, [text], {"n": text}))})


def with_products(rng: random.Random, event: JsonObject) -> JsonObject:
    products = [
        {key: rng.choice(values) for key, values in PRODUCT.items() if rng.random() < 0.6}
        for _ in range(rng.randrange(1, 3))
    ]
    single = rng.random() < 0.3
    return inside(event, "properties", products[0] if single else {"products": products})


def with_time(rng: random.Random, event: JsonObject) -> JsonObject:
    """The event at a time about now, or at the end of a window."""
    seconds = NOW + rng.choice((0, 0, -7 * 86_400, -62 * 86_400)) + rng.randrange(-400, 400)
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    offset = dt.timezone(dt.timedelta(minutes=rng.choice((0, 60, -210, 845))))
    forms = (
        moment.isoformat(),
        moment.astimezone(offset).isoformat(),
        f"{moment:%Y-%m-%dT%H:%M:%S.999999999Z}",
        seconds,
    )
    return event | {rng.choice(("originalTimestamp", "timestamp")): rng.choice(forms)}


def with_birthday(rng: random.Random, event: JsonObject) -> JsonObject:
    dates = ((29, 2, 1988), (29, 2, 1990), (31, 12, 2009), (1, 1, 2010), (12, 6, 1900), (13, 1, 1990), (31, 6, 1988))
    day, month, year = rng.choice(dates)
    separator = rng.choice((", ", "/", "-", ".", " ", " / "))
    forms = (
        separator.join((f"{day}", f"{month}", f"{year}")),
        separator.join((f"{month:02}", f"{day:02}", f"{year}")),
        f"{year}-{month:02}-{day:02}",
        f"{year}{month:02}{day:02}",
        f"{year}/{month:02}/{day:02} 10:00",
    )
    return inside(event, "traits", {"birthday": rng.choice(forms)})


def with_place(rng: random.Random, event: JsonObject) -> JsonObject:
    """The event with the same state, postal code or phone number as others, in another country."""
    country = {"country": rng.choice(("US", "CA", "DE", "Mexico", "Atlantis", "f" * 64))} if rng.random() < 0.8 else {}
    values = {"state": "Ontario", "zip": "12345-6789", "phone": "2025550182"}
    key = rng.choice(list(values))
    return inside(event, "traits", {key: values[key], **country})


def with_page(rng: random.Random, event: JsonObject) -> JsonObject:
    return inside(event, "context", {"page": {"url": event_generator.page_url(rng)}, "userAgent": "Mozilla/5.0"})


def with_sender_options(rng: random.Random, event: JsonObject) -> JsonObject:
    switch = rng.choice(("All", "Facebook Conversions", "FacebookOfflineConversions", "Other"))
    event = event | {"integrations": rng.choice(({}, {switch: rng.choice((True, False))}))}
    consent: JsonObject = {
        "consentManagement": rng.choice(
            ({"deniedConsentIds": [" C1 ", "C9"]}, {"deniedConsentIds": []}, {"provider": "x"})
        ),
        "consent": {"categoryPreferences": {rng.choice(("C1", "C9", "ads")): rng.choice((True, False))}},
    }
    key = rng.choice(list(consent))
    options = rng.choice(([["LDU"], 1, 1000], [[], 0, 0], ["LDU"], [], [["LDU"]], "LDU"))
    return inside(event, "context", {key: consent[key], "dataProcessingOptions": options})


CHANGES: Sequence[Change] = (
    *(with_decorated_text, with_decorated_text, with_unusual_value, with_property, with_note, with_products),
    *(with_time, with_birthday, with_place, with_page, with_sender_options),
)
PRODUCT: Mapping[str, Sequence[Any]] = {
    "product_id": ("p1", " p2 ", 7, None),
    "id": ("i1", 8),
    "sku": ("s1", "é"),
    "quantity": (1, 2, 2.5, 0, -1, None),
    "brand": ("Acme", " Acme ", "", 5),
    "category": ("Games", "clothing", " flights "),
    "price": (9.5, 3, "3.50", 0.0, -2.25, None),
    "delivery_category": ("in_store", "drone"),
    "name": ("A game",),
}
CHARACTERS = (
    *("\u00a0", "\u0085", "\u1680", "\u2003", "\u202f", "\u3000", "\u200b", "\ufeff", " ", "\t", "\n", "\x0b", "\x1c"),
    *("\x00", "\x1f", "\x7f", '"', "\\", "/", "'", "-", ".", ":", "@", "%", "+", "0", "é", "ß", "İ", "ﬁ", "Ａ", "😀"),
)
"""Characters that are escaped, trimmed, folded, or signs of a personal value."""
LOOKS = (
    *("fe80::1", "dead:beef::1", "a:b", "note: call", "2026-11-18T10:00:00Z", "+49 151/23456789", "(+49) 15123456789"),
    *(
        "00491512345678",
        "0049",
        "00 123",
        "https://shop.example/a",
        "HTTPS://x/?a=1",
        "ftp://a@b.de",
        "1.2.3.4.5",
        "::",
    ),
)
UNUSUAL: Sequence[Any] = (
    *("", " ", "x" * 31, "x" * 32, "x" * 63, "x" * 64, "x" * 65, "ä" * 130, "y" * 300, "z" * 4096, "z" * 4097),
    *("0" * 32, "a" * 64, "A1" * 32, "ab" * 32 + ".AQ", "mary ann", "Al-Sayed", "O'Neil", "van den Berg", "Straße"),
    *("12", "12.50", "0.1", "-3.0", "1e3", "007", "+5", ".5", "5.", "0.000", "EUR", "eur ", "€", "Games", "clothing"),
    *("+1 (202) 555-0182", "+49 (0)30 123456", "0049 30 123456", "2025550182", "+1", "+12025550182 ", "＋4930123456"),
    *("12345-6789", "SW1A 1AA", "1234-567", "98101", "981 01", "track", "website", "app", "physical_store", "in_store"),
    *("https://shop.example/a", "HTTP://x", "https:///x", "https://x/?fbclid=1&a@b.de", "http://x y", "a:b", "café"),
    *("ann@example.com", "a%40b.de", "ann＠example.com", "10.0.0.1"),
    *(0, -0.0, 1, -1, 7.0, 0.05, 0.001, 0.0001, 1e-7, 12.5, 1e15, 1e16, 1e21, 123456789012345.6, 59.980000000000004),
    *(2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, NOW, NOW * 1000, NOW + 200, NOW + 301, NOW - 8 * 86_400),
    *(True, False, None, [], {}, [[]], [None], ["a", "b"], ["a", 5], [["LDU"], 1, 1000], ["LDU"], [{"n": [{}]}]),
    *({"a": {"b": ["c", {"email": "x"}]}}, {"id": "p1"}, [{"id": 5, "price": "3.50"}], [{"sku": " s "}], [{}], [3]),
)
NAMES = (
    *("email", "note", "client_ip", "event_source", "num_items", "content_ids", "store_data", "status", "sku", "price"),
    *(
        "é\n",
        "item_number",
        "orderId",
        "query",
        "opt_out",
        "event_id",
        "delivery_category",
        "content_type",
        "upload_tag",
    ),
)
"""Names of properties: personal ones, those of Meta, and those that are read as fields."""


def inside(event: JsonObject, key: str, values: JsonObject) -> JsonObject:
    """The event with more values in one of its objects."""
    holder = event.get(key)
    return event | {key: (holder if isinstance(holder, dict) else {}) | values}


def changed(rng: random.Random, value: Any, change: Callable[[Any], Any]) -> Any:
    """The value with one of its innermost parts changed."""
    if isinstance(value, dict) and value:
        key = rng.choice(list(value))
        return value | {key: changed(rng, value[key], change)}
    if isinstance(value, list) and value:
        index = rng.randrange(len(value))
        return [*value[:index], changed(rng, value[index], change), *value[index + 1 :]]
    return change(value)
