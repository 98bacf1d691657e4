"""The processes that the scenarios use: sandbox, baseline servers, gateways and load generator."""

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
from bench.pacing import LoadResult
from bench.processes import cpu_seconds, host_and_port
from bench.requests import Requests
from bench.workload import gateway_settings
from gateway.demo.subprocesses import Subprocess
from gateway.model import JsonObject

CONNECTIONS = 32
MANY_CONNECTIONS = 128
"""Connections for single events. With fewer, the gateway is idle while all senders wait for a commit."""
SEND_ALL_CONNECTIONS = 16
SANDBOX_NICENESS = 10
MAX_LAG = 0.02
"""Seconds of event loop lag above which a sample is reported as late. One of the buckets of the gateway's metric."""
DRAIN_TIMEOUT = 600.0
"""Seconds."""
POLL_INTERVAL = 0.05
"""Seconds between two requests for `/status`, which cost the gateway some processor time."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How long and how often a run measures."""

    name: str
    seconds: float
    """Length of each measurement."""
    rounds: int
    """Rounds in which gateway and baseline are measured alternately. The median is reported."""
    side_rounds: int
    """Rounds of long measurements and of those without a target."""
    total: int
    """Events that are sent when the time until delivery is measured."""
    backlogs: Sequence[int]
    """Sizes of the backlogs, in events. The first is the baseline of the others."""
    soak: float
    """Length of the scenario `soak`, in seconds."""


QUICK = Profile("quick", 0.8, 3, 1, 50_000, (10_000, 200_000), 300.0)
FULL = Profile("full", 5.0, 5, 3, 200_000, (10_000, 1_000_000, 5_000_000), 300.0)


@dataclass(slots=True)
class Gateway:
    """A running gateway."""

    process: Subprocess
    folder: Path

    @property
    def server(self) -> tuple[str, int]:
        """Host and port for senders."""
        return host_and_port(self.process.addresses["server"])

    @property
    def pid(self) -> int:
        """ID of the process, or of the supervisor if there are several workers."""
        return self.process.process.pid

    def get(self, path: str) -> bytes:
        """Return a resource of the admin server."""
        with urllib.request.urlopen(self.process.addresses["admin"] + path) as response:  # noqa: S310 (our own process)
            return bytes(response.read())

    def status(self) -> JsonObject:
        """Return `/status`. Ends the benchmark if events were not accepted as new, which would falsify the figures."""
        status: JsonObject = json.loads(self.get("/status"))
        for counter in ("deduplicated", "rejected", "ignored"):
            if status[counter]:
                raise SystemExit(
                    f"the gateway reports {counter} events ({status[counter]}); the benchmark needs all to be accepted"
                )
        return status

    def describe_loop_lag(self) -> str:
        """Describe how often the event loop was more than 20 ms late."""
        counts = {
            line.split()[0]: float(line.split()[1])
            for line in self.get("/metrics").decode().splitlines()
            if line.startswith("gateway_loop_lag_seconds_")
        }
        samples = counts["gateway_loop_lag_seconds_count"]
        late = samples - counts[f'gateway_loop_lag_seconds_bucket{{le="{MAX_LAG}"}}']
        return f"event loop more than {MAX_LAG * 1e3:g} ms late in {late:.0f} of {samples:.0f} samples"

    def wait_until_delivered(self) -> JsonObject:
        """Wait until every accepted event is delivered. Returns the status at that time."""
        deadline = time.monotonic() + DRAIN_TIMEOUT
        while True:
            status = self.status()
            ledger = status["ledger"]
            if ledger["waiting"] == 0:
                if ledger["accepted"] + ledger["recovered"] != ledger["delivered"]:
                    raise SystemExit(f"the gateway's backlog is empty, but not all events were delivered: {ledger}")
                return status
            if time.monotonic() > deadline:
                raise SystemExit(f"the gateway did not deliver all events within {DRAIN_TIMEOUT:g} s: {ledger}")
            time.sleep(POLL_INTERVAL)


