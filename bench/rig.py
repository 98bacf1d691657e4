"""What every scenario runs on: a stand-in for Meta, two floors and gateways, each in a process of its own."""

from __future__ import annotations

import asyncio
import base64
import re
import statistics
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson
import uvloop

from bench import load
from bench.processes import address
from gateway.config import parse
from gateway.demo.children import Child
from gateway.demo.sales import EVENT_SETS, EVENTS_TO_STANDARD, Sales
from gateway.mapping import compile_mapper
from gateway.model import JsonObject

WRITE_KEY = "bench"
AUTHORIZATION = "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
SHA256 = re.compile(rb'"[0-9a-f]{64}"')
REFUSING = "http://127.0.0.1:9"
"""Where nobody listens: what waits stays."""
CONNECTIONS = 32


@dataclass(frozen=True, slots=True)
class Form:
    """How thorough a run is."""

    name: str
    seconds: float
    """For each measurement."""
    rounds: int
    """Of gateway and floor in turn, of which the median counts."""
    few: int
    """Rounds where each takes a start of the gateway or many seconds."""
    total: int
    """Events of a run until delivered."""
    backlogs: Sequence[int]
    """Events that wait; the first is what the others are held against."""
    soak: float
    """Seconds."""


QUICK = Form("quick", 1.0, 3, 1, 15_000, (10_000, 500_000), 20.0)
FULL = Form("full", 5.0, 5, 3, 200_000, (10_000, 1_000_000, 5_000_000), 300.0)


@dataclass(slots=True)
class Gateway:
    """A running gateway."""

    child: Child
    folder: Path

    @property
    def server(self) -> tuple[str, int]:
        """Where senders go."""
        return address(self.child.addresses["server"])

    @property
    def pid(self) -> int:
        """Of the process, or of the supervisor of several."""
        return self.child.process.pid

    async def status(self) -> JsonObject:
        """What `/status` says."""
        async with aiohttp.ClientSession() as session, session.get(self.child.addresses["admin"] + "/status") as answer:
            return dict(await answer.json())

    async def drained(self) -> JsonObject:
        """Wait until nothing waits; the status then."""
        while True:
            status = await self.status()
            if status["account"]["waiting"] == 0:
                return status
            await asyncio.sleep(0.1)


@dataclass(slots=True)
class Rig:
    """The processes around the gateways. Use as a context."""

    seed: int
    folder: Path = field(default_factory=Path)
    _stack: ExitStack = field(default_factory=ExitStack)
    _children: dict[str, Child] = field(default_factory=dict)
    _gateways: int = 0

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        for name, arguments in {
            "meta": ["gateway", "sandbox", "--port", "0", "--validate-share", "0.01"],
            "read": ["bench.floors", "read"],
            "decode": ["bench.floors", "decode"],
        }.items():
            self._children[name] = self._stack.enter_context(Child(self.folder, name, arguments)).started()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def meta(self) -> str:
        """The stand-in's address."""
        return self._children["meta"].addresses["server"]

    @property
    def meta_pid(self) -> int:
        """The stand-in's process."""
        return self._children["meta"].process.pid

    def floor(self, name: str) -> tuple[str, int]:
        """Where the handler listens that only reads, or also decodes."""
        return address(self._children[name].addresses["server"])

    def folder_of_next(self) -> Path:
        """A folder for a gateway that is not started yet."""
        self._gateways += 1
        folder = self.folder / f"gateway-{self._gateways}"
        (folder / "spool").mkdir(mode=0o700, parents=True)
        return folder

    @contextmanager
    def gateway(self, folder: Path | None = None, **options: Any) -> Iterator[Gateway]:
        """A gateway with the options of `settings`."""
        folder = folder or self.folder_of_next()
        (folder / "gateway.toml").write_text(settings(options.pop("meta", self.meta), folder, **options))
        arguments = ["gateway", "serve", "--config", str(folder / "gateway.toml")]
        with Child(folder, "gateway", arguments) as child:
            yield Gateway(child.started(), folder)

    def run(self, work: Any) -> Any:
        """Run a coroutine of the load generator, which has this process to itself."""
        return uvloop.run(work)


def settings(
    meta: str,
    folder: Path,
    *,
    engine: str = "sqlite",
    workers: int = 1,
    lanes: int = 1,
    max_age: float = 5.0,
) -> str:
    """A gateway that uploads as fast as the stand-in answers. `lanes`: event sets, each with a source of its own."""
    standard = ", ".join(f'"{name}" = ["{wanted}"]' for name, wanted in EVENTS_TO_STANDARD.items())
    several = lanes > 1
    parts = [
        f"""
[server]
port = 0
drain_delay = 0
workers = {workers}
[admin]
port = 0
[spool]
engine = "{engine}"
path = "{folder / "spool"}"
[repeats]
events = 0
"""
    ]
    for number in range(lanes):
        mark = f"-{number}" if several else ""
        sets = {name: f"{int(value) + number}" for name, value in EVENT_SETS.items()} if several else EVENT_SETS
        event_sets = ", ".join(f'{name} = ["{value}"]' for name, value in sets.items())
        parts.append(
            f"""
[sources.bench{mark}]
write_key = "{WRITE_KEY}{mark}"
destinations = ["store{mark}"]
[destinations.store{mark}]
api = "conversions"
access_token = "bench"
events_to_standard = {{ {standard} }}
standard_to_event_sets = {{ {event_sets} }}
batch.max_age = {max_age}
upload.graph_url = "{meta}"
upload.requests_per_second = 1000
"""
        )
    return "".join(parts)


def bodies(seed: int, size: int, count: int, *, padding: int = 0) -> list[bytes]:
    """Requests' bodies with `size` sales each: single calls for 1, else batches."""
    events = Sales(seed, bad_share=0.0).events(size * count)
    if padding:
        for event in events:
            event["properties"] = {**event["properties"], "note": "x" * padding}
    if size == 1:
        return [orjson.dumps(event) for event in events]
    return [orjson.dumps({"batch": events[start : start + size]}) for start in range(0, len(events), size)]


def requests(given: Sequence[bytes], size: int, *, mark: str = "", encoding: str = "") -> list[bytes]:
    """Whole requests of bodies."""
    key = base64.b64encode(f"{WRITE_KEY}{mark}:".encode()).decode()
    path = "/v1/track" if size == 1 else "/v1/batch"
    return [load.request(path, body, f"Basic {key}", encoding) for body in given]


def hashes_of(body: bytes, folder: Path) -> list[int]:
    """How many personal values each event of a batch has, as the gateway itself maps it."""
    destination = parse(tomllib.loads(settings(REFUSING, folder))).destinations["store"]
    mapper = compile_mapper("store", destination)
    now = int(time.time())
    mapped = (mapper.map(event, now) for event in orjson.loads(body)["batch"])
    return [len(SHA256.findall(one[0].body)) if isinstance(one, list) else 0 for one in mapped]


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure, taken in turn, so that a slow spell of the machine meets all of them."""
    found: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(found, measures, strict=True):
            values.append(measure())
    return [statistics.median(values) for values in found]


async def rate(place: tuple[str, int], sent: Sequence[bytes], size: int, seconds: float) -> load.Load:
    """A closed loop for so many seconds, of which nothing may be refused."""
    run = await load.closed_loop(*place, sent, connections=CONNECTIONS, seconds=seconds, events_per_request=size)
    if run.refused:
        raise SystemExit(f"{run.refused} of {run.answered} requests were refused")
    return run
