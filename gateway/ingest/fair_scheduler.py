"""Shares the loop among requests: so much is decoded and mapped in one round, and what comes later waits for the next.

Without it, whatever is ready runs in one round: thirty requests of a hundred events each would keep uploads, commits
and timers waiting for a tenth of a second.
"""

from __future__ import annotations

import asyncio
from collections import deque


class FairScheduler:
    """Give a turn to whoever asks, first come, first served. `most` is in events, and exceeded by one turn at most."""

    __slots__ = ("_limit", "_loop", "_remaining", "_waiting")

    def __init__(self, limit: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        # Only the loop's thread touches these. While `_left` is less than `_most`, `_next_round` is on its way; nobody
        # waits while it is above 0.
        self._remaining = limit
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    def acquire(self, events: int) -> asyncio.Future[None] | None:
        """None: go on. Otherwise go on when the future is done. `events` is at least 1. Runs once a request."""
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
            if not turn.done():  # a sender that went away needs none
                turn.set_result(None)
                self._remaining -= events
        if self._remaining < self._limit:
            self._loop.call_soon(self._next_round)
