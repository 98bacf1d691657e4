"""Sends requests over sockets, as a closed loop or at a constant rate without coordinated omission.

It implements only the part of HTTP/1.1 that is needed to post requests over keep-alive connections and to read
responses with a Content-Length. A complete client would take more processor time than the measured server.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import cast

from bench.pacing import ClosedLoop, ConstantRate, LoadResult
from bench.requests import Requests

LAST_RESPONSE_TIMEOUT = 60.0
"""Seconds after the end of a load within which the last response has to arrive."""
TICK = 0.001
"""Seconds between two checks for due requests. uvloop does not wait for less than this, and a generator that polls
without waiting takes processor time from the measured server."""
HEAD_END = b"\r\n\r\n"


class RequestsFailedError(Exception):
    """The server answered requests with a status other than 2xx."""


class _HttpConnection(asyncio.Protocol):
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, run: _LoadRun) -> None:
        self._run = run
        self._received = bytearray()
        self._due = 0.0
        self._in_flight = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def send(self, number: int, due: float) -> None:
        """Send a request. `due` is the time at which it should have been sent."""
        self._due = due
        self._in_flight = True
        if self.transport is not None:
            self.transport.write(self._run.next_payload(number))

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
            self._run.fail("a response has no Content-Length, which this load generator requires")
            return
        if len(received) < end + len(HEAD_END) + length:
            return
        succeeded = received.startswith(b"HTTP/1.1 2")
        if not succeeded and not self._run.first_failure:
            self._run.first_failure = bytes(received[: received.find(b"\r")]).decode("latin-1")
        received.clear()
        self._in_flight = False
        self._run.response_received(self, self._due, succeeded)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._in_flight:
            self._run.fail(f"the server closed a connection with a request in flight ({exc or 'end of stream'})")


class _LoadRun:
    """The state of one load, shared by its connections."""

    def __init__(self, pacing: ClosedLoop | ConstantRate, requests: Requests, send_numbers: Iterator[int]) -> None:
        self._pacing = pacing
        self._requests = requests
        self._send_numbers = send_numbers
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first_failure = ""

    def next_payload(self, number: int) -> bytes:
        """Return the bytes of a request, with new message IDs."""
        return self._requests.payload(number, next(self._send_numbers))

    def response_received(self, connection: _HttpConnection, due: float, succeeded: bool) -> None:
        """Count a complete response."""
        if self._pacing.response_received(connection, due, succeeded=succeeded) and not self.finished.done():
            self.finished.set_result(None)

    async def connect(self, host: str, port: int, count: int) -> list[_HttpConnection]:
        """Open connections."""
        loop = asyncio.get_running_loop()
        connections = []
        for _ in range(count):
            _, connection = await loop.create_connection(lambda: _HttpConnection(self), host, port)
            connections.append(connection)
        return connections

    async def wait(self, seconds: float, connections: Sequence[_HttpConnection]) -> LoadResult:
        """Wait for the last response, which is expected after `seconds`, and close the connections."""
        try:
            async with asyncio.timeout(seconds + LAST_RESPONSE_TIMEOUT):
                await self.finished
        except TimeoutError:
            received = self._pacing.load.responses
            raise TimeoutError(
                f"a response is missing {LAST_RESPONSE_TIMEOUT:g} s after the end of the load; {received} were received"
            ) from None
        finally:
            for connection in connections:
                if connection.transport is not None:
                    connection.transport.close()
        load = self._pacing.load
        if load.failures:
            raise RequestsFailedError(
                f"{load.failures} of {load.responses} requests failed; the first response was: {self.first_failure}"
            )
        return load

    def fail(self, reason: str) -> None:
        """End the load with an error."""
        if not self.finished.done():
            self.finished.set_exception(ConnectionError(reason))


async def closed_loop(
    host: str,
    port: int,
    requests: Requests,
    *,
    connections: int,
    seconds: float,
    events_per_request: int = 1,
    max_requests: int | None = None,
    send_numbers: Iterator[int] | None = None,
) -> LoadResult:
    """Send the next request of each connection after its previous response, for `seconds` or up to `max_requests`.

    `send_numbers` yields the numbers for the message IDs. Requests whose IDs cannot be renewed are sent at most once.
    Raises `ConnectionError`, `TimeoutError` and `RequestsFailedError`.
    """
    if not requests.renews_ids:
        max_requests = min(max_requests or len(requests), len(requests))
    pacing = ClosedLoop(LoadResult(events_per_request), time.perf_counter, seconds=seconds, max_requests=max_requests)
    run = _LoadRun(pacing, requests, send_numbers or itertools.count())
    opened = await run.connect(host, port, connections)
    pacing.start()
    for connection in opened:
        pacing.connection_ready(connection)
    return await run.wait(seconds, opened)


async def constant_rate(
    host: str,
    port: int,
    requests: Requests,
    *,
    connections: int,
    seconds: float,
    rate: float,
    events_per_request: int = 1,
    send_numbers: Iterator[int] | None = None,
) -> LoadResult:
    """Send `rate` requests per second, independently of the responses. Latencies count from the due times.

    Raises `ConnectionError`, `TimeoutError` and `RequestsFailedError`.
    """
    total = max(1, int(rate * seconds))
    pacing = ConstantRate(LoadResult(events_per_request), time.perf_counter, rate=rate, total=total)
    run = _LoadRun(pacing, requests, send_numbers or itertools.count())
    opened = await run.connect(host, port, connections)
    for connection in opened:
        pacing.connection_ready(connection)
    pacing.start()
    while not pacing.all_due and not run.finished.done():
        pacing.send_due()
        await asyncio.sleep(TICK)
    return await run.wait(0.0, opened)
