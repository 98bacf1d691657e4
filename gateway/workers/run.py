"""Run a gateway, of one process or of several, until a signal stops it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from pathlib import Path

from gateway.config import Settings, SpoolEngine
from gateway.model import GatewayError
from gateway.reloading import reloading
from gateway.service import Service, Stop, leaves, set_up_interpreter
from gateway.spool import spool_numbers
from gateway.telemetry.logging import configure_logging

log = logging.getLogger("gateway.service")


def serve(settings: Settings, config: Path, *, watch: bool = False) -> int:
    """Run a gateway until a signal stops it; the exit status.

    SIGHUP has it read `config` again, and with `watch` a change of the file does.
    """
    import uvloop  # noqa: PLC0415 (only for serving)

    configure_logging(settings.logging)
    faults: list[GatewayError] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(settings, config, watch=watch))
    except* GatewayError as errors:
        faults = list(leaves(errors))
    for fault in faults:
        log.error("%s", fault)
    return 1 if faults else 0


async def _until_signalled(settings: Settings, config: Path, *, watch: bool) -> None:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    processes = count(settings)
    left = [number for number in _left(settings) if number >= processes]
    if processes == 1 and not left:
        set_up_interpreter()
        service = Service(settings)
        async with reloading(config, settings, service, watch=watch):
            await service.run(stop)
        return
    from gateway.workers.supervisor import Supervisor  # noqa: PLC0415 (only for several processes)

    supervisor = Supervisor(settings, processes, left)
    async with reloading(config, settings, supervisor, watch=watch):
        await supervisor.run(stop)


def count(settings: Settings) -> int:
    """Processes that the settings ask for."""
    workers = settings.server.workers
    return len(os.sched_getaffinity(0)) if workers == "auto" else workers


def _left(settings: Settings) -> list[int]:
    """Numbers of the processes that have left a spool file."""
    return list(spool_numbers(settings.spool)) if settings.spool.engine is SpoolEngine.SQLITE else []
