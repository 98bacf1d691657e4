"""The only place where the rooms are wired: started in order, stopped in order, each task with an owner.

Start: spool, uploads, commits, then the faces. Stop, in two steps: `/readyz` says 503 at once while requests are still
taken for `server.drain_delay`; then nothing is taken, what was accepted is uploaded until `server.drain_timeout`, and
the rest stays in the spool. A second signal ends it at once; what waits stays in the spool as well.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from gateway import __version__
from gateway.admin import Admin
from gateway.config import DestinationSettings, Settings
from gateway.dead_letters import Desk
from gateway.delivery import DeliveryService
from gateway.housekeeping import Housekeeping
from gateway.ingest import Ingest, Source
from gateway.mapping import Mapper, compile_mapper
from gateway.model import Backlog, GatewayError, Lane
from gateway.reloading import may_follow
from gateway.spool import Intake, make_spool
from gateway.telemetry import Ledger, Snapshot
from gateway.telemetry.loop_lag import LoopLag
from gateway.telemetry.webhook import WebhookNotifier

log = logging.getLogger("gateway.service")

ANNOUNCE = "GATEWAY_ANNOUNCE"
"""Environment variable with the path of a file that gets one JSON line with the addresses, once they are known."""

HANDOVER = 0.0005
"""Seconds that a thread keeps the interpreter while another wants it; Python's own default is ten times as long."""

LAST_ALERTS = 2.0
"""Seconds in which alerts that wait may still leave when the process ends."""


class Stop:
    """What the signals ask for. The first asks to stop in order, the second to stop now."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.now = asyncio.Event()

    def ask(self) -> None:
        """Take one signal."""
        if self.asked.is_set():
            self.now.set()
        self.asked.set()

    def end(self) -> None:
        """Stop now."""
        self.asked.set()
        self.now.set()


@dataclass(frozen=True, slots=True)
class Part:
    """What one process has of a gateway."""

    number: int = 0
    """Whose spool it has."""
    room: float = 1.0
    """Its share of the spool's size in the settings."""
    pace: float = 1.0
    """Its share of the pace of each lane in the settings."""


WHOLE = Part()


