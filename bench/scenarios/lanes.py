"""Rate with many lanes compared with one lane: the same sales, spread over upload tags.

The rate is the lower of ingest rate and delivery rate, measured once every lane has uploaded a first batch.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import partial

from bench.harness import CONNECTIONS, Harness, Profile, alternate
from bench.result import Result, Row, median_row
from bench.workload import encode_requests, request_bodies

LANES = (1, 16, 256)
LANES_QUICK = (1, 256)
SIZE = 100
DISTINCT_REQUESTS = 256
"""So many that every upload tag gets a hundred of the sales."""
RAMP_UP = 5.5
"""Seconds of load before the measurement. Longer than the default `batch.max_age`, so that every lane has flushed."""
MEASURED = 4.0
"""Seconds of load that are measured."""


@dataclass(slots=True)
class _Rates:
    """Events per second during the measurement."""

    ingest: float
    delivery: float


def run(harness: Harness, profile: Profile) -> Result:
    """Measure one event set with different numbers of upload tags."""
    lane_counts = LANES if profile.side_rounds > 1 else LANES_QUICK
    requests = {
        count: encode_requests(request_bodies(harness.seed, SIZE, DISTINCT_REQUESTS, tags=count), SIZE)
        for count in lane_counts
    }
    rates: dict[int, list[_Rates]] = {count: [] for count in lane_counts}
    batch_sizes: dict[int, float] = {}

    def sustained_rate(count: int) -> float:
        with harness.gateway(one_event_set=True) as gateway:
            seconds = RAMP_UP + MEASURED + 0.5
            harness.generator.start(gateway.server, requests[count], SIZE, seconds=seconds, connections=CONNECTIONS)
            time.sleep(RAMP_UP)
            started, before = time.perf_counter(), gateway.status()
            time.sleep(MEASURED)
            elapsed, after = time.perf_counter() - started, gateway.status()
            harness.generator.wait()
        ingest, delivery = (
            (after["ledger"][key] - before["ledger"][key]) / elapsed for key in ("accepted", "delivered")
        )
        rates[count].append(_Rates(ingest, delivery))
        if len(after["lanes"]) != count:
            raise SystemExit(f"the gateway has {len(after['lanes'])} lanes; expected {count}")
        batch_sizes[count] = after["events_per_batch"]
        return float(min(ingest, delivery))

    sustained = alternate(profile.side_rounds, *(partial(sustained_rate, count) for count in lane_counts))
    rows: list[Row] = []
    for count, values in zip(lane_counts, sustained, strict=True):
        ingest = statistics.median(measured.ingest for measured in rates[count])
        delivery = statistics.median(measured.delivery for measured in rates[count])
        note = f"ingest {ingest:,.0f}/s, delivery {delivery:,.0f}/s; {batch_sizes[count]:.0f} events per upload"
        if count == LANES[0]:
            rows.append(median_row("1 lane, sustained", values, "events/s", note=note))
            continue
        target = "lanes" if count == LANES[-1] else ""
        name = f"{count} lanes, sustained"
        rows.append(median_row(name, values, "events/s", "1 lane", sustained[0], target=target, note=note))
    return Result("lanes", rows, "sustained: the lower of ingest rate and delivery rate, once every lane has flushed")
