"""How many calls of a lane may be under way: grows by one while all is well, halves when it is not."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

SLOW = 2.0
SLOW_SECONDS = 0.5
"""A call that takes more than `SLOW` times the usual and this is a sign that Meta has too much to do."""
RISE = 1.02
"""What becomes usual after a slow call."""


class Slots:
    """Additive increase, multiplicative decrease, between 1 and the configured most. Waiters are served in order."""

    def __init__(self, most: int) -> None:
        # Only the loop's thread touches these.
        self._most = most
        self._limit = float(most)
        self._taken = 0
        self._usual: float | None = None  # seconds of a call when all is well: falls at once, rises slowly
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def most(self) -> int:
        """What the settings allow."""
        return self._most

    @most.setter
    def most(self, most: int) -> None:
        if most != self._most:
            self._most = most
            self._limit = float(most)
            self._wake()

    @property
    def limit(self) -> int:
        """Calls that may be under way now."""
        return int(self._limit)

    def went_well(self, seconds: float) -> None:
        """A call passed in this time: one more for every round of them, unless calls take longer than they did."""
        usual = self._usual
        self._usual = seconds if usual is None else min(seconds, usual * RISE)
        if usual is not None and seconds > SLOW * usual + SLOW_SECONDS:
            self._limit = max(1.0, self._limit - 1 / self._limit)
        else:
            self._limit = min(float(self._most), self._limit + 1 / self._limit)
        self._wake()

    def went_badly(self) -> None:
        """A call timed out, was throttled or failed for a while."""
        self._limit = max(1.0, self._limit / 2)

    async def __aenter__(self) -> None:
        while self._taken >= self.limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                else:
                    self._wake()  # it was our turn, and it is somebody else's now
                raise
        self._taken += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._taken -= 1
        self._wake()

    def _wake(self) -> None:
        free = self.limit - self._taken
        while free > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
