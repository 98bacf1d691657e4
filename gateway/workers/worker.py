"""A worker process: a service that is told what to do over a channel instead of by signals and a face for operators."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.config import Settings
from gateway.model import GatewayError
from gateway.service import Part, Service, Stop, leaves, set_up_interpreter
from gateway.spool import forget_spool
from gateway.telemetry.logging import configure_logging
from gateway.workers.channel import Handler, answer_calls, receive

log = logging.getLogger("gateway.workers")


@dataclass(frozen=True, slots=True)
class Orders:
    """The first thing that a worker is told."""

    settings: Settings
    part: Part
    listening: Sequence[int]
    """File descriptors that it inherited."""


def main() -> int:
    """Work until told to stop, or until the supervisor is gone; the exit status."""
    import uvloop  # noqa: PLC0415 (as `serve` does)

    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor's to hear
    end = socket.socket(fileno=int(sys.argv[1]))
    try:
        orders: Orders = receive(end)
    except EOFError:
        return 1
    configure_logging(orders.settings.logging, worker=orders.part.number)
    set_up_interpreter()
    faults: list[GatewayError] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(end, orders))
    except* GatewayError as errors:
        faults = list(leaves(errors))
    for fault in faults:
        log.error("%s", fault)
    return 1 if faults else 0


async def _work(end: socket.socket, orders: Orders) -> None:
    stop = Stop()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.ask)
    listening = [socket.socket(fileno=number) for number in orders.listening]
    service = Service(orders.settings, orders.part, listening)

    async def ask_to_stop() -> None:
        stop.ask()

    handlers: Mapping[str, Handler] = {
        "started": service.serving.wait,
        "stop": ask_to_stop,
        "snapshot": service.snapshot,
        "readiness": service.readiness,
        "resume": service.resume,
        "reload": service.reload,
        "letters": service.desk.letters,
        "replay": service.desk.replay,
        "discard": service.desk.discard,
    }
    reader, writer = await asyncio.open_unix_connection(sock=end)
    answering = asyncio.create_task(answer_calls(reader, writer, handlers))
    answering.add_done_callback(lambda _: stop.end())  # the supervisor is gone
    try:
        await service.run(stop)
    finally:
        answering.cancel()
        await asyncio.wait([answering])
        writer.close()
    if not listening and service.has_nothing_left:
        forget_spool(orders.settings.spool, orders.part.number)
