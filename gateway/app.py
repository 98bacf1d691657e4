"""One gateway process: where the packages are wired together, started and stopped in order.

Start: spool, delivery, commits, then the HTTP ports. An orderly stop has two steps. First `/readyz` answers 503 while
requests are still accepted for `server.drain_delay`. Then no request is accepted, and the accepted events are uploaded
until `server.drain_timeout`; what is left stays in the spool. A second signal stops at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from gateway.admin import Admin
from gateway.config import DestinationSettings, Settings, SpoolEngine
from gateway.dead_letters import DeadLetterService
from gateway.delivery import DeliveryService
from gateway.ingest import Ingest, Source
from gateway.mapping import Mapper, compile_mapper
from gateway.model import Backlog, GatewayError
from gateway.runtime.lifecycle import (
    StopSignal,
    flatten_errors,
    publish_addresses,
    run_unless,
    tune_interpreter,
    wait_for_event,
)
from gateway.runtime.maintenance import MaintenanceTasks
from gateway.runtime.reload import check_reload_allowed, reload_on_change
from gateway.runtime.worker import SpoolShard, run_worker
from gateway.spool import GroupCommitter, create_spool, spool_file_numbers
from gateway.telemetry import Ledger, Snapshot
from gateway.telemetry.logging import configure_logging
from gateway.telemetry.loop_lag import LoopLag
from gateway.telemetry.webhook import WebhookNotifier

log = logging.getLogger("gateway.app")

WHOLE_SPOOL = SpoolShard()

LAST_ALERTS_SECONDS = 2.0
"""Seconds in which alerts that are still queued may be sent when the process ends."""


class GatewayApp:
    """The gateway in one process. `run` is its lifetime; the other methods answer the admin port."""

    def __init__(
        self,
        settings: Settings,
        shard: SpoolShard = WHOLE_SPOOL,
        listening: Sequence[socket.socket] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`listening`: bound sockets for senders.

        None: the only process; it binds the sockets itself and serves the admin port. Empty: it accepts no requests and
        ends when the spool of an earlier process is empty.
        """
        self._settings = settings
        self._listening = listening
        self._clock = clock
        self._started_at = self._settings_at = clock()
        self._settings_errors: Sequence[str] = ()
        self._ledger = Ledger()
        self._mappers = _compile_mappers(settings, {}, {})
        self._loop_lag = LoopLag()
        self._webhook = WebhookNotifier(settings.alerts, self._ledger)
        self._spool = create_spool(settings.spool, clock, shard.number, shard.size_share)
        self._delivery = DeliveryService(
            settings.destinations,
            self._spool,
            self._ledger,
            clock=clock,
            notify=self._webhook.notify,
            rate_share=shard.rate_share,
            lane_quota=int(settings.spool.max_bytes * shard.size_share * settings.spool.lane_quota),
        )
        self.dead_letters = DeadLetterService(
            self._spool, settings.destinations, self._mappers, stored=self._delivery.stored, clock=clock
        )
        self._committer = GroupCommitter(
            self._spool, self._delivery, max_pending_bytes=settings.spool.max_pending_bytes
        )
        self._maintenance = MaintenanceTasks(settings, self._spool, self._ledger, clock, shard.number)
        self._ingest = Ingest(settings.server, self._sources(), self._committer, self._ledger, clock)
        self._admin = Admin(settings.admin, self)
        self._phase = "starting"  # starting, serving, stopping: moves forward only
        self.serving = asyncio.Event()
        """Set once it accepts requests, or drains an earlier process's spool."""

    # Called by the admin port.

    async def snapshot(self) -> Snapshot:
        """All counts and states."""
        return Snapshot(
            started_at=self._started_at,
            reasons=await self.readiness(),
            ledger=self._ledger,
            spool=self._spool.statistics(),
            lanes=self._delivery.statistics(),
            coverage={name: mapper.coverage() for name, mapper in self._mappers.items()},
            loop_lag=self._loop_lag.seconds,
            orphans=self._delivery.orphans,
            settings_at=self._settings_at,
            settings_errors=self._settings_errors,
            warnings=self._delivery.version_warnings,
        )

    async def readiness(self) -> Sequence[str]:
        """Why no requests should be sent; empty when it is ready."""
        reasons = [] if self._phase == "serving" else [self._phase]
        if self._committer.unavailable_reason:
            reasons.append(self._committer.unavailable_reason)
        return reasons

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Probe blocked lanes at once, all or those that match; how many were blocked."""
        return self._delivery.resume(destination, event_set)

    @property
    def is_drained(self) -> bool:
        """Whether the spool is empty: no event is waiting for any destination, and no dead letter is kept."""
        return not (self._ledger.waiting or self._delivery.orphans or self._spool.statistics().dead_letters)

    # Called when the settings are read again.

    async def reload(self, settings: Settings) -> None:
        """Apply other settings; no event is lost or sent twice. Raises `ConfigError` and changes nothing on an error.

        Sources, destinations, alerts and the log level change at once; the sections in `FIXED_SECTIONS` at the next
        start.
        """
        check_reload_allowed(self._settings, settings)
        mappers = await asyncio.to_thread(_compile_mappers, settings, self._settings.destinations, self._mappers)
        self._settings, self._mappers = settings, mappers
        self._delivery.reload(settings.destinations)
        self.dead_letters.reload(settings.destinations, mappers)
        await self._maintenance.reload(settings)
        self._ingest.reload(self._sources())
        self._webhook.reload(settings.alerts)
        logging.getLogger().setLevel(settings.logging.level.upper())
        self._settings_at, self._settings_errors = self._clock(), ()
        self._ledger.reloads["succeeded"] += 1

    def reload_failed(self, errors: Sequence[str]) -> None:
        """Record why the settings could not be read again; the previous ones stay in force."""
        self._settings_errors = errors
        self._ledger.reloads["failed"] += 1

    def _sources(self) -> dict[str, Source]:
        return {
            source.write_key.reveal(): Source(
                name,
                [(destination, self._mappers[destination]) for destination in source.destinations],
                self._maintenance.dedup,
            )
            for name, source in self._settings.sources.items()
        }

    # Its lifetime.

    async def run(self, stop: StopSignal) -> None:
        """Serve until stopped. Raises `GatewayError` when it cannot start."""
        async with AsyncExitStack() as stack:
            backlogs = await self._spool.open()
            stack.push_async_callback(self._spool.close)
            if self._listening is None:
                await self._admin.start()
                stack.push_async_callback(self._admin.stop)
            self._delivery.recover(backlogs)
            _log_backlog(backlogs)
            self._maintenance.start()

            async with asyncio.TaskGroup() as tasks:
                delivering = tasks.create_task(self._delivery.run(), name="delivery")
                committing = tasks.create_task(self._committer.run(), name="group commit")
                background = [
                    tasks.create_task(self._loop_lag.run(), name="loop lag"),
                    tasks.create_task(self._maintenance.run(), name="maintenance"),
                    tasks.create_task(self._webhook.run(), name="webhook"),
                ]
                try:
                    await self._serve(stop)
                    await self._drain(stop, committing)
                finally:
                    self._phase = "stopping"
                    self._ingest.stop_accepting()
                    self._committer.close()
                    await self._ingest.stop()
                    await self._delivery.stop()
                    await self._maintenance.save()
                    await self._webhook.flush(LAST_ALERTS_SECONDS)
                    for task in (*background, delivering):
                        task.cancel()
        log.info("stopped", extra={"waiting": self._ledger.waiting})

    async def _serve(self, stop: StopSignal) -> None:
        """Accept requests until a stop is requested; without sockets, wait until the spool is empty."""
        if self._listening is not None and not self._listening:
            self._phase = "serving"
            self.serving.set()
            while not self.is_drained:
                if await wait_for_event(stop.requested, timeout=1.0):
                    return
            stop.request_immediate()
            return
        await self._ingest.start(self._listening)
        self._phase = "serving"
        self.serving.set()
        if self._listening is None:
            publish_addresses(self._settings, self._ingest.port, self._admin.port)
        await stop.requested.wait()

    async def _drain(self, stop: StopSignal, committing: asyncio.Task[None]) -> None:
        """The two steps of an orderly stop; a second signal ends either."""
        server = self._settings.server
        self._phase = "stopping"
        log.info("stopping: accepting requests for another %g s", server.drain_delay)
        if not await run_unless(stop.immediate, asyncio.sleep(server.drain_delay)):
            return
        self._ingest.stop_accepting()
        self._committer.close()
        self._delivery.drain()

        async def drained() -> None:
            await asyncio.wait([committing])
            self._delivery.drain()
            await self._delivery.drained()

        if not await run_unless(stop.immediate, asyncio.wait_for(drained(), server.drain_timeout)):
            log.warning("stopped before all events were uploaded; the rest stays in the spool")


def serve(settings: Settings, config: Path, *, watch: bool = False) -> int:
    """Run a gateway of one or several processes until a signal stops it; the exit status.

    SIGHUP reads `config` again, and with `watch` a change of the file does.
    """
    configure_logging(settings.logging)
    return _run(lambda: _serve_until_stopped(settings, config, watch=watch))


async def _serve_until_stopped(settings: Settings, config: Path, *, watch: bool) -> None:
    stop = StopSignal()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.request)
    processes = worker_count(settings)
    orphaned = [number for number in _spool_numbers(settings) if number >= processes]
    if processes == 1 and not orphaned:
        tune_interpreter()
        app = GatewayApp(settings)
        async with reload_on_change(config, settings, app, watch=watch):
            await app.run(stop)
        return
    from gateway.runtime.supervisor import Supervisor  # noqa: PLC0415 (only for several processes)

    supervisor = Supervisor(settings, processes, orphaned, [sys.executable, "-m", "gateway.app"])
    async with reload_on_change(config, settings, supervisor, watch=watch):
        await supervisor.run(stop)


def worker_main(descriptor: int) -> int:
    """Run a worker process that the supervisor controls over an inherited socket; the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all processes; the supervisor handles them
    end = socket.socket(fileno=descriptor)
    return _run(lambda: run_worker(end, GatewayApp))


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run a coroutine on uvloop; its `GatewayError`s are logged, and the exit status is 1 then."""
    import uvloop  # noqa: PLC0415 (only for serving)

    errors: list[GatewayError] = []
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except* GatewayError as group:
        errors = list(flatten_errors(group))
    for error in errors:
        log.error("%s", error)
    return 1 if errors else 0


def worker_count(settings: Settings) -> int:
    """Number of processes that the settings ask for."""
    workers = settings.server.workers
    return len(os.sched_getaffinity(0)) if workers == "auto" else workers


def _spool_numbers(settings: Settings) -> Sequence[int]:
    """Numbers of the processes for which there is a spool file."""
    return spool_file_numbers(settings.spool) if settings.spool.engine is SpoolEngine.SQLITE else ()


def _compile_mappers(
    settings: Settings, previous: Mapping[str, DestinationSettings], mappers: Mapping[str, Mapper]
) -> dict[str, Mapper]:
    """A mapper for each destination. One whose settings did not change is kept, with its counters."""
    return {
        name: mappers[name]
        if name in mappers and previous.get(name) == destination
        else compile_mapper(name, destination, settings.server.max_event_bytes)
        for name, destination in settings.destinations.items()
    }


def _log_backlog(backlogs: Sequence[Backlog]) -> None:
    if events := sum(backlog.events for backlog in backlogs):
        log.info("recovered %d events from the spool", events, extra={"lanes": len(backlogs)})


if __name__ == "__main__":
    raise SystemExit(worker_main(int(sys.argv[1])))
