"""The one thread that touches the database: calls go in on the loop's side, and come out there in the same order."""

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
"""Seconds without a call after which the thread looks after the file."""


class _Call(NamedTuple):
    work: Callable[[], Any]
    future: asyncio.Future[Any]


class DatabaseThread:
    """Runs calls one after the other on a thread of its own.

    `after` runs behind every call, when its result is already on its way: what must not delay the caller. `idle` runs
    when no call has come for a while, again and again for as long as it returns true.
    """

    def __init__(self, *, after: Callable[[], None], idle: Callable[[], bool], name: str) -> None:
        self._after = after
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        # The thread adds at the right, the loop takes from the left. `_woken` is set by the thread and cleared by the
        # loop before it takes: what is added in between is either taken or wakes the loop again.
        self._done: deque[tuple[asyncio.Future[Any], Any, BaseException | None]] = deque()
        self._woken = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Have it done; the future is done when it is.

        A caller that goes away does not undo it: what was begun takes effect.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        self._calls.put(_Call(work, future))
        return future

    def stop(self) -> None:
        """Let the thread end, when everything that was asked of it is done."""
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
            except BaseException as error:  # noqa: BLE001 (it is the caller's to judge)
                self._report(call.future, None, error)
            self._run_maintenance(self._after)
            pause = IDLE_DELAY

    def _run_maintenance(self, work: Callable[[], T]) -> T | None:
        """SpoolMaintenance is no caller's: a defect in it is told, and the thread goes on answering."""
        try:
            return work()
        except Exception:
            log.exception("the upkeep of the spool failed")
            return None

    def _report(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self._done.append((future, result, error))
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:
                self._done.clear()  # the loop is gone, and with it whoever waited

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
