"""Decides when requests are sent: each after the previous response, or at a constant rate.

The classes use neither sockets nor the system clock, so that tests need neither. At a constant rate, a request that is
due while every connection is busy waits in a queue, and its latency counts from its due time. A server that stalls for
a second therefore delays every request that was due in that second, as it would with real senders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bench.histogram import LatencyHistogram


@dataclass(slots=True)
class LoadResult:
    """The counts and latencies of one load."""

    events_per_request: int
    responses: int = 0
    failures: int = 0
    """Responses with a status other than 2xx."""
    seconds: float = 0.0
    """Time from the first request to the last response."""
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)
    """Latencies of the requests. At a constant rate they count from the due time of a request."""
    cpu_seconds: float = 0.0
    """Processor time of the load generator."""

    @property
    def requests_per_second(self) -> float:
        """Responses per second, failures included."""
        return self.responses / self.seconds if self.seconds else 0.0

    @property
    def events_per_second(self) -> float:
        """Accepted events per second."""
        return (self.responses - self.failures) * self.events_per_request / self.seconds if self.seconds else 0.0

    @property
    def generator_cores(self) -> float:
        """Cores that the load generator used. At 1.0 the generator limits the result, since it has one thread."""
        return self.cpu_seconds / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Return the latency, in seconds, that this share of the requests did not exceed."""
        return self.latencies.quantile(share)


class Connection(Protocol):
    """Carries one request at a time."""

    def send(self, number: int, due: float) -> None:
        """Send the request with this number. `due` is passed to `response_received` with the response."""
        ...


class ClosedLoop:
    """Sends the next request of a connection after its previous response, for a time or up to `max_requests`."""

    def __init__(
        self, load: LoadResult, clock: Callable[[], float], *, seconds: float, max_requests: int | None
    ) -> None:
        self.load = load
        self._clock = clock
        self._seconds = seconds
        self._max_requests = max_requests
        self._started_at = self._ends_at = 0.0
        self._sent = 0
        self._in_flight = 0

    def start(self) -> None:
        """Start the time measurement."""
        self._started_at = self._clock()
        self._ends_at = self._started_at + self._seconds

    def connection_ready(self, connection: Connection) -> None:
        """Send the next request, unless the load has ended."""
        now = self._clock()
        if now < self._ends_at and (self._max_requests is None or self._sent < self._max_requests):
            self._sent += 1
            self._in_flight += 1
            connection.send(self._sent - 1, now)

    def response_received(self, connection: Connection, due: float, *, succeeded: bool) -> bool:
        """Count a response and send the next request. Returns whether the load has ended."""
        now = self._clock()
        load = self.load
        load.responses += 1
        load.failures += not succeeded
        load.latencies.observe(now - due)
        self._in_flight -= 1
        self.connection_ready(connection)
        if self._in_flight:
            return False
        load.seconds = now - self._started_at
        return True


class ConstantRate:
    """Sends `total` requests, one every `1 / rate` seconds, independently of the responses."""

    def __init__(self, load: LoadResult, clock: Callable[[], float], *, rate: float, total: int) -> None:
        self.load = load
        self._clock = clock
        self._rate = rate
        self._total = total
        self._started_at = 0.0
        self._due_count = 0
        self._sent = 0
        self._idle: deque[Connection] = deque()
        self._queue: deque[float] = deque()  # due times of the requests that wait for a connection

    def start(self) -> None:
        """Start the time measurement."""
        self._started_at = self._clock()

    @property
    def all_due(self) -> bool:
        """Whether every request has become due."""
        return self._due_count == self._total

    def due_time(self, number: int) -> float:
        """Return when a request is due. The time is computed from the start, so that errors do not accumulate."""
        return self._started_at + number / self._rate

    def connection_ready(self, connection: Connection) -> None:
        """Add a connection that may be used."""
        self._idle.append(connection)

    def send_due(self) -> None:
        """Send or queue all requests that have become due. Runs every millisecond."""
        now = self._clock()
        while self._due_count < self._total and (due := self.due_time(self._due_count)) <= now:
            self._due_count += 1
            if self._idle:
                self._send(self._idle.popleft(), due)
            else:
                self._queue.append(due)

    def response_received(self, connection: Connection, due: float, *, succeeded: bool) -> bool:
        """Count a response and send the oldest queued request. Returns whether the load has ended."""
        now = self._clock()
        load = self.load
        load.responses += 1
        load.failures += not succeeded
        load.latencies.observe(now - due)
        if self._queue:
            self._send(connection, self._queue.popleft())
        else:
            self._idle.append(connection)
        if load.responses < self._total:
            return False
        load.seconds = now - self._started_at
        return True

    def _send(self, connection: Connection, due: float) -> None:
        self._sent += 1
        connection.send(self._sent - 1, due)
