"""Ingest rate with the spool in SQLite, compared with the spool in memory: the cost of durability."""

from __future__ import annotations

from functools import partial

from bench.harness import Harness, Profile, alternate
from bench.result import Result, median_row
from bench.workload import UNREACHABLE_META, encode_requests, request_bodies

SIZES = (1, 100)
DISTINCT_SALES = 20_000
"""Each send of a request has new message IDs."""


def run(harness: Harness, profile: Profile) -> Result:
    """Measure single events and batches. Nothing is uploaded meanwhile."""

    def rate(size: int, engine: str) -> float:
        with harness.gateway(meta=UNREACHABLE_META, engine=engine) as gateway:
            return harness.closed_loop(gateway.server, requests[size], size, profile.seconds).events_per_second

    requests = {
        size: encode_requests(request_bodies(harness.seed, size, DISTINCT_SALES // size), size) for size in SIZES
    }
    rows = []
    for size in SIZES:
        sqlite, memory = alternate(profile.side_rounds, partial(rate, size, "sqlite"), partial(rate, size, "memory"))
        name = "single events" if size == 1 else f"batches of {size}"
        rows.append(median_row(f"{name}, sqlite", sqlite, "events/s", f"{name}, memory", memory))
    return Result("spool engines", rows)
