"""How fast calls may follow one another: evenly, slower as Meta's limits come near, not at all while it says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiolimiter import AsyncLimiter

NEAR = 0.75
"""Share of Meta's allowance from which calls become slower."""
SLOWEST = 0.1
"""Share of the configured rate that is kept however near the limit is."""
UNTOLD = 60.0
"""Seconds without a call after a throttle that names no time; doubled while throttles follow each other."""
LONGEST = 3600.0


@dataclass(frozen=True, slots=True)
class PaceStatistics:
    """A snapshot."""

    calls_per_second: float
    """What is allowed at the moment."""
    resumes_in: float
    """Seconds until the next call may be made; 0: at once."""


class Pace:
    """A limiter with capacity 1, since a larger one lets a burst through, and in front of it what adapts."""

    def __init__(self, calls_per_second: float) -> None:
        self._rate = calls_per_second
        self._limiter = AsyncLimiter(1, 1 / calls_per_second)
        # Only the loop's thread touches these.
        self._share = 1.0  # of the configured rate, between SLOWEST and 1
        self._ceiling = 1.0  # what the share may grow to, from the last usage that Meta told
        self._next = 0.0  # loop time before which no call is made while slowed
        self._until = 0.0  # loop time before which Meta wants none at all
        self._untold = UNTOLD

    async def turn(self) -> None:
        """Return when the next call may be made."""
        loop = asyncio.get_running_loop()
        while (wait := self._until - loop.time()) > 0:  # noqa: ASYNC110 (a throttle while asleep moves the end)
            await asyncio.sleep(wait)
        if self._share < 1.0:
            start = max(loop.time(), self._next)
            self._next = start + 1 / (self._rate * self._share)
            await asyncio.sleep(start - loop.time())
        await self._limiter.acquire()

    def answered(self, usage: float | None) -> None:
        """A call passed; `usage` is the share of Meta's allowance that is spent, where it was told."""
        if usage is not None:
            self._ceiling = min(1.0, max(SLOWEST, (1.0 - usage) / (1.0 - NEAR)))
        self._share = min(self._ceiling, self._share * 1.1 + 0.01)
        self._untold = UNTOLD

    def throttled(self, seconds: float | None) -> None:
        """Meta refused a call as one too many."""
        if seconds is None:
            seconds = self._untold
            self._untold = min(LONGEST, self._untold * 2)
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)
        self._share = max(SLOWEST, self._share / 2)

    def statistics(self) -> PaceStatistics:
        """A snapshot."""
        wait = max(0.0, self._until - asyncio.get_running_loop().time())
        return PaceStatistics(self._rate * self._share, wait)