@dataclass(slots=True)
class Harness:
    """Starts and stops the processes. Use as a context manager."""

    seed: int
    peer: str | None = None
    """Address of another service to compare with."""
    peer_key: str | None = None
    """Write key for the other service."""
    folder: Path = field(default_factory=Path)
    _stack: ExitStack = field(default_factory=ExitStack)
    _children: dict[str, Subprocess] = field(default_factory=dict)
    _generator: Generator | None = None
    _gateways: int = 0

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        try:
            for name, arguments in {
                "sandbox": ["gateway", "sandbox", "--port", "0", "--validate-share", "0.01"],
                "bare": ["bench.baselines", "bare"],
                "read": ["bench.baselines", "read"],
                "decode": ["bench.baselines", "decode"],
            }.items():
                self._children[name] = self._stack.enter_context(Subprocess(self.folder, name, arguments)).started()
            # In production Meta's servers do not use this machine's processors, so the sandbox gets a low priority.
            os.setpriority(os.PRIO_PROCESS, self.pid("sandbox"), SANDBOX_NICENESS)
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
        assert self._generator is not None  # noqa: S101 (set by __enter__)
        return self._generator

    @property
    def sandbox_url(self) -> str:
        """Address of the sandbox, which replaces Meta's Graph API."""
        return self._children["sandbox"].addresses["server"]

    def pid(self, name: str) -> int:
        """Return the process ID of `sandbox` or of a baseline server."""
        return self._children[name].process.pid

    def baseline(self, name: str) -> tuple[str, int]:
        """Return host and port of a baseline server: `bare`, `read` or `decode`."""
        return host_and_port(self._children[name].addresses["server"])

    def new_folder(self) -> Path:
        """Create the folder of a gateway that is not started yet."""
        self._gateways += 1
        folder = self.folder / f"gateway-{self._gateways}"
        (folder / "spool").mkdir(mode=0o700, parents=True)
        return folder

    @contextmanager
    def gateway(self, folder: Path | None = None, **options: Any) -> Iterator[Gateway]:
        """Run a gateway. `options` are those of `gateway_settings`; `meta` defaults to the sandbox."""
        folder = folder or self.new_folder()
        meta = options.pop("meta", self.sandbox_url)
        (folder / "gateway.toml").write_text(gateway_settings(meta, folder, **options))
        arguments = ["gateway", "serve", "--config", str(folder / "gateway.toml")]
        with Subprocess(folder, "gateway", arguments) as process:
            # Killed at the end: an orderly stop would wait for uploads that cannot succeed in some scenarios.
            yield Gateway(process.started(), folder)

    def closed_loop(
        self, address: tuple[str, int], requests: Requests, size: int, seconds: float, connections: int = CONNECTIONS
    ) -> LoadResult:
        """Send the next request of each connection after its previous response, for `seconds`."""
        return self.generator.run(address, requests, size, seconds=seconds, connections=connections)

    def send_all(self, address: tuple[str, int], requests: Requests, size: int, *, times: int = 1) -> LoadResult:
        """Send each request `times` times, as a closed loop."""
        return self.generator.run(
            address,
            requests,
            size,
            seconds=DRAIN_TIMEOUT,
            connections=SEND_ALL_CONNECTIONS,
            max_requests=times * len(requests),
        )

    def constant_rate(
        self, address: tuple[str, int], requests: Requests, size: int, seconds: float, rate: float
    ) -> LoadResult:
        """Send `rate` requests per second, independently of the responses."""
        return self.generator.run(address, requests, size, seconds=seconds, connections=MANY_CONNECTIONS, rate=rate)


@dataclass(slots=True)
class CpuUsage:
    """Processor time of several processes during measurements. Use as a context manager, any number of times."""

    pids: dict[str, int]
    seconds: dict[str, float] = field(default_factory=dict)
    _at_start: dict[str, float] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._at_start = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for name, pid in self.pids.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + cpu_seconds(pid) - self._at_start[name]

    def describe(self, events: int) -> str:
        """Describe the processor time per event, for the note of a row."""
        figures = ", ".join(f"{name} {seconds / events * 1e6:.0f}" for name, seconds in self.seconds.items())
        return f"processor time per event in us: {figures}"


def alternate(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Call each measure once per round, and return the values of each.

    Alternating spreads a slow phase of the machine over all measures. The order is reversed in every other round, so
    that no measure is always the first.
    """
    results: list[list[float]] = [[] for _ in measures]
    for number in range(rounds):
        pairs = list(zip(results, measures, strict=True))
        for values, measure in reversed(pairs) if number % 2 else pairs:
            values.append(measure())
    return results
