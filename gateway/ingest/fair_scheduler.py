"""Limits how many events are decoded and mapped in one iteration of the event loop, so that other tasks run in time.

Without the limit, all requests that are ready are processed in one iteration: thirty requests of a hundred events each
would delay uploads, commits and timers by a tenth of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque

EVENTS_PER_ROUND = 128
"""Events that are mapped in one iteration of the event loop. With one more slice this takes about 7 ms."""


class FairScheduler:
    """Grants turns for about `limit` events in each iteration of the loop, in the order of the requests.

    A turn that is larger than `limit` is granted too, one in each iteration. It waits for other large ones only, and
    smaller ones do not wait for it.
    """

    __slots__ = ("_large_granted", "_limit", "_loop", "_remaining", "_waiting", "_waiting_large")

    def __init__(self, limit: int = EVENTS_PER_ROUND) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        # Only the loop's thread touches these. While `_remaining` is less than `_limit` or `_large_granted` is set, a
        # call of `_next_round` is scheduled. While `_remaining` is above 0, `_waiting` is empty; while `_large_granted`
        # is not set, `_waiting_large` is empty.
        self._remaining = limit
        self._large_granted = False
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()
        self._waiting_large: deque[asyncio.Future[None]] = deque()

    def acquire(self, events: int) -> asyncio.Future[None] | None:
        """Request a turn for `events` (at least 1). Runs once a request.

        Returns None when the turn is granted at once, otherwise a future that is done when it is granted.
        """
        if events > self._limit:
            return self._acquire_large()
        if self._remaining > 0:
            if self._remaining == self._limit and not self._large_granted:
                self._loop.call_soon(self._next_round)
            self._remaining -= events
            return None
        turn = self._loop.create_future()
        self._waiting.append((turn, events))
        return turn

    async def turn(self, events: int) -> None:
        """Wait for the turn to process this many events (at least 1), or something that takes as long."""
        if turn := self.acquire(events):
            await turn

    def _acquire_large(self) -> asyncio.Future[None] | None:
        if not self._large_granted:
            if self._remaining == self._limit:
                self._loop.call_soon(self._next_round)
            self._large_granted = True
            return None
        turn = self._loop.create_future()
        self._waiting_large.append(turn)
        return turn

    def _next_round(self) -> None:
        self._remaining = self._limit
        self._large_granted = False
        while self._waiting_large and not self._large_granted:
            turn = self._waiting_large.popleft()
            if not turn.done():  # done: the request was cancelled
                turn.set_result(None)
                self._large_granted = True
        while self._waiting and self._remaining > 0:
            turn, events = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._remaining -= events
        if self._remaining < self._limit or self._large_granted:
            self._loop.call_soon(self._next_round)
