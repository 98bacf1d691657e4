"""The only thread that uses the database. The event loop submits calls and gets their results in the same order."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

log = logging.getLogger("gateway.spool")

T = TypeVar("T")

IDLE_DELAY = 0.25
"""Seconds without a call after which idle maintenance starts."""


class _Call(NamedTuple):
    work: Callable[[], Any]
    future: asyncio.Future[Any]


class DatabaseThread:
    """Runs calls one after the other on its own thread.

    `after` runs after every call, when the result has been handed to the event loop: maintenance that must not delay
    the caller. `idle` runs when there has been no call for `IDLE_DELAY`, repeatedly for as long as it returns true.
    """

    def __init__(self, *, after: Callable[[], None], idle: Callable[[], bool], name: str) -> None:
        self._after = after
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        # The thread appends at the right, the loop pops from the left. The thread sets `_woken`; the loop clears it
        # before it pops: a result that is added in between is either popped or wakes the loop again.
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._woken = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` on the thread; the future gets its result.

        Cancelling the future does not cancel the call: it still runs.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put(_Call(work, future))
        return future

    def stop(self) -> None:
        """Let the thread end after the calls that were submitted before."""
        self._calls.put(None)

    def _run(self) -> None:
        pause: float | None = None
        while True:
            try:
                call = self._calls.get(timeout=pause)
            except Empty:
                pause = 0.0 if self._run_maintenance(self._idle) else None
                continue
            if call is None:
                return
            try:
                self._report(call.future, call.work(), None)
            except BaseException as error:  # noqa: BLE001 (the caller handles it)
                self._report(call.future, None, error)
            self._run_maintenance(self._after)
            pause = IDLE_DELAY

    def _run_maintenance(self, work: Callable[[], T]) -> T | None:
        """Run maintenance. An exception in it is a bug: it is logged, and the thread continues to run calls."""
        try:
            return work()
        except Exception:
            log.exception("spool maintenance failed; calls continue, and it runs again after the next call")
            return None

    def _report(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._done.append((future, result, error))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self._done.clear()  # the event loop is closed: no caller waits any more

    def _deliver(self) -> None:
        self._woken = False
        while self._done:
            future, result, error = self._done.popleft()
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
