"""Start and stop of a process: the stop signal, waiting with a time-out, the address file, interpreter settings."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from gateway import __version__
from gateway.backoff import backoff_delay
from gateway.config import Settings
from gateway.mapping.native import describe
from gateway.model import GatewayError

log = logging.getLogger("gateway.runtime")

ADDRESS_FILE_VARIABLE = "GATEWAY_ADDRESS_FILE"
"""Environment variable with the path of a file. Once the process listens, it writes one JSON line with its addresses to
that file, so that another program can find a port that the system chose."""

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread releases the interpreter to a waiting thread; Python's default is ten times that."""


FIRST_TASK_DELAY = 1.0
"""Seconds before a background task that failed is started again; doubled for each further failure."""
MAX_TASK_DELAY = 60.0
"""The longest delay. A task that ran for longer counts as stable: its next failure counts as the first again."""


class StopSignal:
    """Set by SIGTERM and SIGINT: the first signal requests an orderly stop, the second an immediate one."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.immediate = asyncio.Event()

    def request(self) -> None:
        """Handle one signal."""
        if self.requested.is_set():
            self.immediate.set()
        self.requested.set()

    def request_immediate(self) -> None:
        """Stop without draining."""
        self.requested.set()
        self.immediate.set()


async def wait_for_event(event: asyncio.Event, *, timeout: float) -> bool:  # noqa: ASYNC109 (it is nothing but a wait)
    """Wait for an event for at most `timeout` seconds; whether it is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout)
    return event.is_set()


async def run_unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Run `work` and cancel it when the event is set; whether it finished without a time-out or cancellation."""
    working = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        working.cancel()
    with suppress(asyncio.CancelledError, TimeoutError):
        await working
        return True
    return False


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a background task until cancelled. When it fails, log the error and start it again after a delay."""
    loop = asyncio.get_running_loop()
    failures = 0
    while True:
        began = loop.time()
        try:
            await run()
        except Exception:
            failures = 1 if loop.time() - began > MAX_TASK_DELAY else failures + 1
            delay = backoff_delay(failures, base=FIRST_TASK_DELAY, maximum=MAX_TASK_DELAY)
            log.exception("the background task %s failed; starting it again in %g s", name, delay)
            await asyncio.sleep(delay)
        else:
            return


def publish_addresses(settings: Settings, port: int, admin_port: int) -> None:
    """Write the addresses to the log and to the file that `ADDRESS_FILE_VARIABLE` names."""
    addresses = {
        "event": "listening",
        "server": f"http://{_bracketed(settings.server.host)}:{port}",
        "admin": f"http://{_bracketed(settings.admin.host)}:{admin_port}",
    }
    extra = {**addresses, "version": __version__, "mapping": describe(), "pid": os.getpid()}
    log.info("listening", extra=extra)
    if path := os.environ.get(ADDRESS_FILE_VARIABLE):
        Path(path).write_bytes(orjson.dumps(addresses) + b"\n")


def tune_interpreter() -> None:
    """Set the garbage collector and thread switching for many small requests and one database thread.

    Decoded events are many, short-lived and free of reference cycles, so the collector runs rarely, and objects that
    exist now are excluded from it. The switch interval is short because senders wait for the database thread.
    Measured: `docs/performance.md`.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def flatten_errors(errors: BaseExceptionGroup[GatewayError]) -> Iterator[GatewayError]:
    """The single exceptions of a group, at any depth."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from flatten_errors(error)
        else:
            yield error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
