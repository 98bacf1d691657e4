"""The spool on disk against the one in memory: what durability costs."""

from __future__ import annotations

from functools import partial

from bench.harness import Harness, Profile, in_turn
from bench.result import Result, measured
from bench.workload import REFUSING, bodies, requests

SIZES = (1, 100)
DISTINCT = 20_000
"""Sales; each sending has message IDs of its own."""


def run(harness: Harness, profile: Profile) -> Result:
    """Single events and batches, taken in while nothing is uploaded."""

    def speed(size: int, engine: str) -> float:
        with harness.gateway(meta=REFUSING, engine=engine) as gateway:
            return harness.closed(gateway.server, sent[size], size, profile.seconds).events_per_second

    sent = {size: requests(bodies(harness.seed, size, DISTINCT // size), size) for size in SIZES}
    rows = []
    for size in SIZES:
        on_disk, in_memory = in_turn(
            profile.side_rounds, partial(speed, size, "sqlite"), partial(speed, size, "memory")
        )
        what = "single events" if size == 1 else f"batches of {size}"
        rows.append(measured(f"{what}, sqlite", on_disk, "events/s", "the same with memory", in_memory))
    return Result("spool engines", rows)
