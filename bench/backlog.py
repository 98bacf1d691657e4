"""What a backlog costs: start-up time and memory with little and with much that waits, and ingest on both engines."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from bench import http, load
from bench.processes import address, resident_bytes
from gateway.demo.children import Child
from gateway.demo.sales import Sales
from gateway.model import Chunk, Lane
from gateway.spool.sqlite import SqliteSpool

EVENTS_A_CHUNK = 1000
STARTS = 5
"""Starts before each backlog, of which the quickest counts."""
REFUSING = "http://127.0.0.1:9"
"""Where nobody listens: what waits stays."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """One start before a backlog."""

    events: int
    spool_bytes: int
    seconds_to_ready: float
    """From the start of the process to its first answer."""
    resident_bytes: int
    """Two seconds later, with uploads that fail."""


async def fill(path: Path, events: int) -> None:
    """Put so many mapped events of 600 bytes into a spool."""
    spool = SqliteSpool(path, max_bytes=20 * 2**30, wall=time.time)
    await spool.open()
    body = orjson.dumps({"event_name": "Purchase", "event_time": int(time.time()), "x": "x" * 540})
    payload = b"\n".join([body] * EVENTS_A_CHUNK)
    chunk = Chunk(Lane("store", "1148872185708962", "rudderstack"), EVENTS_A_CHUNK, 2**31, payload)
    for _ in range(events // EVENTS_A_CHUNK):
        await spool.append([chunk], [])
    await spool.close()


def start(events: int) -> Backlog:
    """Start a gateway before a backlog."""
    with tempfile.TemporaryDirectory(prefix="gateway-backlog-") as name:
        folder = Path(name)
        (folder / "spool").mkdir(mode=0o700)
        asyncio.run(fill(folder / "spool" / "spool.sqlite", events))
        text = http.settings(REFUSING, folder, "sqlite")
        (folder / "gateway.toml").write_text(text)
        size = sum(file.stat().st_size for file in (folder / "spool").iterdir())
        ready, resident = [], 0
        for _ in range(STARTS):
            begun = time.perf_counter()
            with Child(folder, "gateway", ["gateway", "serve", "--config", str(folder / "gateway.toml")]) as gateway:
                gateway.started()
                ready.append(time.perf_counter() - begun)
                time.sleep(2)
                resident = resident_bytes(gateway.process.pid)
        return Backlog(events, size, min(ready), resident)


def ingest(engine: str, seconds: float) -> float:
    """Events a second that are taken in batches of 100, with nothing uploaded."""
    with tempfile.TemporaryDirectory(prefix="gateway-ingest-") as name:
        folder = Path(name)
        (folder / "gateway.toml").write_text(http.settings(REFUSING, folder, engine))
        with Child(folder, "gateway", ["gateway", "serve", "--config", str(folder / "gateway.toml")]) as gateway:
            server = address(gateway.started().addresses["server"])
            events = Sales(1, bad_share=0.0).events(10_000)
            bodies = [orjson.dumps({"batch": events[at : at + 100]}) for at in range(0, len(events), 100)]
            sent = [load.request("/v1/batch", body, http.AUTHORIZATION) for body in bodies]
            run = load.closed_loop(*server, sent, connections=16, seconds=seconds, events_per_request=100)
            return asyncio.run(run).events_per_second


def run(*, events: int = 2_000_000, seconds: float = 4.0) -> dict[str, Any]:
    """Measure; plain values."""
    few, many = start(10_000), start(events)
    by_engine: dict[str, list[float]] = {"sqlite": [], "memory": []}
    for _ in range(3):
        for engine, rates in by_engine.items():
            rates.append(ingest(engine, seconds))
    return {
        "starts": [asdict(few), asdict(many)],
        "memory_ratio": many.resident_bytes / few.resident_bytes,
        "start_ratio": many.seconds_to_ready / few.seconds_to_ready,
        "ingest": {engine: max(rates) for engine, rates in by_engine.items()},
    }


def table(figures: dict[str, Any]) -> Table:
    """The figures for people."""
    ingested = figures["ingest"]
    found = Table(
        title="A backlog",
        caption=(
            f"memory {figures['memory_ratio']:.2f} times, start {figures['start_ratio']:.2f} times; ingest on sqlite "
            f"{ingested['sqlite']:,.0f} events/s, on memory {ingested['memory']:,.0f} "
            f"(ratio {ingested['sqlite'] / ingested['memory']:.2f})"
        ),
    )
    for heading in ("events waiting", "spool MiB", "seconds to ready", "resident MiB"):
        found.add_column(heading, justify="right")
    for row in figures["starts"]:
        found.add_row(
            f"{row['events']:,}",
            f"{row['spool_bytes'] / 2**20:,.0f}",
            f"{row['seconds_to_ready']:.2f}",
            f"{row['resident_bytes'] / 2**20:.0f}",
        )
    return found
