"""Limits the calls of a lane that are in flight: the limit grows while calls succeed and is halved when one fails."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

SLOW_FACTOR = 2.0
SLOW_SECONDS = 0.5
"""A call is slow when it takes more than `SLOW_FACTOR * baseline + SLOW_SECONDS`: a sign that Meta is overloaded."""
BASELINE_GROWTH = 1.02
"""Largest factor by which one call raises the baseline."""


class AdaptiveConcurrencyLimit:
    """Additive increase, multiplicative decrease, between 1 and a maximum. Waiting calls enter in order."""

    def __init__(self, maximum: int) -> None:
        # Only the loop's thread changes these.
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
        while self._in_use >= self.limit:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                else:
                    self._wake()  # pass the free place on to the next waiter
                raise
        self._in_use += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in_use -= 1
        self._wake()

    def _wake(self) -> None:
        free = self.limit - self._in_use
        while free > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
