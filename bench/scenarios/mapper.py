"""The mapper alone: bytes in to bytes out, beside the floor of the same decode, hashes and encode.

*Cold* means that every personal value is new, so that no cache helps; *warm* means that the same customers come back.
The figures of other implementations were measured on a machine of the same kind with RudderStack's sample call; they
are noted here for comparison and not measured in this run.
"""

from __future__ import annotations

import gc
import re
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import orjson

from bench.harness import Harness, Profile
from bench.result import Result, Row
from gateway.config import DestinationSettings
from gateway.mapping import Mapper, compile_mapper
from gateway.model import JsonObject

NOTED = {
    "RudderStack's transformer, this destination": 56.0,
    "RudderStack's transformer, Conversions API": 236.0,
    "Segment's Conversions API action": 95.0,
    "Meta's Python SDK": 58.0,
}
"""Microseconds an event, parsing included: noted, not of this run."""

CUSTOMERS = 400
"""Distinct events in a round."""
ROUNDS = 3
"""Short ones, for each round of the form."""
SHA256 = re.compile(rb'"([0-9a-f]{64})"')


def minimal(number: int) -> JsonObject:
    """An event with a user and an email."""
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": f"user-{number}",
        "context": {"traits": {"email": f"Customer{number}@example.com"}},
        "originalTimestamp": _now(),
        "properties": {"total": 12.5},
    }


def sample(number: int) -> JsonObject:
    """The sample call of RudderStack's page on this destination, each time of another customer."""
    word = "".join(chr(97 + int(digit)) for digit in str(number))
    return {
        "type": "track",
        "userId": f"user@{number}",
        "event": "Product Added",
        "originalTimestamp": _now(),
        "properties": {
            "products": [{"id": number, "category": "Games", "brand": "Hasbro", "price": 18.99, "quantity": 1}],
            "order_id": f"cart{number}",
            "price": 18.99,
            "currency": "USD",
        },
        "traits": {
            "email": f"Alex{number}@example.com",
            "phone": f"+1-202-{200 + number // 10000 % 800}-{number % 10000:04d}",
            "gender": "male",
            "firstName": f"Alex{word}",
            "lastName": f"Keener{word}",
            "birthday": f"{number % 28 + 1:02d}, {number % 12 + 1:02d}, {1940 + number % 60}",
            "address": {
                "city": f"New {word}",
                "state": "Louisiana",
                "postalCode": f"{number % 90000 + 10000}",
                "country": "USA",
            },
        },
    }


def basket(number: int) -> JsonObject:
    """An order of ten products, about 3 KB."""
    event = sample(number)
    event["event"] = "Order Completed"
    event["properties"] = {
        "order_id": f"order-{number}",
        "total": 420.0,
        "currency": "EUR",
        "store": "store-7",
        "coupon": "AUTUMN",
        "products": [
            {
                "product_id": f"sku-{number}-{line}",
                "sku": f"{line:08d}",
                "name": f"A product with a name of its own, number {line}",
                "brand": "Nordwind",
                "category": "clothing",
                "variant": "blue / large",
                "url": f"https://shop.example/products/{line}",
                "price": 42.0,
                "quantity": 1,
                "position": line,
            }
            for line in range(10)
        ],
    }
    return event


EVENTS: dict[str, Callable[[int], JsonObject]] = {
    "minimal: userId and email": minimal,
    "RudderStack's sample call": sample,
    "basket of 10 products": basket,
}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 3600))


def destination_mapper() -> Mapper:
    """A mapper with the settings of a shop in the United States."""
    destination = DestinationSettings.model_validate(
        {
            "api": "conversions",
            "access_token": "bench",
            "standard_to_event_sets": {"Purchase": ["1148872185708962"], "AddToCart": ["1148872185708962"]},
            "default_country": "US",
        }
    )
    return compile_mapper("bench", destination)


def _time_mapper(mapper: Mapper, raws: Sequence[bytes]) -> float:
    """Seconds for all of them, bytes to bytes."""
    loads, map_event, now = orjson.loads, mapper.map, int(time.time())
    begun = time.thread_time()
    for raw in raws:
        map_event(loads(raw), now)
    return time.thread_time() - begun


def _time_floor(raws: Sequence[bytes], values: Sequence[Sequence[bytes]], mapped: Sequence[Any]) -> float:
    """Seconds for the same decodes, as many hashes of values as long, and the same encodes."""
    loads, dumps = orjson.loads, orjson.dumps
    begun = time.thread_time()
    for raw, personal, body in zip(raws, values, mapped, strict=True):
        loads(raw)
        for value in personal:
            sha256(value).hexdigest()
        dumps(body)
    return time.thread_time() - begun


def _measure(name: str, make: Callable[[int], JsonObject], rounds: int, *, cold: bool) -> Row:
    mapper = destination_mapper()
    now = int(time.time())
    ours, floors = [], []
    for number in range(rounds):
        first = number * CUSTOMERS if cold else 0
        raws = [orjson.dumps(make(first + one)) for one in range(CUSTOMERS)]
        # The floor's values come from a mapper of its own: nothing here warms the one that is timed.
        twin = destination_mapper()
        bodies = []
        for raw in raws:
            made = twin.map(orjson.loads(raw), now)
            if not isinstance(made, list):
                raise SystemExit(f"the bench's event {name!r} is not mapped: {made}")
            bodies.append(made[0].body)
        # A hash needs one block for anything up to 55 bytes, which every value here is.
        values = [[b"customer@example.com"] * len(SHA256.findall(body)) for body in bodies]
        mapped = [orjson.loads(body) for body in bodies]
        if not cold and not number:
            _time_mapper(mapper, raws)
        gc.collect()
        gc.freeze()
        floors.append(_time_floor(raws, values, mapped))
        ours.append(_time_mapper(mapper, raws))
        floors.append(_time_floor(raws, values, mapped))
        gc.unfreeze()
    scale = 1e6 / CUSTOMERS
    best = min(ours) * scale
    return Row(
        f"{name}, {'cold' if cold else 'warm'}",
        best,
        "us",
        "the same decode, hashes, encode",
        min(floors) * scale,
        "mapper" if cold and make is sample else "",
        f"{1e6 / best:,.0f} events/s",
    )


def run(_: Harness, profile: Profile) -> Result:
    """All three events, cold and warm."""
    rows = [
        _measure(name, make, ROUNDS * profile.rounds, cold=cold)
        for name, make in EVENTS.items()
        for cold in (True, False)
    ]
    noted = "; ".join(f"{who} {microseconds:.0f} us" for who, microseconds in NOTED.items())
    return Result("the mapper, bytes in to bytes out", rows, f"noted, not of this run: {noted}")
