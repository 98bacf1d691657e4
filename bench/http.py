"""The whole gateway under load, beside floors of the same run: durable, and until delivered.

Three processes beside the load generator: a stand-in for Meta, the gateway, and the HTTP floors. Ratios count; a
machine with two cores lets the generator, the gateway and the stand-in take turns, so absolute figures understate it.
"""

from __future__ import annotations

import asyncio
import base64
import re
import tempfile
import time
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from bench import load
from bench.floors import pipeline
from bench.processes import address, cpu_seconds, resident_bytes
from gateway.config import parse
from gateway.demo.children import Child
from gateway.demo.sales import EVENT_SETS, EVENTS_TO_STANDARD, Sales
from gateway.mapping import compile_mapper

WRITE_KEY = "bench"
AUTHORIZATION = "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
SHA256 = re.compile(rb'"[0-9a-f]{64}"')


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    events_per_second: float
    floor: str
    floor_events_per_second: float
    p50_ms: float
    p99_ms: float

    @property
    def ratio(self) -> float:
        """Of the floor."""
        return self.events_per_second / self.floor_events_per_second


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the events of a whole run."""

    accepted: int
    delivered: int
    dead_lettered: int
    waiting: int
    events_per_batch: float
    gateway_cpu_seconds: float
    gateway_resident_bytes: int


def settings(meta: str, folder: Path, engine: str) -> str:
    """A gateway with a destination that uploads as fast as the stand-in answers."""
    standard = ", ".join(f'"{name}" = ["{wanted}"]' for name, wanted in EVENTS_TO_STANDARD.items())
    event_sets = ", ".join(f'{name} = ["{number}"]' for name, number in EVENT_SETS.items())
    return f"""
[server]
port = 0
drain_delay = 0
[admin]
port = 0
[spool]
engine = "{engine}"
path = "{folder / "spool"}"
[repeats]
events = 0
[sources.bench]
write_key = "{WRITE_KEY}"
destinations = ["store"]
[destinations.store]
api = "conversions"
access_token = "bench"
events_to_standard = {{ {standard} }}
standard_to_event_sets = {{ {event_sets} }}
upload.graph_url = "{meta}"
upload.requests_per_second = 1000
"""


def payloads(seed: int, size: int, count: int) -> list[bytes]:
    """Requests with `size` sales each: single calls for 1, else batches."""
    events = Sales(seed, bad_share=0.0).events(size * count)
    if size == 1:
        return [load.request("/v1/track", orjson.dumps(event), AUTHORIZATION) for event in events]
    bodies = (orjson.dumps({"batch": events[start : start + size]}) for start in range(0, len(events), size))
    return [load.request("/v1/batch", body, AUTHORIZATION) for body in bodies]


def hashes_of(body: bytes, text: str) -> list[int]:
    """How many personal values each event of a batch has, as the gateway itself maps it."""
    destination = parse(tomllib.loads(text)).destinations["store"]
    mapper = compile_mapper("store", destination)
    now = int(time.time())
    mapped = (mapper.map(event, now) for event in orjson.loads(body)["batch"])
    return [len(SHA256.findall(one[0].body)) if isinstance(one, list) else 0 for one in mapped]


async def _measure(seconds: float, total: int, seed: int, engine: str) -> tuple[list[Row], Delivery]:
    with tempfile.TemporaryDirectory(prefix="gateway-bench-") as name:
        folder = Path(name)
        with (
            Child(folder, "sandbox", ["gateway", "sandbox", "--port", "0", "--validate-share", "0.01"]) as sandbox,
            Child(folder, "read", ["bench.floors", "read"]) as read,
            Child(folder, "decode", ["bench.floors", "decode"]) as decode,
        ):
            text = settings(sandbox.started().addresses["server"], folder, engine)
            (folder / "gateway.toml").write_text(text)
            reads, decodes = (address(floor.started().addresses["server"]) for floor in (read, decode))
            serve = ["gateway", "serve", "--config", str(folder / "gateway.toml")]
            with Child(folder, "gateway", serve) as gateway:
                server, admin = (address(gateway.started().addresses[face]) for face in ("server", "admin"))
                rows = []
                for size in (1, 100):
                    sent = payloads(seed, size, 2000 if size == 1 else 100)
                    rows += await _rows(server, reads, decodes, sent, size, seconds)
                    await _drained(admin)
                sent = payloads(seed + 1, 100, total // 100)
                begun = time.perf_counter()
                run = await load.closed_loop(
                    *server, sent, connections=16, seconds=300, events_per_request=100, most=total // 100
                )
                account = await _drained(admin)
                elapsed = time.perf_counter() - begun
                body = sent[0].partition(b"\r\n\r\n")[2]
                rows.append(
                    Row(
                        f"{total} events in batches of 100, until delivered",
                        total / elapsed,
                        "decode, hash, encode, append, fsync",
                        pipeline(body, hashes_of(body, text), seconds),
                        run.percentile(0.5) * 1e3,
                        run.percentile(0.99) * 1e3,
                    )
                )
                delivery = Delivery(
                    **account,
                    gateway_cpu_seconds=cpu_seconds(gateway.process.pid),
                    gateway_resident_bytes=resident_bytes(gateway.process.pid),
                )
    return rows, delivery


async def _rows(
    gateway: tuple[str, int],
    reads: tuple[str, int],
    decodes: tuple[str, int],
    sent: Sequence[bytes],
    size: int,
    seconds: float,
) -> list[Row]:
    kind = "single events" if size == 1 else f"batches of {size}"
    rates = []
    runs: dict[str, load.Load] = {}
    for name, place in (("gateway", gateway), ("read", reads), ("decode", decodes)):
        run = await load.closed_loop(*place, sent, connections=32, seconds=seconds, events_per_request=size)
        if run.refused:
            raise SystemExit(f"{run.refused} of {run.answered} requests of {size} were refused by {name}")
        runs[name] = run
        rates.append(run.events_per_second)
    ours = runs["gateway"]
    p50, p99 = ours.percentile(0.5) * 1e3, ours.percentile(0.99) * 1e3
    return [
        Row(
            f"{kind}, durable",
            ours.events_per_second,
            "aiohttp handler that reads",
            runs["read"].events_per_second,
            p50,
            p99,
        ),
        Row(
            f"{kind}, durable",
            ours.events_per_second,
            "aiohttp handler that decodes",
            runs["decode"].events_per_second,
            p50,
            p99,
        ),
    ]


async def _drained(admin: tuple[str, int]) -> dict[str, Any]:
    """Wait until nothing waits; the account."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"http://{admin[0]}:{admin[1]}/status") as answer:
                status = await answer.json()
            account = status["account"]
            if account["waiting"] == 0:
                kept = {key: account[key] for key in ("accepted", "delivered", "dead_lettered", "waiting")}
                return {**kept, "events_per_batch": status["events_per_batch"]}
            await asyncio.sleep(0.01)


def run(*, seconds: float = 4.0, total: int = 100_000, seed: int = 1, engine: str = "sqlite") -> dict[str, Any]:
    """Measure; rows and the account as plain values."""
    rows, delivery = uvloop.run(_measure(seconds, total, seed, engine))
    return {"rows": [{**asdict(row), "ratio": row.ratio} for row in rows], "delivery": asdict(delivery)}
