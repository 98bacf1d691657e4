"""An event loop on virtual time: whoever sleeps, sleeps no real second, and nothing depends on the machine."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

REAL_WAIT = 0.05
PATIENCE = 100
"""Real waits for a thread before it is said that nothing will ever happen."""
TURN = 1e-7
"""Seconds that a turn of the loop takes: one that took none would let whoever polls wait for ever."""


class _Selector(selectors.SelectSelector):
    """Lets time jump to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._idle = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            self._idle += 1
            if self._idle > PATIENCE:
                raise RuntimeError("nothing will ever happen: every task waits for another")
            return super().select(REAL_WAIT)
        self._idle = 0
        if timeout <= 0:
            self.now += TURN
            return []
        ready = super().select(0)
        self.now += TURN if ready else max(timeout, TURN)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock begins at 0 and moves when everybody sleeps."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
