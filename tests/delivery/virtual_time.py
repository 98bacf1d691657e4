"""An event loop on virtual time: a sleep takes no real time, and results do not depend on the machine's speed."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

REAL_WAIT = 0.05
"""Real seconds to wait for a thread when the loop has no timer."""
MAX_REAL_WAITS = 100
"""Consecutive real waits after which the loop is considered deadlocked."""
ITERATION = 1e-7
"""Virtual seconds that one iteration of the loop takes. With 0, a task that polls the time would never finish."""


class _Selector(selectors.SelectSelector):
    """Advances the clock to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._real_waits = 0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            self._real_waits += 1
            if self._real_waits > MAX_REAL_WAITS:
                raise RuntimeError("deadlock: every task waits for another one, and no timer is set")
            return super().select(REAL_WAIT)
        self._real_waits = 0
        if timeout <= 0:
            self.now += ITERATION
            return []
        ready = super().select(0)
        self.now += ITERATION if ready else max(timeout, ITERATION)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock starts at 0 and advances when all tasks sleep."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._virtual.now


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
