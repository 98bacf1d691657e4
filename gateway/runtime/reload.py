"""Reads the settings again while the gateway runs: on SIGHUP, or when the file changes.

A file with an error changes nothing: the previous settings stay in force, and the log and `/status` name the errors.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from gateway.config import FIXED_SECTIONS, ConfigError, Fault, Settings, load
from gateway.model import GatewayError

log = logging.getLogger("gateway.runtime")

WATCH_INTERVAL = 1.0
"""Seconds between two checks of a watched file."""


class Reloadable(Protocol):
    """A gateway that can apply other settings while it runs."""

    async def reload(self, settings: Settings) -> None:
        """Apply all of them, or raise `ConfigError` and change nothing."""
        ...

    def reload_failed(self, errors: Sequence[str]) -> None:
        """Record why the new settings could not be applied; the previous ones stay in force."""
        ...


def check_reload_allowed(before: Settings, after: Settings) -> None:
    """Raise `ConfigError` when a running gateway cannot change from one to the other."""
    faults = [
        Fault(
            f"destinations.{name}.api",
            f"cannot change to {destination.api} while the gateway runs, because events mapped for "
            f"{before.destinations[name].api} may be waiting; use a new destination with another name instead",
        )
        for name, destination in after.destinations.items()
        if name in before.destinations and before.destinations[name].api != destination.api
    ]
    if faults:
        raise ConfigError("settings", faults)


@asynccontextmanager
async def reload_on_change(
    config: Path, settings: Settings, gateway: Reloadable, *, watch: bool
) -> AsyncIterator[None]:
    """Inside the context, read `config` again on SIGHUP and, with `watch`, when the file changes."""
    requested = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, requested.set)
    tasks = [asyncio.create_task(_reload_when_requested(requested, config, settings, gateway), name="reload")]
    if watch:
        tasks.append(asyncio.create_task(_watch(config, requested), name="watch settings"))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # otherwise one that arrives now would end the process
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


async def _reload_when_requested(
    requested: asyncio.Event, config: Path, at_start: Settings, gateway: Reloadable
) -> None:
    while True:
        await requested.wait()
        requested.clear()
        try:
            settings = await asyncio.to_thread(load, config)
            await gateway.reload(settings)
        except GatewayError as error:
            _report_failure(gateway, str(error).splitlines())
            continue
        except Exception as error:
            log.exception("the settings could not be reloaded because of an internal error")
            _report_failure(gateway, [f"internal error ({type(error).__name__}); see the log"])
            continue
        log.info("settings reloaded", extra={"destinations": len(settings.destinations)})
        if changed := [name for name in FIXED_SECTIONS if getattr(at_start, name) != getattr(settings, name)]:
            log.warning("changed sections that take effect only after a restart: %s", ", ".join(changed))


def _report_failure(gateway: Reloadable, errors: Sequence[str]) -> None:
    for line in errors:
        log.error("%s", line)
    plural = "error" if len(errors) == 1 else "errors"
    log.error("reload failed (%d %s); still using the previous settings", len(errors), plural)
    gateway.reload_failed(errors)


async def _watch(config: Path, requested: asyncio.Event) -> None:
    """Request a reload when the file is replaced or its content changes, also behind a symbolic link."""
    before = _file_state(config)
    while True:
        await asyncio.sleep(WATCH_INTERVAL)
        now = _file_state(config)
        if now != before:
            before = now
            requested.set()


def _file_state(config: Path) -> tuple[int, int, int] | None:
    """Inode, modification time and size; None when the file does not exist."""
    try:
        status = os.stat(config)  # noqa: PTH116 (once a second)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
