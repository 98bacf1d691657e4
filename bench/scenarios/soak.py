"""Growth of memory under a constant load. Runs only with `--only soak`; `--seconds` sets its length."""

from __future__ import annotations

import statistics
import time

from bench.harness import CONNECTIONS, Harness, Profile
from bench.processes import resident_bytes
from bench.result import Result, Row, Series
from bench.workload import encode_requests, request_bodies

SIZE = 20
RATE = 100.0
"""Requests per second, far below the peak rate of the gateway."""
DISTINCT_REQUESTS = 300
SAMPLES = 300
WARM_UP = 0.7
"""Share of the run that is not evaluated: 210 s of five minutes."""
DEDUP_EVENTS = 400_000
"""Events until the deduplication window, which consists of two generations, has its full size."""


def slope(points: list[tuple[float, float]]) -> float:
    """Return the growth of y per unit of x, fitted by least squares."""
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def run(harness: Harness, profile: Profile) -> Result:
    """Sample the resident memory during the load."""
    requests = encode_requests(request_bodies(harness.seed, SIZE, DISTINCT_REQUESTS), SIZE)
    points: list[tuple[float, float]] = []
    with harness.gateway() as gateway:
        started = time.perf_counter()
        harness.generator.start(
            gateway.server, requests, SIZE, seconds=profile.soak, connections=CONNECTIONS, rate=RATE
        )
        while (elapsed := time.perf_counter() - started) < profile.soak:
            points.append((elapsed, resident_bytes(gateway.pid) / 1e6))
            time.sleep(profile.soak / SAMPLES)
        load = harness.generator.wait()
        started = time.perf_counter()
        gateway.wait_until_delivered()
        drain_seconds = time.perf_counter() - started
    evaluated = [point for point in points if point[0] >= WARM_UP * profile.soak]
    growth = slope(evaluated)
    note = (
        f"growth {growth * 3600:+.1f} MB per hour (least squares); "
        f"all events delivered {drain_seconds:.1f} s after the end of the load"
    )
    if WARM_UP * profile.soak * RATE * SIZE < DEDUP_EVENTS:
        note += "; the run was too short to fill the deduplication window, so growth is expected"
    middle = len(evaluated) // 2
    first_half, second_half = (
        statistics.median(y for _, y in half) for half in (evaluated[:middle], evaluated[middle:])
    )
    return Result(
        f"soak of {profile.soak:.0f} s at {SIZE * RATE:,.0f} events per second",
        [
            Row(
                f"resident memory, second half of the last {1 - WARM_UP:.0%}",
                second_half,
                "MB",
                "first half",
                first_half,
                note=note,
            ),
            Row("p99 latency", load.percentile(0.99) * 1e3, "ms", note=f"of batches of {SIZE}, counted from due times"),
        ],
        series=[Series("soak", "Resident memory under a constant load", "seconds", "MB", {"gateway": points})],
    )
