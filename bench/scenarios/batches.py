"""Rate for batches, until durable and until delivered, compared with a minimal pipeline."""

from __future__ import annotations

import time
from functools import partial

from bench.baselines import pipeline
from bench.harness import CpuUsage, Gateway, Harness, Profile, alternate
from bench.requests import Requests
from bench.result import Result, Row, median_row
from bench.workload import encode_requests, hashes_per_event, request_bodies

SIZES = (10, 100, 500)
TARGET_SIZE = 100
"""The size that the target is defined for."""
BASELINE = "decode, hash, encode, append, fsync"


def run(harness: Harness, profile: Profile) -> Result:
    """Measure each batch size alternately with the baseline."""
    rows = [
        row
        for size in SIZES
        for row in _measure_size(harness, profile, size, profile.rounds if size == TARGET_SIZE else profile.side_rounds)
    ]
    return Result("batches, until durable and until delivered", rows)


def _measure_size(harness: Harness, profile: Profile, size: int, rounds: int) -> list[Row]:
    total = profile.total if size == TARGET_SIZE else profile.total // 2
    bodies = request_bodies(harness.seed, size, total // size)
    requests = encode_requests(bodies, size)
    durable_rates: list[float] = []
    with harness.gateway(max_age=0.2) as gateway:
        pids = {"gateway": gateway.pid, "sandbox": harness.pid("sandbox"), "generator": harness.generator.process.pid}
        usage = CpuUsage(pids)

        def measure_gateway() -> float:
            with usage:
                durable, delivered = _rates(harness, gateway, requests, size)
            durable_rates.append(durable)
            return delivered

        baseline = partial(pipeline, bodies[0], hashes_per_event(bodies[0], harness.folder), profile.seconds)
        delivered_rates, baseline_rates = alternate(rounds, measure_gateway, baseline)
        status, lag = gateway.status(), gateway.describe_loop_lag()
    cpu = usage.describe(rounds * len(requests) * size)
    note = f"{cpu}; {status['events_per_batch']:.0f} events per upload; {lag}"
    return [
        median_row(f"batches of {size}, until durable", durable_rates, "events/s", BASELINE, baseline_rates),
        median_row(
            f"batches of {size}, until delivered",
            delivered_rates,
            "events/s",
            BASELINE,
            baseline_rates,
            target="delivered" if size == TARGET_SIZE else "",
            note=note,
        ),
    ]


def _rates(harness: Harness, gateway: Gateway, requests: Requests, size: int) -> tuple[float, float]:
    """Send every request once. Returns events per second until all are durable, and until all are delivered."""
    started = time.perf_counter()
    harness.send_all(gateway.server, requests, size)
    durable = time.perf_counter()
    gateway.wait_until_delivered()
    events = len(requests) * size
    return events / (durable - started), events / (time.perf_counter() - started)
