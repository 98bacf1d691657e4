"""What a backlog costs: start, memory, taking events in beside it, and how fast it drains."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from bench.harness import Gateway, Harness, Profile
from bench.processes import peak_resident_bytes, resident_bytes
from bench.requests import Requests
from bench.result import Result, Row, Series, measured
from bench.workload import REFUSING, bodies, mapped, requests
from gateway.demo.sales import EVENT_SETS
from gateway.model import Chunk, Lane, join_events
from gateway.spool.sqlite import SqliteSpool

EVENTS_A_CHUNK = 1000
SIZE = 100
DISTINCT = 200
"""Requests: 20,000 distinct sales, each sending with message IDs of its own."""
MOST_A_CALL = 1000
DRAINED = 2
"""Times the form's total: so many that the ends of the spell weigh little."""
ASKED = 5_000_000
"""What the bar is about."""


def run(harness: Harness, profile: Profile) -> Result:
    """Gateways before small and large backlogs; then draining against taking in."""
    rows: list[Row] = []
    sent = requests(bodies(harness.seed, SIZE, DISTINCT), SIZE)
    least: dict[str, float] = {}
    peaks: list[tuple[float, float]] = []
    for events in profile.backlogs:
        found = _beside(harness, profile, sent, events)
        caveat = "" if events == ASKED else f"at {events:,}; --full has {ASKED:,}"
        is_last = events == profile.backlogs[-1]
        for what, unit in UNITS.items():
            bar = "backlog_memory" if what == "peak resident" and is_last else ""
            rows.append(
                Row(
                    f"{what}, {events:,} waiting",
                    found[what],
                    unit,
                    f"{profile.backlogs[0]:,} waiting" if least else "",
                    least.get(what),
                    bar,
                    caveat=caveat if bar else "",
                )
            )
        peaks.append((events, found["peak resident"]))
        least = least or found
    rows.append(_drain(harness, profile))
    lines = {"gateway, peak": peaks}
    series = Series("backlog", "Peak resident memory by events that wait", "events waiting", "MB", lines)
    return Result(
        "backlog",
        rows,
        "peak resident: from the start, through taking events in, to the end of a spell of draining",
        [series],
    )


UNITS = {
    "start to ready": "s",
    "resident at rest": "MB",
    "ingest": "events/s",
    "peak resident": "MB",
    "drain": "events/s",
}


def _beside(harness: Harness, profile: Profile, sent: Requests, events: int) -> dict[str, float]:
    """One gateway with nobody to upload to; then one that drains."""
    folder = harness.folder_of_next()
    asyncio.run(_fill(folder / "spool" / "spool.sqlite", events, mapped(harness.seed, EVENTS_A_CHUNK, harness.folder)))
    begun = time.perf_counter()
    with harness.gateway(folder, meta=REFUSING) as gateway:
        ready = time.perf_counter() - begun
        time.sleep(1.0)
        resident = resident_bytes(gateway.pid)
        ingest = harness.closed(gateway.server, sent, SIZE, profile.seconds).events_per_second
        peak = peak_resident_bytes(gateway.pid)
    with harness.gateway(folder, max_age=0.05) as gateway:
        drained = _draining(gateway, 4 * profile.seconds)
        peak = max(peak, peak_resident_bytes(gateway.pid))
    return {
        "start to ready": ready,
        "resident at rest": resident / 1e6,
        "ingest": ingest,
        "peak resident": peak / 1e6,
        "drain": drained,
    }


async def _fill(path: Path, events: int, mapped_events: list[bytes]) -> None:
    """Put so many mapped sales into a spool."""
    spool = SqliteSpool(path, max_bytes=20 * 2**30, clock=time.time)
    await spool.open()
    count = EVENTS_A_CHUNK
    lane = Lane("store", EVENT_SETS["Purchase"], "rudderstack")
    chunk = Chunk(lane, count, 2**31, join_events(mapped_events[:count]))
    for _ in range(events // count):
        await spool.append([chunk], [])
    await spool.close()


def _draining(gateway: Gateway, seconds: float) -> float:
    """Events delivered a second, until nothing waits or for so long.

    It drains from its start, so what is delivered or in a call by the first look is left out, as full calls.
    """
    begun = time.perf_counter()
    status = gateway.status()
    in_flight = sum(lane["in_flight"] for lane in status["lanes"]) * MOST_A_CALL
    before = status["ledger"]["delivered"] + min(in_flight, status["ledger"]["waiting"])
    while True:
        time.sleep(0.05)
        ledger = gateway.status()["ledger"]
        elapsed = time.perf_counter() - begun
        if ledger["waiting"] == 0 or elapsed > seconds:
            return float(max(0, ledger["delivered"] - before) / elapsed)


def _drain(harness: Harness, profile: Profile) -> Row:
    """How fast what waits leaves, beside how fast the same sales are taken in batches."""
    given = requests(bodies(harness.seed, SIZE, profile.total // SIZE), SIZE)
    folders: list[Path] = []

    def ingest() -> float:
        folder = harness.folder_of_next()
        folders.append(folder)
        with harness.gateway(folder, meta=REFUSING) as gateway:
            return harness.every(gateway.server, given, SIZE, times=DRAINED).events_per_second

    def drain(folder: Path) -> float:
        with harness.gateway(folder, max_age=0.05) as gateway:
            return _draining(gateway, 600.0)

    taken, left = [], []
    for _ in range(profile.rounds):
        taken.append(ingest())
        left.append(drain(folders.pop()))
    return measured("draining", left, "events/s", "taking the same in, batches of 100", taken, bar="drain")
