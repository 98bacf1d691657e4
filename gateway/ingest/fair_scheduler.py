"""Limits how many events are decoded and mapped in one iteration of the event loop, so that other tasks run in time.

Without the limit, all requests that are ready are processed in one iteration: thirty requests of a hundred events each
would delay uploads, commits and timers by a tenth of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque


class FairScheduler:
    """Grants turns in the order of the requests, for about `limit` events in each iteration of the loop.

    One turn may exceed the limit, so that a turn larger than `limit` is granted too.
    """

    __slots__ = ("_limit", "_loop", "_remaining", "_waiting")

    def __init__(self, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        # Only the loop's thread touches these. While `_remaining` is less than `_limit`, a call of `_next_round` is
        # scheduled. While `_remaining` is above 0, `_waiting` is empty.
        self._remaining = limit
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    def acquire(self, events: int) -> asyncio.Future[None] | None:
        """Request a turn for `events` (at least 1). Runs once a request.

        Returns None when the turn is granted at once, otherwise a future that is done when it is granted.
        """
        if self._remaining > 0:
            if self._remaining == self._limit:
                self._loop.call_soon(self._next_round)
            self._remaining -= events
            return None
        turn = self._loop.create_future()
        self._waiting.append((turn, events))
        return turn

    def _next_round(self) -> None:
        self._remaining = self._limit
        while self._waiting and self._remaining > 0:
            turn, events = self._waiting.popleft()
            if not turn.done():  # done: the request was cancelled
                turn.set_result(None)
                self._remaining -= events
        if self._remaining < self._limit:
            self._loop.call_soon(self._next_round)
