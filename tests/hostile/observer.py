"""An honest sender, and an observer that judges a gateway from outside."""

from __future__ import annotations

import http.client
import json
import threading
import time
import urllib.request
from base64 import b64encode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from gateway.demo.subprocesses import Subprocess
from gateway.model import JsonObject
from tests.hostile.requests import MARKER, batch, sale


@dataclass
class HonestSender:
    """Sends batches of sales one after the other, on one connection, and measures each request."""

    url: str
    write_key: str
    first: int = 0
    """Number of the first sale. Each number is sent once."""
    events: int = 10
    pause: float = 0.02
    latencies: list[float] = field(default_factory=list)
    """Seconds of each request, in order."""
    statuses: Counter[int] = field(default_factory=Counter)
    """Responses by status; 0: the connection was closed."""
    accepted: int = 0
    """Events in requests with status 200."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def p99(self) -> float:
        """99th percentile of the latencies, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    def _run(self) -> None:
        address = urlsplit(self.url)
        headers = {"Authorization": "Basic " + b64encode(f"{self.write_key}:".encode()).decode()}
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        number = self.first
        while not self._stop.is_set():
            body = batch(*(sale(each) for each in range(number, number + self.events)))
            number += self.events
            started_at = time.monotonic()
            try:
                connection.request("POST", "/v1/batch", body, headers)
                response = connection.getresponse()
                status, content = response.status, json.loads(response.read())
            except (OSError, http.client.HTTPException):
                status, content = 0, {}
                connection.close()
            self.latencies.append(time.monotonic() - started_at)
            self.statuses[status] += 1
            if status == 200:
                self.accepted += content["accepted"]
            time.sleep(self.pause)
        connection.close()


class Observer:
    """Judges a running gateway by its process, its admin port and its log."""

    def __init__(self, process: Subprocess, secrets: Sequence[bytes] = (MARKER,)) -> None:
        """`secrets`: content that may be nowhere."""
        self._pid = process.process.pid
        self._admin = process.addresses["admin"]
        self._log = process.log
        self._secrets = secrets
        self.base = self.resident()
        """Bytes of memory at the beginning."""
        self.before = self.base
        """Bytes of memory when `reset` was called."""
        self.late_before = {0.1: 0, 0.25: 0}
        """How often the event loop had been later than this then."""
        self.reset()

    def resident(self) -> int:
        """Bytes of resident memory."""
        return self._memory("VmRSS")

    def peak(self) -> int:
        """Largest resident memory since `reset`."""
        return self._memory("VmHWM")

    def reset(self) -> None:
        """Forget the largest memory and the delays of the event loop so far."""
        Path(f"/proc/{self._pid}/clear_refs").write_text("5")
        self.before = self.resident()
        self.late_before = {seconds: self.late(seconds) for seconds in self.late_before}

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self._pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        raise AssertionError("the gateway has ended")

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self._pid}/fd").iterdir())

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self._admin}/metrics", timeout=20) as response:
            return bytes(response.read()).decode()

    def metric(self, beginning: str) -> float:
        """The sum of the series whose lines begin so."""
        return _sum(self.metrics(), beginning)

    def late(self, seconds: float) -> int:
        """How often the event loop was later than this, which has to be a bound of its histogram."""
        metrics = self.metrics()
        in_time = _sum(metrics, f'gateway_loop_lag_seconds_bucket{{le="{seconds}"}}')
        return int(_sum(metrics, "gateway_loop_lag_seconds_count") - in_time)

    def status(self) -> JsonObject:
        with urllib.request.urlopen(f"{self._admin}/status", timeout=20) as response:
            status: JsonObject = json.load(response)
            return status

    def log_faults(self) -> list[str]:
        """Lines of the log that must not be there: errors, tracebacks, content."""
        faulty = ("Traceback", '"level":"error"', '"level":"critical"', '"exception"')
        return [
            line.decode(errors="replace")
            for line in self._log.read_bytes().splitlines()
            if any(word.encode() in line for word in faulty) or any(secret in line for secret in self._secrets)
        ]


def _sum(metrics: str, beginning: str) -> float:
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(beginning))