class Service:
    """One gateway process. `run` is its whole life; the rest is what the operators' face asks."""

    def __init__(
        self,
        settings: Settings,
        part: Part = WHOLE,
        listening: Sequence[socket.socket] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`listening`: what it takes requests from.

        None: it is alone, and listens where the settings say, for operators as well. Empty: it takes no requests, and
        ends when nothing is left of what an earlier process left behind.
        """
        self._settings = settings
        self._part = part
        self._listening = listening
        self._clock = clock
        self._started_at = self._settings_at = clock()
        self._settings_refused: Sequence[str] = ()
        self._ledger = Ledger()
        self._mappers = _compiled(settings, {}, {})
        self._lag = LoopLag()
        self._alerts = WebhookNotifier(settings.alerts, self._ledger)
        self._spool = make_spool(settings.spool, clock, part.number, part.room)
        self._delivery = DeliveryService(
            settings.destinations,
            self._spool,
            self._ledger,
            clock=clock,
            notify=self._alerts.notify,
            rate_share=part.pace,
        )
        self.desk = Desk(self._spool, settings.destinations, self._mappers, stored=self._delivery.stored, clock=clock)
        self._intake = Intake(
            self._spool,
            limits=self._delivery.limits,
            room=self._delivery.remaining,
            stored=self._delivery.stored,
            max_pending_bytes=settings.spool.max_pending_bytes,
            crowded=self._crowded,
        )
        spool = settings.spool
        self._lane_bytes = spool.max_bytes * part.room * spool.lane_share  # the most that may wait in one
        self._keeping = Housekeeping(settings, self._spool, self._ledger, clock, part.number)
        self._ingest = Ingest(settings.server, self._sources(), self._intake, self._ledger, clock)
        self._admin = Admin(settings.admin, self)
        self._phase = "starting"  # starting, serving, stopping: moves forward only
        self.serving = asyncio.Event()
        """Set once it takes requests, or carries what it inherited."""

    # What the operators' face asks.

    async def snapshot(self) -> Snapshot:
        """Everything that is told."""
        return Snapshot(
            started_at=self._started_at,
            reasons=await self.readiness(),
            ledger=self._ledger,
            spool=self._spool.statistics(),
            lanes=self._delivery.statistics(),
            coverage={name: mapper.coverage() for name, mapper in self._mappers.items()},
            loop_lag=self._lag.seconds,
            orphans=self._delivery.orphans,
            settings_at=self._settings_at,
            settings_refused=self._settings_refused,
            warnings=self._delivery.version_warnings,
        )

    async def readiness(self) -> Sequence[str]:
        """Why requests should go elsewhere; empty when they are welcome."""
        reasons = [] if self._phase == "serving" else [self._phase]
        if self._intake.refused:
            reasons.append(self._intake.refused)
        return reasons

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Let blocked lanes, all of them or those meant, try at once; how many were blocked."""
        return self._delivery.resume(destination, event_set)

    # Other settings.

    async def reload(self, settings: Settings) -> None:
        """Go on with other settings, without losing or repeating anything. Raises `ConfigError`, and changes nothing.

        Sources, destinations, alerts and the log's level change at once. What the process was built with (addresses,
        the spool, the repeats) stays until the next start.
        """
        may_follow(self._settings, settings)
        mappers = await asyncio.to_thread(_compiled, settings, self._settings.destinations, self._mappers)
        self._settings, self._mappers = settings, mappers
        self._delivery.reload(settings.destinations)
        self.desk.reload(settings.destinations, mappers)
        await self._keeping.reload(settings)
        self._ingest.reload(self._sources())
        self._alerts.reload(settings.alerts)
        logging.getLogger().setLevel(settings.logging.level.upper())
        self._settings_at, self._settings_refused = self._clock(), ()
        self._ledger.reloads["taken"] += 1

    def refused(self, faults: Sequence[str]) -> None:
        """Settings that were read again cannot be used, so the old ones stay; `/status` says why."""
        self._settings_refused = faults
        self._ledger.reloads["refused"] += 1

    def _sources(self) -> dict[str, Source]:
        return {
            source.write_key.reveal(): Source(
                name, [(wanted, self._mappers[wanted]) for wanted in source.destinations], self._keeping.repeats
            )
            for name, source in self._settings.sources.items()
        }

    def _crowded(self, lane: Lane) -> str | None:
        """Why a lane may not have more of the spool for now."""
        waiting = self._delivery.waiting_bytes(lane)
        if waiting < self._lane_bytes:
            return None
        return (
            f"{waiting} bytes wait for {lane}, which is its share of the spool (spool.lane_share). "
            "Send again when they have left"
        )

    # Its life.

    async def run(self, stop: Stop) -> None:
        """Serve until asked to stop. Raises `GatewayError` when it cannot start."""
        async with AsyncExitStack() as stack:
            backlogs = await self._spool.open()
            stack.push_async_callback(self._spool.close)
            if self._listening is None:
                await self._admin.start()
                stack.push_async_callback(self._admin.stop)
            self._delivery.recovered(backlogs)
            _tell_backlog(backlogs)
            self._keeping.start()

            async with asyncio.TaskGroup() as tasks:
                uploading = tasks.create_task(self._delivery.run(), name="uploads")
                committing = tasks.create_task(self._intake.run(), name="commits")
                lagging = tasks.create_task(self._lag.run(), name="loop lag")
                keeping = tasks.create_task(self._keeping.run(), name="housekeeping")
                alerting = tasks.create_task(self._alerts.run(), name="alerts")
                try:
                    if self._is_heir:
                        self._phase = "serving"
                        self.serving.set()
                        await self._inherit(stop)
                    else:
                        await self._ingest.start(self._listening)
                        self._phase = "serving"
                        self.serving.set()
                        if self._listening is None:
                            announce(self._settings, self._ingest.port, self._admin.port)
                        await stop.asked.wait()
                    await self._leave(stop, committing)
                finally:
                    self._phase = "stopping"
                    self._ingest.refuse()
                    self._intake.close()
                    await self._ingest.stop()
                    await self._delivery.stop()
                    await self._keeping.save()
                    await self._alerts.flush(LAST_ALERTS)
                    for task in (lagging, keeping, alerting, uploading):
                        task.cancel()
        log.info("stopped", extra={"waiting": self._ledger.waiting})

    async def _leave(self, stop: Stop, committing: asyncio.Task[None]) -> None:
        """The two steps of an orderly stop; a second signal cuts them short."""
        server = self._settings.server
        self._phase = "stopping"
        log.info("stopping: requests are taken for %g s more", server.drain_delay)
        if await _done_unless(stop.now, asyncio.sleep(server.drain_delay)):
            self._ingest.refuse()
            self._intake.close()
            self._delivery.drain()

            async def drained() -> None:
                await asyncio.wait([committing])
                self._delivery.drain()
                await self._delivery.drained()

            if not await _done_unless(stop.now, asyncio.wait_for(drained(), server.drain_timeout)):
                log.warning("stopped before everything was uploaded: the rest waits in the spool")

    @property
    def _is_heir(self) -> bool:
        return self._listening is not None and not self._listening

    @property
    def has_nothing_left(self) -> bool:
        """Whether its spool is empty: nothing waits, whatever for, and no dead letter is kept."""
        return not (self._ledger.waiting or self._delivery.orphans or self._spool.statistics().dead_letters)

    async def _inherit(self, stop: Stop) -> None:
        """Carry what an earlier process left, until nothing is left of it, dead letters included."""
        while not self.has_nothing_left:
            if await happens(stop.asked, within=1.0):
                return
        stop.end()


def announce(settings: Settings, port: int, admin_port: int) -> None:
    """Say where the gateway listens, in the log and in the file of `ANNOUNCE`."""
    addresses = {
        "event": "listening",
        "server": f"http://{_bracketed(settings.server.host)}:{port}",
        "admin": f"http://{_bracketed(settings.admin.host)}:{admin_port}",
    }
    log.info("listening", extra={**addresses, "version": __version__, "pid": os.getpid()})
    if path := os.environ.get(ANNOUNCE):
        Path(path).write_bytes(orjson.dumps(addresses) + b"\n")


def set_up_interpreter() -> None:
    """Have the interpreter do what suits many small requests and one thread beside the loop.

    It looks for garbage in cycles seldom: decoded events are many, short-lived and have none; what is loaded by now
    stays for good and is not looked at again. And the spool's thread is given the interpreter soon when it asks for it,
    since senders wait for what it does next. Measured: `docs/performance.md`.
    """
    sys.setswitchinterval(HANDOVER)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def leaves(errors: BaseExceptionGroup[GatewayError]) -> Iterator[GatewayError]:
    """What a group holds, however deep."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def _compiled(
    settings: Settings, before: Mapping[str, DestinationSettings], mappers: Mapping[str, Mapper]
) -> dict[str, Mapper]:
    """A mapper for each destination; one whose settings are as they were is kept, with its counts."""
    return {
        name: mappers[name]
        if name in mappers and before.get(name) == destination
        else compile_mapper(name, destination, settings.server.max_event_bytes)
        for name, destination in settings.destinations.items()
    }


def _tell_backlog(backlogs: Sequence[Backlog]) -> None:
    if events := sum(backlog.events for backlog in backlogs):
        log.info("going on with %d events that waited", events, extra={"lanes": len(backlogs)})


async def happens(event: asyncio.Event, *, within: float) -> bool:
    """Whether an event comes within so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), within)
    return event.is_set()


async def _done_unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Await work, but give it up when the event comes; whether it was done in its time."""
    doing = asyncio.create_task(work)
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait([doing, waiting], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        doing.cancel()
    with suppress(asyncio.CancelledError, TimeoutError):
        await doing
        return True
    return False


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
