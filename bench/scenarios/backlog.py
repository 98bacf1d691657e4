"""Effect of a backlog on start-up time, memory, ingest rate and drain rate.

The drain rate excludes events that were delivered, or in an upload request, before the measurement began.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from bench.harness import Gateway, Harness, Profile
from bench.processes import peak_resident_bytes, resident_bytes
from bench.requests import Requests
from bench.result import Result, Row, Series, median_row
from bench.workload import UNREACHABLE_META, encode_requests, mapped_bodies, request_bodies
from gateway.demo.sales import EVENT_SETS
from gateway.model import Chunk, Lane, join_events
from gateway.spool.sqlite import SqliteSpool

EVENTS_PER_CHUNK = 1000
SIZE = 100
DISTINCT_REQUESTS = 200
"""20,000 distinct sales. Each send of a request has new message IDs."""
MAX_UPLOAD_EVENTS = 1000
INGEST_REPEATS = 2
"""How often the profile's total is ingested before it is drained. The drain has to last long enough that its first and
last uploads have little effect on the rate."""
TARGET_BACKLOG = 5_000_000
"""Size of the backlog that the memory target is defined for."""
UNITS = {
    "start to ready": "s",
    "resident memory at rest": "MB",
    "ingest": "events/s",
    "peak resident memory": "MB",
    "drain": "events/s",
}


def run(harness: Harness, profile: Profile) -> Result:
    """Measure gateways with small and large backlogs, then the drain rate against the ingest rate."""
    rows: list[Row] = []
    requests = encode_requests(request_bodies(harness.seed, SIZE, DISTINCT_REQUESTS), SIZE)
    smallest: dict[str, float] = {}
    peaks: list[tuple[float, float]] = []
    for events in profile.backlogs:
        values = _measure_backlog(harness, profile, requests, events)
        caveat = f"measured with {events:,} events; --full measures {TARGET_BACKLOG:,}"
        is_last = events == profile.backlogs[-1]
        for name, unit in UNITS.items():
            target = "backlog_memory" if name == "peak resident memory" and is_last else ""
            rows.append(
                Row(
                    f"{name}, backlog of {events:,}",
                    values[name],
                    unit,
                    f"backlog of {profile.backlogs[0]:,}" if smallest else "",
                    smallest.get(name),
                    target,
                    caveat=caveat if target and events != TARGET_BACKLOG else "",
                )
            )
        peaks.append((events, values["peak resident memory"]))
        smallest = smallest or values
    rows.append(_drain_against_ingest(harness, profile))
    lines = {"gateway, peak": peaks}
    series = Series("backlog", "Peak resident memory by size of the backlog", "events in the backlog", "MB", lines)
    return Result(
        "backlog",
        rows,
        "peak resident memory: highest value from the start, during ingest, and until the end of draining",
        [series],
    )


def _measure_backlog(harness: Harness, profile: Profile, requests: Requests, events: int) -> dict[str, float]:
    """Measure a gateway that cannot upload, then one that drains the same backlog."""
    folder = harness.new_folder()
    bodies = mapped_bodies(harness.seed, EVENTS_PER_CHUNK, harness.folder)
    asyncio.run(_fill_spool(folder / "spool" / "spool.sqlite", events, bodies))
    started = time.perf_counter()
    with harness.gateway(folder, meta=UNREACHABLE_META) as gateway:
        ready = time.perf_counter() - started
        time.sleep(1.0)
        resident = resident_bytes(gateway.pid)
        ingest = harness.closed_loop(gateway.server, requests, SIZE, profile.seconds).events_per_second
        peak = peak_resident_bytes(gateway.pid)
    with harness.gateway(folder, max_age=0.05) as gateway:
        drain = _drain_rate(gateway, 4 * profile.seconds)
        peak = max(peak, peak_resident_bytes(gateway.pid))
    return {
        "start to ready": ready,
        "resident memory at rest": resident / 1e6,
        "ingest": ingest,
        "peak resident memory": peak / 1e6,
        "drain": drain,
    }


async def _fill_spool(path: Path, events: int, bodies: Sequence[bytes]) -> None:
    """Store mapped events in a new spool."""
    spool = SqliteSpool(path, max_bytes=20 * 2**30, clock=time.time)
    await spool.open()
    count = EVENTS_PER_CHUNK
    lane = Lane("store", EVENT_SETS["Purchase"], "rudderstack")
    chunk = Chunk(lane, count, 2**31, join_events(bodies[:count]))
    for _ in range(events // count):
        await spool.append([chunk], [])
    await spool.close()


def _drain_rate(gateway: Gateway, seconds: float) -> float:
    """Return events delivered per second, until the backlog is empty or for at most `seconds`.

    The gateway drains from its start. Events that are delivered or in an upload request at the first status request are
    therefore not counted; each upload request is assumed to be full.
    """
    started = time.perf_counter()
    status = gateway.status()
    in_flight = sum(lane["in_flight"] for lane in status["lanes"]) * MAX_UPLOAD_EVENTS
    before = status["ledger"]["delivered"] + min(in_flight, status["ledger"]["waiting"])
    while True:
        time.sleep(0.05)
        ledger = gateway.status()["ledger"]
        elapsed = time.perf_counter() - started
        if ledger["waiting"] == 0 or elapsed > seconds:
            return float(max(0, ledger["delivered"] - before) / elapsed)


def _drain_against_ingest(harness: Harness, profile: Profile) -> Row:
    """Measure the drain rate of a backlog against the ingest rate of the same sales in batches."""
    requests = encode_requests(request_bodies(harness.seed, SIZE, profile.total // SIZE), SIZE)
    ingest_rates, drain_rates = [], []
    for _ in range(profile.rounds):
        folder = harness.new_folder()
        with harness.gateway(folder, meta=UNREACHABLE_META) as gateway:
            load = harness.send_all(gateway.server, requests, SIZE, times=INGEST_REPEATS)
            ingest_rates.append(load.events_per_second)
        with harness.gateway(folder, max_age=0.05) as gateway:
            drain_rates.append(_drain_rate(gateway, 600.0))
    return median_row(
        "drain", drain_rates, "events/s", "ingest of the same events, batches of 100", ingest_rates, target="drain"
    )
