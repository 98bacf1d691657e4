"""Generates store sales as `track` calls. The same seed gives the same sales, except for their times.

The sales resemble those of cash registers, call centres and CRMs: customers return, phone numbers and birthdays have
many notations, traits have different keys, and a small share of the events cannot be mapped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from gateway.model import JsonObject

EVENT_SETS = {
    "Purchase": "1148872185708962",
    "AddToCart": "1024592094903800",
    "Lead": "1024592094903800",
}
"""Event set of each standard event. The IDs are invented."""
EVENTS_TO_STANDARD = {"Quote Requested": "Lead"}

_NAMES = (
    ("Anna", "Müller"), ("Liam", "O'Brien"), ("Zoë", "van den Berg"), ("José", "García López"), ("Yuki", "田中"),
    ("Olga", "Иванова"), ("Mary Ann", "Smith"), ("Björn", "Ångström"), ("Priya", "Sharma"), ("Chloé", "Lefèvre"),
    ("James", "Brown"), ("Fatima", "Al-Sayed"), ("Peter", "Schröder"), ("Ewa", "Wójcik"), ("Tom", "Li"),
)  # fmt: skip
_PLACES = (
    ("US", "New York", "NY", "10001", "+1 212 555 {:04d}", "(212) 555-{:04d}"),
    ("US", "San Francisco", "California", "94105-1420", "1-415-555-{:04d}", "415.555.{:04d}"),
    ("GB", "London", "England", "SW1A 1AA", "+44 20 7946 {:04d}", "020 7946 {:04d}"),
    ("DE", "München", "Bayern", "80331", "+49 89 5550{:04d}", "089/5550{:04d}"),
    ("FR", "Saint-Étienne", "Loire", "42000", "+33 4 77 55 {:04d}", "04 77 55 {:04d}"),
    ("IN", "Mumbai", "Maharashtra", "400001", "+91 98200 1{:04d}", "098200 1{:04d}"),
)
_CURRENCY = {"US": "USD", "GB": "GBP", "DE": "EUR", "FR": "EUR", "IN": "INR"}
_GENDERS = ("f", "Male", "female", "M", "w")
_PRODUCTS = tuple(
    (f"sku-{number}", brand, category, 5.0 + number * 3.5)
    for number, (brand, category) in enumerate(
        (brand, category)
        for brand in ("Nordwind", "Acme", "Pomme", "Kumo")
        for category in ("clothing", "shoes", "grocery", "electronics", "toys")
    )
)
_BIRTHDAYS = ("{2:02d}, {1:02d}, {0}", "{0}-{1:02d}-{2:02d}", "{0}{1:02d}{2:02d}", "{2:02d}.{1:02d}.{0}")
_CUSTOMERS = 20_000
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class _Customer:
    traits: JsonObject
    user_id: str | None
    country: str


class Sales:
    """An endless sequence of sales."""

    def __init__(self, seed: int, *, bad_share: float = 0.01, clock: Callable[[], float] = time.time) -> None:
        """`bad_share`: fraction of the events that the mapping rejects."""
        self._random = Random(seed)  # noqa: S311 (not used for security)
        self._bad_share = bad_share
        self._clock = clock
        self._customers: list[_Customer] = []
        self._number = 0

    def events(self, count: int) -> list[JsonObject]:
        """The next `count` sales."""
        now = self._clock()
        return [self._event(now) for _ in range(count)]

    def _event(self, now: float) -> JsonObject:
        random = self._random
        self._number += 1
        customer = self._customer()
        traits = dict(customer.traits)
        happened = now - random.random() * _DAY
        event: JsonObject = {
            "type": "track",
            "messageId": f"{self._number:08x}-{random.getrandbits(48):012x}",
            "originalTimestamp": _iso(happened),
            "context": {"library": {"name": "till", "version": "4.2"}, "traits": traits},
        }
        if customer.user_id:
            event["userId"] = customer.user_id
        kind = random.random()
        if kind < 0.8:
            event["event"] = "Order Completed"
            event["properties"] = self._order(customer.country)
        elif kind < 0.95:
            event["event"] = "Product Added"
            sku, brand, category, price = random.choice(_PRODUCTS)
            event["properties"] = {"product_id": sku, "brand": brand, "category": category, "price": price}
        else:
            event["event"] = "Quote Requested"
            event["properties"] = {"value": round(random.uniform(50, 5000), 2), "channel": "phone"}
        if random.random() < self._bad_share:
            self._make_unmappable(event, now)
        return event

    def _customer(self) -> _Customer:
        """A returning customer, or a new one."""
        random = self._random
        customers = self._customers
        if customers and (len(customers) == _CUSTOMERS or random.random() < 0.6):
            return random.choice(customers)
        customer = self._new_customer(len(customers))
        customers.append(customer)
        return customer

    def _new_customer(self, number: int) -> _Customer:
        random = self._random
        first, last = random.choice(_NAMES)
        country, city, state, postcode, international, national = random.choice(_PLACES)
        traits: JsonObject = {}
        if random.random() < 0.85:
            email = f"{first.split()[0]}.{number}@example.com"
            traits["email"] = random.choice((email, email.upper(), f" {email} "))
        if not traits:
            traits["phone"] = international.format(number % 10_000)
        elif random.random() < 0.6:
            traits["phone"] = random.choice((international, national)).format(number % 10_000)
        if random.random() < 0.7:
            traits |= {"firstName": first, "lastName": last}
        elif random.random() < 0.5:
            traits["name"] = f"{first} {last}"
        if random.random() < 0.6:
            traits["address"] = {"city": city, "state": state, "postalCode": postcode, "country": country}
        elif random.random() < 0.5:
            traits |= {"country": country, "zip": int(postcode) if postcode.isdecimal() else postcode}
        if random.random() < 0.3:
            birthday = (random.randint(1940, 2006), random.randint(1, 12), random.randint(1, 28))
            traits["birthday"] = random.choice(_BIRTHDAYS).format(*birthday)
        if random.random() < 0.3:
            traits["gender"] = random.choice(_GENDERS)
        user_id = f"customer-{number}" if random.random() < 0.7 else None
        return _Customer(traits, user_id, country)

    def _order(self, country: str) -> JsonObject:
        random = self._random
        products: list[JsonObject] = []
        total = 0.0
        for sku, brand, category, price in random.choices(_PRODUCTS, k=random.choice((1, 1, 1, 2, 2, 3, 5))):
            quantity = random.choice((1, 1, 1, 2, 3))
            total += price * quantity
            products.append(
                {"product_id": sku, "quantity": quantity, "brand": brand, "category": category, "price": price}
            )
        return {
            "order_id": f"order-{self._number}",
            "total": round(total, 2),
            "currency": _CURRENCY[country],
            "store": f"store-{random.randint(1, 40)}",
            "products": products,
        }

    def _make_unmappable(self, event: JsonObject, now: float) -> None:
        """Put one of the usual mistakes of senders into the event: name, identity, or time."""
        match self._random.randrange(4):
            case 0:
                event["event"] = "Newsletter Opened"
            case 1:
                event.pop("userId", None)
                event["context"]["traits"] = {"email": "n/a", "phone": "unknown"}
            case 2:
                event["originalTimestamp"] = _iso(now - 90 * _DAY)
            case _:
                event["originalTimestamp"] = "yesterday"


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + ".000Z"
