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
import signal
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import orjson

from gateway import __version__
from gateway.admin import Admin
from gateway.config import Settings
from gateway.dead_letters import Desk
from gateway.housekeeping import Housekeeping
from gateway.ingest import Ingest, Repeats, Source
from gateway.mapping import Coverage, Mapper, compile_mapper
from gateway.model import Backlog, GatewayError, Lane
from gateway.observe import Histogram, Ledger
from gateway.observe.logs import setup
from gateway.observe.loop_lag import LoopLag
from gateway.spool import Intake, SpoolStatistics, make_spool
from gateway.upload import LaneStatistics, Uploads

log = logging.getLogger("gateway.service")

ANNOUNCE = "GATEWAY_ANNOUNCE"
"""Environment variable with the path of a file that gets one JSON line with the addresses, once they are known."""


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


class Service:
    """One gateway process. `run` is its whole life; the rest is what the operators' face asks."""

    def __init__(self, settings: Settings, *, wall: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self.started_at = wall()
        self.ledger = Ledger()
        self.mappers = {
            name: compile_mapper(name, destination, settings.server.max_event_bytes)
            for name, destination in settings.destinations.items()
        }
        self._lag = LoopLag()
        self._spool = make_spool(settings.spool, wall)
        self._uploads = Uploads(settings.destinations, self._spool, self.ledger, wall=wall)
        limits = {name: destination.limits for name, destination in settings.destinations.items()}
        self.desk = Desk(self._spool, settings.destinations, self.mappers, stored=self._uploads.stored, wall=wall)
        self._intake = Intake(
            self._spool,
            limits=lambda lane: limits[lane.destination],
            room=self._uploads.room,
            stored=self._uploads.stored,
            max_pending_bytes=settings.spool.max_pending_bytes,
            crowded=self._crowded,
        )
        self._wall = wall
        self._keeping = Housekeeping(settings, self._spool, self.ledger, wall)
        sources = _sources(settings, self.mappers, self._keeping.repeats)
        self._ingest = Ingest(settings.server, sources, self._intake, self.ledger, wall)
        self._admin = Admin(settings.admin, self)
        self._phase = "starting"  # starting, serving, stopping: moves forward only

    # What the operators' face asks.

    def spool(self) -> SpoolStatistics:
        """A snapshot of the spool."""
        return self._spool.statistics()

    def lanes(self) -> Sequence[LaneStatistics]:
        """A snapshot of every lane."""
        return self._uploads.statistics()

    def coverage(self) -> Mapping[str, Coverage]:
        """A snapshot of every destination's match keys."""
        return {name: mapper.coverage() for name, mapper in self.mappers.items()}

    def loop_lag(self) -> Histogram:
        """How late the event loop was."""
        return self._lag.seconds

    def readiness(self) -> Sequence[str]:
        """Why requests should go elsewhere; empty when they are welcome."""
        reasons = [] if self._phase == "serving" else [self._phase]
        if self._intake.refused:
            reasons.append(self._intake.refused)
        return reasons

    @property
    def orphans(self) -> Sequence[Backlog]:
        """What waits for destinations that are not in the settings."""
        return self._uploads.orphans

    def _crowded(self, lane: Lane) -> str | None:
        """Why a lane may not have more of the spool for now."""
        spool = self._settings.spool
        waiting = self._uploads.waiting_bytes(lane)
        if waiting < spool.max_bytes * spool.lane_share:
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
            await self._admin.start()
            stack.push_async_callback(self._admin.stop)
            self._uploads.recovered(backlogs)
            _tell_backlog(backlogs)
            self._keeping.start()

            async with asyncio.TaskGroup() as tasks:
                uploading = tasks.create_task(self._uploads.run(), name="uploads")
                committing = tasks.create_task(self._intake.run(), name="commits")
                lagging = tasks.create_task(self._lag.run(), name="loop lag")
                keeping = tasks.create_task(self._keeping.run(), name="housekeeping")
                try:
                    await self._ingest.start()
                    self._phase = "serving"
                    self._announce()
                    await stop.asked.wait()
                    await self._leave(stop, committing)
                finally:
                    self._phase = "stopping"
                    self._ingest.refuse()
                    self._intake.close()
                    await self._ingest.stop()
                    await self._uploads.stop()
                    await self._keeping.save()
                    lagging.cancel()
                    keeping.cancel()
                    uploading.cancel()
        log.info("stopped", extra={"waiting": self.ledger.waiting})

    async def _leave(self, stop: Stop, committing: asyncio.Task[None]) -> None:
        """The two steps of an orderly stop; a second signal cuts them short."""
        server = self._settings.server
        self._phase = "stopping"
        log.info("stopping: requests are taken for %g s more", server.drain_delay)
        if await _done_unless(stop.now, asyncio.sleep(server.drain_delay)):
            self._ingest.refuse()
            self._intake.close()
            self._uploads.drain()

            async def drained() -> None:
                await asyncio.wait([committing])
                self._uploads.drain()
                await self._uploads.drained()

            if not await _done_unless(stop.now, asyncio.wait_for(drained(), server.drain_timeout)):
                log.warning("stopped before everything was uploaded: the rest waits in the spool")

    def _announce(self) -> None:
        server, admin = self._settings.server, self._settings.admin
        addresses = {
            "event": "listening",
            "server": f"http://{_bracketed(server.host)}:{self._ingest.port}",
            "admin": f"http://{_bracketed(admin.host)}:{self._admin.port}",
        }
        log.info("listening", extra={**addresses, "version": __version__, "pid": os.getpid()})
        if path := os.environ.get(ANNOUNCE):
            Path(path).write_bytes(orjson.dumps(addresses) + b"\n")


def serve(settings: Settings) -> int:
    """Run a gateway until a signal stops it; the exit status."""
    import uvloop  # noqa: PLC0415 (only for serving)

    setup(settings.logging)
    _calm_collector()
    faults: list[GatewayError] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_signalled(settings))
    except* GatewayError as errors:
        faults = list(_leaves(errors))
    for fault in faults:
        log.error("%s", fault)
    return 1 if faults else 0


def _calm_collector() -> None:
    """Look for garbage in cycles seldom: decoded events are many, short-lived and have none.

    What is loaded by now stays for good and is not looked at again. Measured: a fifth of the time of a batch.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _leaves(errors: BaseExceptionGroup[GatewayError]) -> Iterator[GatewayError]:
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


async def _until_signalled(settings: Settings) -> None:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.ask)
    await Service(settings).run(stop)


def _sources(settings: Settings, mappers: Mapping[str, Mapper], repeats: Mapping[str, Repeats]) -> dict[str, Source]:
    return {
        source.write_key.reveal(): Source(name, [(wanted, mappers[wanted]) for wanted in source.destinations], repeats)
        for name, source in settings.sources.items()
    }


def _tell_backlog(backlogs: Sequence[Backlog]) -> None:
    if events := sum(backlog.events for backlog in backlogs):
        log.info("going on with %d events that waited", events, extra={"lanes": len(backlogs)})


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
