"""Settings that are read again while the gateway runs: on SIGHUP, or when their file changes.

A file that cannot be used is refused whole, said in the log and in `/status`, and the old settings stay.
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

from gateway.config import ConfigError, Fault, Settings, load
from gateway.model import GatewayError

log = logging.getLogger("gateway.reloading")

LOOK_SECONDS = 1.0
"""Between two looks at a file that is watched."""
BUILT_IN = ("server", "admin", "spool", "repeats")
"""Sections that a process is built with."""


class Reloaded(Protocol):
    """What goes on with other settings."""

    async def reload(self, settings: Settings) -> None:
        """Take all of it, or raise `ConfigError` and change nothing."""
        ...

    def refused(self, faults: Sequence[str]) -> None:
        """The settings that were read cannot be used."""
        ...


def may_follow(before: Settings, after: Settings) -> None:
    """Whether a running gateway can go from one to the other. Raises `ConfigError`."""
    faults = [
        Fault(
            f"destinations.{name}.api",
            f"cannot become {destination.api} while the gateway runs, since events wait that were mapped for "
            f"{before.destinations[name].api}: give the new destination a name of its own",
        )
        for name, destination in after.destinations.items()
        if name in before.destinations and before.destinations[name].api != destination.api
    ]
    if faults:
        raise ConfigError("settings", faults)


def _refuse(error: GatewayError, gateway: Reloaded) -> None:
    faults = str(error).splitlines()
    for fault in faults:
        log.error("%s", fault)
    log.error("the settings are refused, and the old ones stay: %d faults", len(faults))
    gateway.refused(faults)


@asynccontextmanager
async def reloading(config: Path, settings: Settings, gateway: Reloaded, *, watch: bool) -> AsyncIterator[None]:
    """Read `config` again on SIGHUP, and when it changes where it is watched, for as long as this lasts."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    tasks = [asyncio.create_task(_reload_when(asked, config, settings, gateway), name="reloading")]
    if watch:
        tasks.append(asyncio.create_task(_watch(config, asked), name="watching the settings"))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)


async def _reload_when(asked: asyncio.Event, config: Path, built_with: Settings, gateway: Reloaded) -> None:
    while True:
        await asked.wait()
        asked.clear()
        try:
            settings = await asyncio.to_thread(load, config)
            await gateway.reload(settings)
        except GatewayError as error:
            _refuse(error, gateway)
            continue
        log.info("the settings were read again", extra={"destinations": len(settings.destinations)})
        if changed := [name for name in BUILT_IN if getattr(built_with, name) != getattr(settings, name)]:
            log.warning("changes of %s take effect at the next start", ", ".join(changed))


async def _watch(config: Path, asked: asyncio.Event) -> None:
    """Ask when the file is another one or has other content. Also where it is replaced through a symbolic link."""
    seen = _stamp(config)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = _stamp(config)
        if now != seen:
            seen = now
            asked.set()


def _stamp(config: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(config)  # noqa: PTH116 (once a second)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
