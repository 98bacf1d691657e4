"""Ingest rate by event size, and with gzip. Nothing is uploaded meanwhile."""

from __future__ import annotations

import gzip
from functools import partial

from bench.harness import Harness, Profile, alternate
from bench.requests import Requests
from bench.result import Result, Row, median_row
from bench.workload import UNREACHABLE_META, encode_requests, request_bodies

SIZE = 100
PADDING = {"0.5 KB": 0, "3 KB": 2500, "30 KB": 29_500}
DISTINCT_REQUESTS = 200
"""20,000 distinct sales. Each send of a request has new message IDs."""
MAX_RATE = 60_000
"""Events per second up to which there are enough compressed requests, each of which can be sent only once."""


def run(harness: Harness, profile: Profile) -> Result:
    """Measure durable events per second for each kind of request."""

    def rate(requests: Requests, size: int) -> float:
        with harness.gateway(meta=UNREACHABLE_META) as gateway:
            return harness.closed_loop(gateway.server, requests, size, profile.seconds).events_per_second

    plain = encode_requests(request_bodies(harness.seed, SIZE, DISTINCT_REQUESTS), SIZE)
    bodies = request_bodies(harness.seed, SIZE, int(MAX_RATE * profile.seconds) // SIZE)
    compressed = encode_requests([gzip.compress(body, 6) for body in bodies], SIZE, encoding="gzip")
    plain_rates, compressed_rates = alternate(
        profile.side_rounds, partial(rate, plain, SIZE), partial(rate, compressed, SIZE)
    )
    rows = [median_row("batches of 100, gzip", compressed_rates, "events/s", "batches of 100, plain", plain_rates)]
    first: Row | None = None
    for name, padding in PADDING.items():
        size = SIZE if padding < 10_000 else 10
        padded = request_bodies(harness.seed, size, DISTINCT_REQUESTS // (4 if padding else 1), padding=padding)
        (rates,) = alternate(profile.side_rounds, partial(rate, encode_requests(padded, size), size))
        row = median_row(f"events of {name}, {size} per request", rates, "events/s")
        volume = row.value * sum(map(len, padded)) / len(padded) / size / 2**20
        first = first or row
        rows.append(Row(row.name, row.value, row.unit, "events of 0.5 KB", first.value, note=f"{volume:,.0f} MiB/s"))
    return Result("payloads, batches until durable", rows)
