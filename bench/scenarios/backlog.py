"""What a backlog costs: start, memory, ingest beside it, and how fast it drains."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import orjson

from bench import load
from bench.processes import resident_bytes
from bench.result import Result, Row
from bench.rig import REFUSING, Form, Rig, bodies, in_turn, rate, requests
from gateway.demo.sales import EVENT_SETS
from gateway.model import Chunk, Lane
from gateway.spool.sqlite import SqliteSpool

EVENTS_A_CHUNK = 1000
SIZE = 100


async def fill(path: Path, events: int) -> None:
    """Put so many mapped events of 600 bytes into a spool."""
    spool = SqliteSpool(path, max_bytes=20 * 2**30, wall=time.time)
    await spool.open()
    event = {"event_name": "Purchase", "event_time": int(time.time()), "action_source": "physical_store"}
    body = orjson.dumps({**event, "x": "x" * 510})
    payload = b"\n".join([body] * EVENTS_A_CHUNK)
    chunk = Chunk(Lane("store", EVENT_SETS["Purchase"], "rudderstack"), EVENTS_A_CHUNK, 2**31, payload)
    for _ in range(events // EVENTS_A_CHUNK):
        await spool.append([chunk], [])
    await spool.close()


def run(rig: Rig, form: Form) -> Result:
    """Starts before small and large backlogs; then draining one, against taking events in."""
    rows: list[Row] = []
    sent = requests(bodies(rig.seed, SIZE, 40), SIZE)
    least: dict[str, float] = {}
    for events in form.backlogs:
        folder = rig.folder_of_next()
        asyncio.run(fill(folder / "spool" / "spool.sqlite", events))
        ready, resident, ingest = [], 0.0, 0.0
        for number in range(form.few + 1):
            begun = time.perf_counter()
            with rig.gateway(folder, meta=REFUSING) as gateway:
                ready.append(time.perf_counter() - begun)
                time.sleep(2.0)
                resident = resident_bytes(gateway.pid) / 1e6
                if number == form.few:
                    taken: load.Load = rig.run(rate(gateway.server, sent, SIZE, form.seconds))
                    ingest = taken.events_per_second
        found = {"start to ready": min(ready), "resident": resident, "ingest": ingest}
        units = {"start to ready": "s", "resident": "MB", "ingest": "events/s"}
        against = f"{form.backlogs[0]:,} waiting" if least else ""
        rows += [
            Row(
                f"{what}, {events:,} waiting",
                value,
                units[what],
                against,
                least.get(what),
                "backlog_memory" if what == "resident" and events == form.backlogs[-1] else "",
            )
            for what, value in found.items()
        ]
        least = least or found
    rows.append(_drain(rig, form))
    return Result("backlog", rows)


def _drain(rig: Rig, form: Form) -> Row:
    """How fast what waits leaves, beside how fast the same sales are taken in batches."""
    given = requests(bodies(rig.seed, SIZE, form.total // SIZE), SIZE)
    events = len(given) * SIZE

    def ingest() -> float:
        folder = rig.folder_of_next()
        filled.append(folder)
        with rig.gateway(folder, meta=REFUSING) as gateway:
            begun = time.perf_counter()
            rig.run(
                load.closed_loop(
                    *gateway.server, given, connections=16, seconds=300, events_per_request=SIZE, most=len(given)
                )
            )
            return events / (time.perf_counter() - begun)

    def drain() -> float:
        folder = filled.pop()
        with rig.gateway(folder, max_age=0.05) as gateway:
            begun = time.perf_counter()
            rig.run(gateway.drained())
            return events / (time.perf_counter() - begun)

    filled: list[Path] = []
    taken, left = in_turn(form.rounds, ingest, drain)
    return Row("draining", left, "events/s", "taking the same in, batches of 100", taken, "drain")
