"""When requests are sent: as soon as the last was answered, or at an even rate whatever the answers do.

Neither knows sockets or clocks, so that the arithmetic can be tried without either. At an even rate a request that
finds every connection busy waits in line, and its latency counts from the instant at which it was due: a server that
stalls for a second makes all the requests late that fell due in that second, as it would with real senders.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from bench.histogram import Latencies


@dataclass(slots=True)
class Load:
    """What a run of requests gave."""

    events_per_request: int
    answered: int = 0
    refused: int = 0
    """Answers other than 2xx."""
    seconds: float = 0.0
    """From the first request to the last answer."""
    latencies: Latencies = field(default_factory=Latencies)
    """Of requests. At an even rate they count from when the request was due."""
    cpu_seconds: float = 0.0
    """Processor time of the load generator."""

    @property
    def requests_per_second(self) -> float:
        """Answers a second, refusals included."""
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def events_per_second(self) -> float:
        """Events that were accepted, a second."""
        return (self.answered - self.refused) * self.events_per_request / self.seconds if self.seconds else 0.0

    @property
    def generator_share(self) -> float:
        """Of one core, that the load generator used: at 1 it would be what was measured."""
        return self.cpu_seconds / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the requests was answered."""
        return self.latencies.quantile(share)


class Connection(Protocol):
    """Carries one request at a time."""

    def send(self, number: int, due: float) -> None:
        """Send the request of this number; `due` comes back with the answer."""
        ...


class ClosedLoop:
    """Every connection sends its next request when the last was answered, for a time or until `most` requests."""

    def __init__(self, load: Load, clock: Callable[[], float], *, seconds: float, most: int | None) -> None:
        self.load = load
        self._clock = clock
        self._seconds = seconds
        self._most = most
        self._begun = self._until = 0.0
        self._sent = 0
        self._in_flight = 0

    def begin(self) -> None:
        """The clock runs from here."""
        self._begun = self._clock()
        self._until = self._begun + self._seconds

    def start(self, connection: Connection) -> None:
        """Send the next request, unless the time is over."""
        now = self._clock()
        if now < self._until and (self._most is None or self._sent < self._most):
            self._sent += 1
            self._in_flight += 1
            connection.send(self._sent - 1, now)

    def answered(self, connection: Connection, due: float, *, good: bool) -> bool:
        """Count an answer and go on; whether all is over."""
        now = self._clock()
        load = self.load
        load.answered += 1
        load.refused += not good
        load.latencies.observe(now - due)
        self._in_flight -= 1
        self.start(connection)
        if self._in_flight:
            return False
        load.seconds = now - self._begun
        return True


class EvenRate:
    """Requests fall due one after the other, `1 / rate` seconds apart, until there were `total`."""

    def __init__(self, load: Load, clock: Callable[[], float], *, rate: float, total: int) -> None:
        self.load = load
        self._clock = clock
        self._rate = rate
        self._total = total
        self._begun = 0.0
        self._fallen_due = 0
        self._sent = 0
        self._free: deque[Connection] = deque()
        self._line: deque[float] = deque()  # when each that waits was due

    def begin(self) -> None:
        """The clock runs from here."""
        self._begun = self._clock()

    @property
    def all_due(self) -> bool:
        """Whether none falls due any more."""
        return self._fallen_due == self._total

    def due(self, number: int) -> float:
        """When the request of this number is due. Counted from the start, so that no error adds up."""
        return self._begun + number / self._rate

    def start(self, connection: Connection) -> None:
        """A connection that may be used."""
        self._free.append(connection)

    def tick(self) -> None:
        """Send what has fallen due by now, or put it in line. Runs every millisecond."""
        now = self._clock()
        while self._fallen_due < self._total and (due := self.due(self._fallen_due)) <= now:
            self._fallen_due += 1
            if self._free:
                self._send(self._free.popleft(), due)
            else:
                self._line.append(due)

    def answered(self, connection: Connection, due: float, *, good: bool) -> bool:
        """Count an answer and send what waits longest; whether all is over."""
        now = self._clock()
        load = self.load
        load.answered += 1
        load.refused += not good
        load.latencies.observe(now - due)
        if self._line:
            self._send(connection, self._line.popleft())
        else:
            self._free.append(connection)
        if load.answered < self._total:
            return False
        load.seconds = now - self._begun
        return True

    def _send(self, connection: Connection, due: float) -> None:
        self._sent += 1
        connection.send(self._sent - 1, due)
