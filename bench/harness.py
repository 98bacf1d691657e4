"""What every scenario runs on: a stand-in for Meta, floors, gateways and the load generator, each a process."""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from bench.generator import Generator
from bench.pacing import Load
from bench.processes import address, cpu_seconds
from bench.requests import Requests
from bench.workload import settings
from gateway.demo.subprocesses import Subprocess
from gateway.model import JsonObject

CONNECTIONS = 32
MANY = 128
"""Connections of a fleet of senders: with fewer, single events wait for their commit more than the gateway works."""
STAND_IN_PRIORITY = 10
LATE = 0.02
"""Seconds."""
DRAIN_SECONDS = 600.0
POLL = 0.05
"""Seconds between two looks at `/status`, which cost the gateway something."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How thorough a run is."""

    name: str
    seconds: float
    """For each measurement."""
    rounds: int
    """Of gateway and floor in turn, of which the median counts."""
    side_rounds: int
    """The same where no bar hangs on it."""
    total: int
    """Events of a run until delivered."""
    backlogs: Sequence[int]
    """Events that wait; the first is what the others are held against."""
    soak: float
    """Seconds."""


QUICK = Profile("quick", 0.8, 3, 1, 50_000, (10_000, 200_000), 300.0)
FULL = Profile("full", 5.0, 5, 3, 200_000, (10_000, 1_000_000, 5_000_000), 300.0)


@dataclass(slots=True)
class Gateway:
    """A running gateway."""

    process: Subprocess
    folder: Path

    @property
    def server(self) -> tuple[str, int]:
        """Where senders go."""
        return address(self.process.addresses["server"])

    @property
    def pid(self) -> int:
        """Of the process, or of the supervisor of several."""
        return self.process.process.pid

    def get(self, path: str) -> bytes:
        """A page of the admin address."""
        with urllib.request.urlopen(self.process.addresses["admin"] + path) as answer:  # noqa: S310 (our own process)
            return bytes(answer.read())

    def status(self) -> JsonObject:
        """What `/status` says. Ends the bench when events were not taken as new ones: then a figure would be false."""
        status: JsonObject = json.loads(self.get("/status"))
        for what in ("deduplicated", "rejected", "ignored"):
            if status[what]:
                raise SystemExit(f"the gateway counts events as {what}: {status[what]}")
        return status

    def loop_lag(self) -> str:
        """How often the loop was late by more than 20 ms, which nothing may keep it."""
        counts = {
            line.split()[0]: float(line.split()[1])
            for line in self.get("/metrics").decode().splitlines()
            if line.startswith("gateway_loop_lag_seconds_")
        }
        looks = counts["gateway_loop_lag_seconds_count"]
        in_time = counts[f'gateway_loop_lag_seconds_bucket{{le="{LATE}"}}']
        return f"the loop was later than {LATE * 1e3:g} ms at {looks - in_time:.0f} of {looks:.0f} looks"

    def drained(self) -> JsonObject:
        """Wait until nothing waits; the status then."""
        deadline = time.monotonic() + DRAIN_SECONDS
        while True:
            status = self.status()
            ledger = status["ledger"]
            if ledger["waiting"] == 0:
                if ledger["accepted"] + ledger["recovered"] != ledger["delivered"]:
                    raise SystemExit(f"not all was delivered: {ledger}")
                return status
            if time.monotonic() > deadline:
                raise SystemExit(f"not drained within {DRAIN_SECONDS:g} s: {ledger}")
            time.sleep(POLL)


@dataclass(slots=True)
class Harness:
    """The processes around the gateways. Use as a context."""

    seed: int
    peer: str | None = None
    """Address of another service."""
    peer_key: str | None = None
    """Its write key."""
    folder: Path = field(default_factory=Path)
    _stack: ExitStack = field(default_factory=ExitStack)
    _children: dict[str, Subprocess] = field(default_factory=dict)
    _generator: Generator | None = None
    _gateways: int = 0

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        try:
            for name, arguments in {
                "meta": ["gateway", "sandbox", "--port", "0", "--validate-share", "0.01"],
                "bare": ["bench.floors", "bare"],
                "read": ["bench.floors", "read"],
                "decode": ["bench.floors", "decode"],
            }.items():
                self._children[name] = self._stack.enter_context(Subprocess(self.folder, name, arguments)).started()
            # Meta's processors are not this machine's: its stand-in may have what is left of them.
            os.setpriority(os.PRIO_PROCESS, self.pid("meta"), STAND_IN_PRIORITY)
            self._generator = self._stack.enter_context(Generator(self.folder))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def generator(self) -> Generator:
        """The load generator."""
        assert self._generator is not None  # noqa: S101 (entered)
        return self._generator

    @property
    def meta(self) -> str:
        """The stand-in's address."""
        return self._children["meta"].addresses["server"]

    def pid(self, name: str) -> int:
        """The process of the stand-in (`meta`) or of a floor."""
        return self._children[name].process.pid

    def floor(self, name: str) -> tuple[str, int]:
        """Where a floor listens: `bare`, `read` or `decode`."""
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
        with Subprocess(folder, "gateway", arguments) as process:
            # Killed at the end: an orderly stop would wait for uploads that are not to succeed here.
            yield Gateway(process.started(), folder)

    def closed(
        self, place: tuple[str, int], sent: Requests, size: int, seconds: float, connections: int = CONNECTIONS
    ) -> Load:
        """As many requests as are answered in so many seconds."""
        return self.generator.run(place, sent, size, seconds=seconds, connections=connections)

    def every(self, place: tuple[str, int], sent: Requests, size: int, *, times: int = 1) -> Load:
        """Each request so many times."""
        return self.generator.run(place, sent, size, seconds=DRAIN_SECONDS, connections=16, most=times * len(sent))

    def evenly(self, place: tuple[str, int], sent: Requests, size: int, seconds: float, rate: float) -> Load:
        """`rate` requests a second, whatever the answers do."""
        return self.generator.run(place, sent, size, seconds=seconds, connections=MANY, rate=rate)


@dataclass(slots=True)
class Shares:
    """Processor time that processes use while something is measured. Use as a context, several times over."""

    pids: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict)
    _begun: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._begun = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for name, pid in self.pids.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + cpu_seconds(pid) - self._begun[name]

    def told(self, events: int) -> str:
        """For a row's note."""
        each = ", ".join(f"{name} {spent / events * 1e6:.0f}" for name, spent in self.seconds.items())
        return f"us of processor an event: {each}"


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """What each measure gave, round after round, so that a slow spell of the machine meets all of them.

    Every other round goes backwards: nobody is always the one that comes first.
    """
    found: list[list[float]] = [[] for _ in measures]
    for number in range(rounds):
        pairs = list(zip(found, measures, strict=True))
        for values, measure in reversed(pairs) if number % 2 else pairs:
            values.append(measure())
    return found
