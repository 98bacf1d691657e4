"""Limits the calls that are in flight: those of a lane, by how they end, and those of a destination, by a maximum."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType

SLOW_FACTOR = 2.0
SLOW_SECONDS = 0.5
"""A call is slow when it takes more than `SLOW_FACTOR * baseline + SLOW_SECONDS`: a sign that Meta is overloaded."""
BASELINE_GROWTH = 1.02
"""Largest factor by which one call raises the baseline."""


class AdaptiveConcurrencyLimit:
    """Limits the calls of a lane: it grows by one while calls succeed, and is halved when one fails.

    It stays between 1 and a maximum. Waiting calls enter in order.
    """

    def __init__(self, maximum: int) -> None:
        # Only the loop's thread changes these. A slot is free only if no call waits.
        self._maximum = maximum
        self._limit = float(maximum)
        self._in_use = 0
        self._baseline: float | None = None  # seconds of a usual call: falls at once, rises slowly
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def maximum(self) -> int:
        """The highest limit, `upload.concurrency`."""
        return self._maximum

    @maximum.setter
    def maximum(self, maximum: int) -> None:
        if maximum != self._maximum:
            self._maximum = maximum
            self._limit = float(maximum)
            self._wake()

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return int(self._limit)

    def succeeded(self, seconds: float) -> None:
        """Record a call that succeeded. `limit` such calls raise the limit by one, unless they are slow."""
        baseline = self._baseline
        self._baseline = seconds if baseline is None else min(seconds, baseline * BASELINE_GROWTH)
        if baseline is not None and seconds > SLOW_FACTOR * baseline + SLOW_SECONDS:
            self._limit = max(1.0, self._limit - 1 / self._limit)
        else:
            self._limit = min(float(self._maximum), self._limit + 1 / self._limit)
        self._wake()

    def failed(self) -> None:
        """Record a call that timed out, was throttled or failed temporarily."""
        self._limit = max(1.0, self._limit / 2)

    async def __aenter__(self) -> None:
        if self._in_use < self.limit:
            self._in_use += 1
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._release()  # it was given a slot before it was cancelled
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        self._in_use -= 1
        self._wake()

    def _wake(self) -> None:
        """Give free slots to the calls that have waited longest. They hold them from now on, not from when they run."""
        while self._in_use < self.limit and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._in_use += 1


class FairCallLimit:
    """Limits the calls of a destination, and shares the slots fairly among its event sets.

    A free slot goes to the waiting event set with the fewest calls in flight, of several such to the one that got none
    for the longest time; within an event set, calls enter in order. With more than three slots, no event set holds more
    than three quarters of them, so calls that all time out leave slots for the other event sets.
    """

    def __init__(self, maximum: int) -> None:
        # Only the loop's thread changes these. A slot is free only if no waiting event set may hold another one.
        self._maximum = maximum
        self._in_use: Counter[str] = Counter()  # slots by event set, without zeros
        # By event set, in the order in which they last got a slot; without empty ones.
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def maximum(self) -> int:
        """The number of slots, `upload.max_connections`."""
        return self._maximum

    @maximum.setter
    def maximum(self, maximum: int) -> None:
        self._maximum = maximum
        self._wake()

    @asynccontextmanager
    async def slot(self, event_set: str) -> AsyncIterator[None]:
        """Wait for a slot, and hold it inside the context."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(event_set, deque()).append(waiter)
        self._wake()
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self._release(event_set)  # it was given a slot before it was cancelled
            raise
        try:
            yield
        finally:
            self._release(event_set)

    def _release(self, event_set: str) -> None:
        self._in_use[event_set] -= 1
        if not self._in_use[event_set]:
            del self._in_use[event_set]
        self._wake()

    def _wake(self) -> None:
        """Give the free slots to waiting calls."""
        most = self._maximum * 3 // 4 if self._maximum > 3 else self._maximum
        while self._waiters and self._in_use.total() < self._maximum:
            event_set = min(self._waiters, key=self._in_use.__getitem__)
            if self._in_use[event_set] >= most:
                return
            waiters = self._waiters.pop(event_set)
            waiter = waiters.popleft()
            if waiters:
                self._waiters[event_set] = waiters
            if not waiter.done():
                waiter.set_result(None)
                self._in_use[event_set] += 1
