"""Requests over bare sockets: closed loop, or an even rate without coordinated omission.

It speaks just enough HTTP/1.1 to post requests over keep-alive connections and to read answers with a Content-Length,
so that the generator is not what a bench measures.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import cast

from bench.pacing import ClosedLoop, EvenRate, Load
from bench.requests import Requests

PATIENCE = 60.0
"""Seconds after the end of a load within which the last answer has to come."""
TICK = 0.001
"""Seconds. A shorter pause is none on uvloop, and a generator that spins takes a core from what it measures."""
HEAD_END = b"\r\n\r\n"


class RefusedError(Exception):
    """Requests that were to be taken were not."""


class _Wire(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._received = bytearray()
        self._due = 0.0
        self._in_flight = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, number: int, due: float) -> None:
        """Send a request; `due` is when it should have been sent."""
        self._due = due
        self._in_flight = True
        if self.transport is not None:
            self.transport.write(self._run.request(number))

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        end = received.find(HEAD_END)
        if end < 0:
            return
        start = received.lower().find(b"content-length:", 0, end)
        if start >= 0:
            start += len(b"content-length:")
            length = int(received[start : received.find(b"\r", start)])
        elif received.startswith(b"HTTP/1.1 204"):
            length = 0
        else:
            self._run.fail("an answer has no Content-Length, which this generator needs")
            return
        if len(received) < end + len(HEAD_END) + length:
            return
        good = received.startswith(b"HTTP/1.1 2")
        if not good and not self._run.first_refusal:
            self._run.first_refusal = bytes(received[: received.find(b"\r")]).decode("latin-1")
        received.clear()
        self._in_flight = False
        self._run.answered(self, self._due, good)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._in_flight:
            self._run.fail(f"the server closed a connection with a request under way ({exc or 'orderly'})")


class _Run:
    """A load under way: what the wires share."""

    def __init__(self, pacing: ClosedLoop | EvenRate, requests: Requests, sendings: Iterator[int]) -> None:
        self._pacing = pacing
        self._requests = requests
        self._sendings = sendings
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first_refusal = ""

    def request(self, number: int) -> bytes:
        """The bytes of a request."""
        return self._requests.nth(number, next(self._sendings))

    def answered(self, wire: _Wire, due: float, good: bool) -> None:
        """An answer came."""
        if self._pacing.answered(wire, due, good=good) and not self.finished.done():
            self.finished.set_result(None)

    async def connect(self, host: str, port: int, connections: int) -> list[_Wire]:
        """So many connections."""
        loop = asyncio.get_running_loop()
        wires = []
        for _ in range(connections):
            _, wire = await loop.create_connection(lambda: _Wire(self), host, port)
            wires.append(wire)
        return wires

    async def ended(self, seconds: float, wires: Sequence[_Wire]) -> Load:
        """Wait for the last answer."""
        try:
            async with asyncio.timeout(seconds + PATIENCE):
                await self.finished
        except TimeoutError:
            load = self._pacing.load
            raise TimeoutError(f"no last answer within {PATIENCE:g} s; {load.answered} came") from None
        finally:
            for wire in wires:
                if wire.transport is not None:
                    wire.transport.close()
        load = self._pacing.load
        if load.refused:
            raise RefusedError(f"{load.refused} of {load.answered} requests were refused, first: {self.first_refusal}")
        return load

    def fail(self, why: str) -> None:
        """The load cannot go on."""
        if not self.finished.done():
            self.finished.set_exception(ConnectionError(why))


async def closed_loop(
    host: str,
    port: int,
    requests: Requests,
    *,
    connections: int,
    seconds: float,
    events_per_request: int = 1,
    most: int | None = None,
    sendings: Iterator[int] | None = None,
) -> Load:
    """As many requests as are answered, for a time or until `most` are sent; `sendings` number them for good.

    Requests that are not stamped are sent once each at most. Raises `ConnectionError` and `TimeoutError`.
    """
    if not requests.stamps:
        most = min(most or len(requests), len(requests))
    pacing = ClosedLoop(Load(events_per_request), time.perf_counter, seconds=seconds, most=most)
    run = _Run(pacing, requests, sendings or itertools.count())
    wires = await run.connect(host, port, connections)
    pacing.begin()
    for wire in wires:
        pacing.start(wire)
    return await run.ended(seconds, wires)


async def fixed_rate(
    host: str,
    port: int,
    requests: Requests,
    *,
    connections: int,
    seconds: float,
    rate: float,
    events_per_request: int = 1,
    sendings: Iterator[int] | None = None,
) -> Load:
    """`rate` requests a second, whatever the answers do; latencies count from when each was due."""
    total = max(1, int(rate * seconds))
    pacing = EvenRate(Load(events_per_request), time.perf_counter, rate=rate, total=total)
    run = _Run(pacing, requests, sendings or itertools.count())
    wires = await run.connect(host, port, connections)
    for wire in wires:
        pacing.start(wire)
    pacing.begin()
    while not pacing.all_due and not run.finished.done():
        pacing.tick()
        await asyncio.sleep(TICK)
    return await run.ended(0.0, wires)
