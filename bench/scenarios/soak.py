"""An even load for long: whether memory grows. Not part of the other forms; `--seconds` says for how long."""

from __future__ import annotations

import statistics
import time

from bench.harness import CONNECTIONS, Harness, Profile
from bench.processes import resident_bytes
from bench.result import Result, Row, Series
from bench.workload import bodies, requests

SIZE = 20
RATE = 100.0
"""Requests a second: well below what the gateway takes."""
DISTINCT = 300
SAMPLES = 300
WARM = 0.7
"""Of the run, after which it counts: 210 s of five minutes."""
WINDOW = 400_000
"""Events until the window of message IDs, which is two generations, has its full size."""


def slope(points: list[tuple[float, float]]) -> float:
    """By how much y grows for each x, as the least squares have it."""
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


def run(harness: Harness, profile: Profile) -> Result:
    """Resident memory, sampled through the load."""
    sent = requests(bodies(harness.seed, SIZE, DISTINCT), SIZE)
    points: list[tuple[float, float]] = []
    with harness.gateway() as gateway:
        begun = time.perf_counter()
        harness.generator.start(gateway.server, sent, SIZE, seconds=profile.soak, connections=CONNECTIONS, rate=RATE)
        while (elapsed := time.perf_counter() - begun) < profile.soak:
            points.append((elapsed, resident_bytes(gateway.pid) / 1e6))
            time.sleep(profile.soak / SAMPLES)
        load = harness.generator.ended()
        begun = time.perf_counter()
        gateway.drained()
        drained = time.perf_counter() - begun
    late = [point for point in points if point[0] >= WARM * profile.soak]
    growth = slope(late)
    note = f"{growth * 3600:+.1f} MB an hour, least squares of the rest; drained {drained:.1f} s after the end"
    if WARM * profile.soak * RATE * SIZE < WINDOW:
        note += "; too short for the window of message IDs to be full, so growth is expected"
    middle = len(late) // 2
    early_half, late_half = (statistics.median(y for _, y in part) for part in (late[:middle], late[middle:]))
    return Result(
        f"soak of {profile.soak:.0f} s at {SIZE * RATE:,.0f} events a second",
        [
            Row("resident, end of what counts", late_half, "MB", "its first half", early_half, note=note),
            Row("p99", load.percentile(0.99) * 1e3, "ms", note=f"of batches of {SIZE}, due times kept"),
        ],
        series=[Series("soak", "Resident memory under an even load", "seconds", "MB", {"gateway": points})],
    )
