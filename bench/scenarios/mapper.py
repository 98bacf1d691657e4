"""Time of the mapper per event, input bytes to output bytes, compared with the same decoding, hashing and encoding.

*Native* rows are of the extension, as ingest calls it for batches and for single events. The others are of the Python
path, which maps the unusual events, and all events where the extension is not built.

*Cold* means that every personal value is new, so that caches have no effect. *Warm* means that customers repeat. The
figures of other implementations were measured earlier on a machine of the same kind, with RudderStack's sample call.
They are printed for comparison and not measured in a run.
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
from gateway.mapping.native import load, read
from gateway.model import JsonObject

REFERENCE_FIGURES = {
    "RudderStack's transformer, this destination": 56.0,
    "RudderStack's transformer, Conversions API": 236.0,
    "Segment's Conversions API action": 95.0,
    "Meta's Python SDK": 58.0,
}
"""Microseconds per event, including parsing."""

BASELINE = "the same decoding, hashing, encoding"
CUSTOMERS = 400
"""Distinct events per round."""
BATCH = 100
"""Events in a body of the rows for batches."""
MAX_VALUES, MAX_DEPTH = 1_000_000, 250
"""Limits of the native reader, which no body here reaches."""
ROUNDS = 3
"""Rounds per round of the profile, since each takes only milliseconds."""
SHA256 = re.compile(rb'"([0-9a-f]{64})"')


def minimal(number: int) -> JsonObject:
    """Return an event with a user ID and an email address."""
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": f"user-{number}",
        "context": {"traits": {"email": f"Customer{number}@example.com"}},
        "originalTimestamp": _now(),
        "properties": {"total": 12.5},
    }


def sample(number: int) -> JsonObject:
    """Return the sample call of RudderStack's documentation of this destination, for one customer."""
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
    """Return an order of ten products, about 3 KB."""
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
    "minimal event: userId and email": minimal,
    "RudderStack's sample call": sample,
    "basket of 10 products": basket,
}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - 3600))


def destination_mapper() -> Mapper:
    """Return a mapper with the settings of a shop in the United States."""
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
    """Return the processor time, in seconds, for decoding and mapping all events."""
    loads, map_event, now = orjson.loads, mapper.map, int(time.time())
    started = time.thread_time()
    for raw in raws:
        map_event(loads(raw), now)
    return time.thread_time() - started


def _time_native(mapper: Mapper, bodies: Sequence[bytes], events: int) -> float:
    """Return the processor time, in seconds, for reading and mapping bodies with so many events each."""
    if mapper.native is None:
        raise SystemExit(f"the native extension does not map: {mapper.path}")
    map_natively, now, selected = mapper.native.map, int(time.time()), bytes([1]) * events
    started = time.thread_time()
    for body in bodies:
        document = read(body, MAX_VALUES, MAX_DEPTH)
        if document is None or map_natively(document, selected, now)[1]:
            raise SystemExit("the native extension does not map the benchmark's event")
    return time.thread_time() - started


def _time_single(mapper: Mapper, raws: Sequence[bytes]) -> float:
    """Return the processor time, in seconds, for mapping all events natively, each from a body of its own."""
    return _time_native(mapper, raws, 1)


def _time_batches(mapper: Mapper, raws: Sequence[bytes]) -> float:
    """Return the processor time, in seconds, for mapping all events natively in batches."""
    groups = [raws[start : start + BATCH] for start in range(0, len(raws), BATCH)]
    return _time_native(mapper, [b'{"batch":[' + b",".join(group) + b"]}" for group in groups], BATCH)


PYTHON = "Python"
TIMERS: dict[str, Callable[[Mapper, Sequence[bytes]], float]] = {PYTHON: _time_mapper}
"""The ways to map, by the name in the rows."""
if load() is not None:
    TIMERS |= {"native, single": _time_single, f"native, batches of {BATCH}": _time_batches}
USUAL_WAY = list(TIMERS)[-1]
"""The way that the target is for."""


def _time_baseline(raws: Sequence[bytes], hashed: Sequence[Sequence[bytes]], outputs: Sequence[Any]) -> float:
    """Return the processor time, in seconds, for the same decoding, hashing and encoding without a mapper."""
    loads, dumps = orjson.loads, orjson.dumps
    started = time.thread_time()
    for raw, values, output in zip(raws, hashed, outputs, strict=True):
        loads(raw)
        for value in values:
            sha256(value).hexdigest()
        dumps(output)
    return time.thread_time() - started


def _measure(name: str, way: str, make_event: Callable[[int], JsonObject], rounds: int, *, cold: bool) -> Row:
    time_mapper = TIMERS[way]
    mapper = destination_mapper()
    now = int(time.time())
    mapper_times, baseline_times = [], []
    for number in range(rounds):
        first = number * CUSTOMERS if cold else 0
        raws = [orjson.dumps(make_event(first + customer)) for customer in range(CUSTOMERS)]
        # A second mapper produces the input of the baseline, so that the caches of the measured one stay cold.
        reference_mapper = destination_mapper()
        bodies = []
        for raw in raws:
            mapped = reference_mapper.map(orjson.loads(raw), now)
            if not isinstance(mapped, list):
                raise SystemExit(f"the mapper rejects the benchmark's event {name!r}: {mapped}")
            bodies.append(mapped[0].body)
        # SHA-256 processes up to 55 bytes as one block, and all values are shorter, so one example stands for all.
        hashed = [[b"customer@example.com"] * len(SHA256.findall(body)) for body in bodies]
        outputs = [orjson.loads(body) for body in bodies]
        if not cold and not number:
            time_mapper(mapper, raws)
        gc.collect()
        gc.freeze()
        baseline_times.append(_time_baseline(raws, hashed, outputs))
        mapper_times.append(time_mapper(mapper, raws))
        baseline_times.append(_time_baseline(raws, hashed, outputs))
        gc.unfreeze()
    scale = 1e6 / CUSTOMERS
    best = min(mapper_times) * scale
    return Row(
        f"{name}, {'cold' if cold else 'warm'}, {way}",
        best,
        "us",
        BASELINE,
        min(baseline_times) * scale,
        "mapper" if cold and make_event is sample and way == USUAL_WAY else "",
        f"{1e6 / best:,.0f} events/s",
    )


def run(_: Harness, profile: Profile) -> Result:
    """Measure all three events, each way to map, cold and warm."""
    rows = [
        _measure(name, way, make_event, ROUNDS * profile.rounds, cold=cold)
        for name, make_event in EVENTS.items()
        for way in TIMERS
        for cold in (True, False)
    ]
    figures = "; ".join(f"{name} {microseconds:.0f} us" for name, microseconds in REFERENCE_FIGURES.items())
    return Result(
        "mapper, from input bytes to output bytes", rows, f"for comparison, not measured in this run: {figures}"
    )
