"""How many calls of a lane may be under way: grows by one while all is well, halves when it is not."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

SLOW_FACTOR = 2.0
SLOW_SECONDS = 0.5
"""A call that takes more than `SLOW` times the usual and this is a sign that Meta has too much to do."""
BASELINE_GROWTH = 1.02
"""What becomes usual after a slow call."""


class AdaptiveConcurrencyLimit:
    """Additive increase, multiplicative decrease, between 1 and the configured most. Waiters are served in order."""

    def __init__(self, maximum: int) -> None:
        # Only the loop's thread touches these.
        self._maximum = maximum
        self._limit = float(maximum)
        self._in_use = 0
        self._baseline: float | None = None  # seconds of a call when all is well: falls at once, rises slowly
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def maximum(self) -> int:
        """What the settings allow."""
        return self._maximum

    @maximum.setter
    def maximum(self, maximum: int) -> None:
        if maximum != self._maximum:
            self._maximum = maximum
            self._limit = float(maximum)
            self._wake()

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return int(self._limit)

    def succeeded(self, seconds: float) -> None:
        """A call passed in this time: one more for every round of them, unless calls take longer than they did."""
        baseline = self._baseline
        self._baseline = seconds if baseline is None else min(seconds, baseline * BASELINE_GROWTH)
        if baseline is not None and seconds > SLOW_FACTOR * baseline + SLOW_SECONDS:
            self._limit = max(1.0, self._limit - 1 / self._limit)
        else:
            self._limit = min(float(self._maximum), self._limit + 1 / self._limit)
        self._wake()

    def failed(self) -> None:
        """A call timed out, was throttled or failed for a while."""
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
                    self._wake()  # it was our turn, and it is somebody else's now
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
