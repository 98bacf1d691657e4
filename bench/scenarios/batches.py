"""Batches, from the first request until Meta's stand-in has the last event, beside the least that a pipeline does."""

from __future__ import annotations

import time
from functools import partial

from bench.floors import pipeline
from bench.harness import Gateway, Harness, Profile, Shares, in_turn
from bench.requests import Requests
from bench.result import Result, Row, measured
from bench.workload import bodies, hashes_of, requests

SIZES = (10, 100, 500)
BARRED = 100
"""The size that a bar is about."""
FLOOR = "decode, hash, encode, append, fsync"


def delivered(harness: Harness, gateway: Gateway, sent: Requests, size: int) -> tuple[float, float]:
    """Events a second until all are durable, and until all are delivered."""
    begun = time.perf_counter()
    harness.every(gateway.server, sent, size)
    durable = time.perf_counter()
    gateway.drained()
    events = len(sent) * size
    return events / (durable - begun), events / (time.perf_counter() - begun)


def run(harness: Harness, profile: Profile) -> Result:
    """Each size in turn with the floor."""
    rows = [
        row
        for size in SIZES
        for row in _size(harness, profile, size, profile.rounds if size == BARRED else profile.side_rounds)
    ]
    return Result("batches, until durable and until delivered", rows)


def _size(harness: Harness, profile: Profile, size: int, rounds: int) -> list[Row]:
    total = profile.total if size == BARRED else profile.total // 2
    given = bodies(harness.seed, size, total // size)
    sent = requests(given, size)
    durable: list[float] = []
    with harness.gateway(max_age=0.2) as gateway:
        shares = Shares(
            {"gateway": gateway.pid, "stand-in": harness.pid("meta"), "generator": harness.generator.process.pid}
        )

        def ours() -> float:
            with shares:
                taken, found = delivered(harness, gateway, sent, size)
            durable.append(taken)
            return found

        floor = partial(pipeline, given[0], hashes_of(given[0], harness.folder), profile.seconds)
        all_delivered, least = in_turn(rounds, ours, floor)
        status, lag = gateway.status(), gateway.loop_lag()
    note = f"{shares.told(rounds * len(sent) * size)}; {status['events_per_batch']:.0f} events a call; {lag}"
    bar = "delivered" if size == BARRED else ""
    return [
        measured(f"batches of {size}, until durable", durable, "events/s", FLOOR, least),
        measured(f"batches of {size}, until delivered", all_delivered, "events/s", FLOOR, least, bar=bar, note=note),
    ]
