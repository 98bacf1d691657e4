"""Small and large events, and gzip, until durable: nothing is uploaded meanwhile."""

from __future__ import annotations

import gzip
from functools import partial

from bench.harness import Harness, Profile, in_turn
from bench.requests import Requests
from bench.result import Result, Row, measured
from bench.workload import REFUSING, bodies, requests

SIZE = 100
PADDING = {"0.5 KB": 0, "3 KB": 2500, "30 KB": 29_500}
DISTINCT = 200
"""Requests: 20,000 distinct sales, each sending with message IDs of its own."""
FASTEST = 60_000
"""Events a second that the gzipped requests, each for once, are enough for."""


def run(harness: Harness, profile: Profile) -> Result:
    """Durable events a second for each."""

    def speed(sent: Requests, size: int) -> float:
        with harness.gateway(meta=REFUSING) as gateway:
            return harness.closed(gateway.server, sent, size, profile.seconds).events_per_second

    usual = requests(bodies(harness.seed, SIZE, DISTINCT), SIZE)
    each = bodies(harness.seed, SIZE, int(FASTEST * profile.seconds) // SIZE)
    zipped = requests([gzip.compress(body, 6) for body in each], SIZE, encoding="gzip")
    plain, gzipped = in_turn(profile.side_rounds, partial(speed, usual, SIZE), partial(speed, zipped, SIZE))
    rows = [measured("batches of 100, gzip", gzipped, "events/s", "the same without", plain)]
    first: Row | None = None
    for name, padding in PADDING.items():
        size = SIZE if padding < 10_000 else 10
        given = bodies(harness.seed, size, DISTINCT // (4 if padding else 1), padding=padding)
        (found,) = in_turn(profile.side_rounds, partial(speed, requests(given, size), size))
        row = measured(f"events of {name}, {size} a request", found, "events/s")
        volume = row.value * sum(map(len, given)) / len(given) / size / 2**20
        first = first or row
        rows.append(Row(row.what, row.value, row.unit, "events of 0.5 KB", first.value, note=f"{volume:,.0f} MiB/s"))
    return Result("payloads, batches until durable", rows)
