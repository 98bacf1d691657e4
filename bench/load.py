"""A load generator on bare sockets: closed loop, or a fixed arrival rate without coordinated omission.

It speaks just enough HTTP/1.1 to post bodies over keep-alive connections and to read answers with a Content-Length, so
that the generator is not what a bench measures.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast


class Latencies:
    """A histogram of seconds whose buckets are 2 % wide, so that memory does not grow with the requests."""

    STEP = math.log(1.02)
    LEAST = 1e-6

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[int(math.log(max(seconds, self.LEAST) / self.LEAST) / self.STEP)] += 1

    def quantile(self, share: float) -> float:
        """Seconds at or below which this share lies: the upper end of its bucket; 0 without any."""
        wanted = share * self.counts.total()
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return self.LEAST * math.exp((bucket + 1) * self.STEP)
        return 0.0


@dataclass(slots=True)
class Load:
    """What a run of requests gave."""

    events_per_request: int
    answered: int = 0
    refused: int = 0
    """Answers other than 200."""
    seconds: float = 0.0
    """From the first request to the last answer."""
    latencies: Latencies = field(default_factory=Latencies)
    """Of requests. At a fixed rate they count from the instant at which the request was due."""

    @property
    def requests_per_second(self) -> float:
        """Answers a second, refusals included."""
        return self.answered / self.seconds

    @property
    def events_per_second(self) -> float:
        """Events that were accepted, a second."""
        return (self.answered - self.refused) * self.events_per_request / self.seconds

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the requests was answered."""
        return self.latencies.quantile(share)


def request(path: str, body: bytes, authorization: str, encoding: str = "") -> bytes:
    """A whole request, ready to be written."""
    encoded = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: {authorization}\r\n{encoded}"
        f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
    )
    return head.encode() + body


class _Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, on_answer: Callable[[_Connection, float, bool], None]) -> None:
        self._on_answer = on_answer
        self._received = bytearray()
        self._due = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, payload: bytes, due: float) -> None:
        """Send a request; `due` is when it should have been sent."""
        self._due = due
        if self.transport is not None:
            self.transport.write(payload)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        start = received.lower().find(b"content-length:", 0, end) + len(b"content-length:")
        length = int(received[start : received.find(b"\r", start)])
        if len(received) < end + 4 + length:
            return
        good = received.startswith(b"HTTP/1.1 200")
        received.clear()
        self._on_answer(self, self._due, good)


async def closed_loop(
    host: str,
    port: int,
    payloads: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    events_per_request: int = 1,
    most: int | None = None,
) -> Load:
    """Every connection sends its next request when the last was answered, for a time or until `most` requests."""
    load = Load(events_per_request)
    finished = asyncio.get_running_loop().create_future()
    begun = time.perf_counter()
    until = begun + seconds
    sent = 0
    under_way = 0

    def next_request(connection: _Connection) -> bool:
        nonlocal sent, under_way
        now = time.perf_counter()
        if now >= until or (most is not None and sent >= most):
            return False
        connection.send(payloads[sent % len(payloads)], now)
        sent += 1
        under_way += 1
        return True

    def answered(connection: _Connection, due: float, good: bool) -> None:
        nonlocal under_way
        under_way -= 1
        now = time.perf_counter()
        load.answered += 1
        load.refused += not good
        load.latencies.observe(now - due)
        if not next_request(connection) and not under_way and not finished.done():
            load.seconds = now - begun
            finished.set_result(None)

    open_connections = await _connect(host, port, connections, answered)
    begun = time.perf_counter()
    until = begun + seconds
    for connection in open_connections:
        next_request(connection)
    async with asyncio.timeout(seconds + 60):
        await finished
    _close(open_connections)
    return load


async def fixed_rate(
    host: str,
    port: int,
    payloads: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    rate: float,
    events_per_request: int = 1,
) -> Load:
    """Requests fall due at an even rate, whatever the answers do.

    One that finds no free connection waits, and its latency counts from when it was due.
    """
    load = Load(events_per_request)
    finished = asyncio.get_running_loop().create_future()
    total = int(rate * seconds)
    free: deque[_Connection] = deque()
    waiting: deque[float] = deque()
    sent = 0

    def send(connection: _Connection, due: float) -> None:
        nonlocal sent
        connection.send(payloads[sent % len(payloads)], due)
        sent += 1

    def answered(connection: _Connection, due: float, good: bool) -> None:
        load.answered += 1
        load.refused += not good
        load.latencies.observe(time.perf_counter() - due)
        if load.answered == total:
            finished.set_result(None)
        if waiting:
            send(connection, waiting.popleft())
        else:
            free.append(connection)

    open_connections = await _connect(host, port, connections, answered)
    free.extend(open_connections)
    begun = time.perf_counter()
    fallen_due = 0
    while fallen_due < total:
        now = time.perf_counter()
        while fallen_due < total and (due := begun + fallen_due / rate) <= now:
            fallen_due += 1
            if free:
                send(free.popleft(), due)
            else:
                waiting.append(due)
        await asyncio.sleep(0.0005)
    async with asyncio.timeout(60):
        await finished
    load.seconds = time.perf_counter() - begun
    _close(open_connections)
    return load


async def _connect(
    host: str, port: int, connections: int, on_answer: Callable[[_Connection, float, bool], None]
) -> list[_Connection]:
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(connections):
        _, connection = await loop.create_connection(lambda: _Connection(on_answer), host, port)
        made.append(connection)
    return made


def _close(connections: Sequence[_Connection]) -> None:
    for connection in connections:
        if connection.transport is not None:
            connection.transport.close()
