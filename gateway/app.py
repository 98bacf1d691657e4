"""One gateway process: creates and connects the parts of all packages, and starts and stops them in order.

They start in the order spool, delivery, group commit, HTTP ports. An orderly stop has two steps. First `/readyz`
answers 503 while requests are still accepted for `server.drain_delay`. Then no request is accepted, and the accepted
events are uploaded for at most `server.drain_timeout`; the rest stays in the spool. A second signal stops at once.
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

if __name__ == "__main__":
    # A worker process. A terminal sends these signals to all processes, and the supervisor handles them. They are
    # ignored before the imports below, which take half a second.
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)

from gateway.admin import AdminServer
from gateway.config import DestinationSettings, Settings, SpoolEngine
from gateway.console import Console
from gateway.dead_letters import DeadLetterService
from gateway.delivery import DeliveryService
from gateway.history import HistoryPage, HistoryQuery, HistoryUnavailable
from gateway.ingest import Ingest, Source
from gateway.mapping import Mapper, compile_mapper
from gateway.mapping.native import describe
from gateway.memory_budget import MemoryBudget
from gateway.meta import DatasetQuality
from gateway.model import Backlog, GatewayError
from gateway.runtime.lifecycle import (
    StopSignal,
    flatten_errors,
    keep_running,
    publish_addresses,
    run_unless,
    tune_interpreter,
    wait_for_event,
)
from gateway.runtime.maintenance import MaintenanceTasks
from gateway.runtime.records import ConsoleRecords, create_trace, trace_path
from gateway.runtime.rejections import RejectionMonitor
from gateway.runtime.reload import check_reload_allowed, reload_on_change
from gateway.runtime.worker import SpoolShard, run_worker
from gateway.spool import GroupCommitter, create_spool, spool_file_numbers
from gateway.tap import Tap, TapPage
from gateway.tap import without_ids as tap_without_ids
from gateway.telemetry import Coverage, Ledger, Snapshot, SpoolStatistics
from gateway.telemetry.logging import configure_logging
from gateway.telemetry.loop_lag import LoopLag
from gateway.telemetry.webhook import LAST_ALERTS_SECONDS, WebhookNotifier
from gateway.trace import TraceResult, discard_trace, merge, with_waiting_reasons, without_ids

log = logging.getLogger("gateway.app")

WHOLE_SPOOL = SpoolShard()


class GatewayApp:
    """A gateway in one process. `run` serves until it is stopped; the other methods are called by the admin server."""

    def __init__(
        self,
        settings: Settings,
        shard: SpoolShard = WHOLE_SPOOL,
        listening: Sequence[socket.socket] | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`listening`: bound sockets for senders.

        None: this is the only process; it binds the sockets itself and serves the admin port. Empty: a drain-only
        worker, which accepts no requests and ends when the spool of an earlier process is empty.
        """
        self._settings = settings
        self._listening = listening
        self._clock = clock
        self._started_at = self._settings_at = clock()
        self._settings_errors: Sequence[str] = ()
        self._ledger = Ledger()
        self._mappers = _compile_mappers(settings, {}, {})
        self._past_coverage: dict[str, Coverage] = {}  # of mappers that a reload replaced, by destination
        self._loop_lag = LoopLag()
        self._webhook = WebhookNotifier(settings.alerts, self._ledger)
        self._rejections = RejectionMonitor(settings.alerts, self._webhook.notify, clock)
        self._spool = create_spool(settings.spool, clock, shard.number, shard.size_share)
        self._budget = MemoryBudget(settings.server.max_memory)
        self._shard = shard
        self._tap = Tap()
        self._trace = create_trace(settings, shard.number, shard.size_share, clock)
        self._records = ConsoleRecords(settings, self.snapshot, clock) if listening is None else None
        self._delivery = DeliveryService(
            settings.destinations,
            self._spool,
            self._ledger,
            clock=clock,
            notify=self._webhook.notify,
            budget=self._budget,
            rate_share=shard.rate_share,
            lane_quota=int(settings.spool.max_bytes * shard.size_share * settings.spool.lane_quota),
            max_lanes=max(1, int(settings.spool.max_lanes * shard.size_share)),
            trace=self._trace,
        )
        self.dead_letters = DeadLetterService(
            self._spool,
            settings.destinations,
            self._mappers,
            stored=self._delivery.stored,
            clock=clock,
            admit=self._delivery.admit,
        )
        self._committer = GroupCommitter(self._spool, self._delivery, self._budget)
        self._maintenance = MaintenanceTasks(settings, self._spool, self._ledger, clock, shard.number, shard.size_share)
        self._ingest = Ingest(
            settings.server, self._sources(), self._committer, self._ledger, self._budget, clock, self._tap
        )
        site = Console(self, clock) if listening is None and settings.console.enabled else None
        self._admin = AdminServer(settings.admin, self, site=site)
        self._phase = "starting"  # starting, serving, stopping: moves forward only
        self.serving = asyncio.Event()
        """Set once requests are accepted, or, in a drain-only worker, once the spool is open."""

    # Called by the admin port.

    async def snapshot(self) -> Snapshot:
        """Its counts and states."""
        self._maintenance.count_purged()
        return Snapshot(
            started_at=self._started_at,
            reasons=await self.readiness(),
            ledger=self._ledger,
            spool=self._spool.statistics(),
            lanes=self._delivery.statistics(),
            coverage=self._coverage(),
            loop_lag=self._loop_lag.seconds,
            orphans=self._delivery.orphans,
            settings_at=self._settings_at,
            settings_errors=self._settings_errors,
            warnings=self._delivery.version_warnings,
            mapping=describe(),
            rejection_rates=self._rejections.above,
        )

    def counters(self) -> Snapshot:
        """See `Snapshot.counters`."""
        self._maintenance.count_purged()
        return Snapshot(
            ledger=self._ledger,
            spool=SpoolStatistics(commits=self._spool.statistics().commits),
            coverage=self._coverage(),
            loop_lag=self._loop_lag.seconds,
            orphans=self._delivery.orphans,
        )

    async def readiness(self) -> Sequence[str]:
        """Reasons why no requests should be sent to it; empty when it is ready."""
        reasons = [] if self._phase == "serving" else [self._phase]
        if self._committer.unavailable_reason:
            reasons.append(self._committer.unavailable_reason)
        return reasons

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Call at once for the blocked and throttled lanes that match (None matches all); their number."""
        return self._delivery.resume(destination, event_set)

    @property
    def settings(self) -> Settings:
        """The settings in force, but for those that need a restart."""
        return self._settings

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Counts over time. Raises `HistoryUnavailable`."""
        if self._records is None:
            raise HistoryUnavailable("the supervisor has the history of its workers")
        return await self._records.history(query)

    async def trace(self, identifier: str) -> TraceResult:
        """What became of the accepted events with this message ID or order ID."""
        if self._trace is None:
            return TraceResult(is_enabled=False)
        result = with_waiting_reasons(await self._trace.find(identifier), self._delivery.statistics())
        if not self._settings.console.show_ids:
            result = without_ids(result)
        if self._records is None:
            return result
        return merge([result, *await self._records.ended_traces({self._shard.number}, identifier)])

    async def tap(self, cursor: str) -> TapPage:
        """The events that passed since the poll that returned `cursor`."""
        page = self._tap.poll(cursor)
        return page if self._settings.console.show_ids else tap_without_ids(page)

    async def quality(self) -> Sequence[DatasetQuality]:
        """What Meta says about each dataset in the settings."""
        return await self._records.quality() if self._records is not None else []

    @property
    def is_drained(self) -> bool:
        """Whether the spool is empty: no event is waiting for any destination, and no dead letter is kept."""
        return not (self._ledger.waiting or self._delivery.orphans or self._spool.statistics().dead_letters)

    # Called on a reload.

    async def reload(self, settings: Settings) -> None:
        """Apply other settings without losing or repeating an event.

        Sources, destinations, alerts and the log level change at once, the sections in `FIXED_SECTIONS` at the next
        start. Raises `ConfigError`, and changes nothing, when the change is not allowed.
        """
        check_reload_allowed(self._settings, settings)
        mappers = await asyncio.to_thread(_compile_mappers, settings, self._settings.destinations, self._mappers)
        await self._maintenance.reload(settings)
        if self._records is not None:
            await self._records.reload(settings)
        # Nothing below can fail or wait: either all of the settings are applied, or none.
        self._keep_coverage(mappers)
        self._settings, self._mappers = settings, mappers
        self._delivery.reload(settings.destinations)
        self.dead_letters.reload(settings.destinations, mappers)
        self._ingest.reload(self._sources())
        self._webhook.reload(settings.alerts)
        self._rejections.reload(settings.alerts)
        logging.getLogger().setLevel(settings.logging.level.upper())
        self._settings_at, self._settings_errors = self._clock(), ()
        self._ledger.reloads["succeeded"] += 1

    def reload_failed(self, errors: Sequence[str]) -> None:
        """Record why the new settings could not be applied; the previous ones stay in force."""
        self._settings_errors = errors
        self._ledger.reloads["failed"] += 1

    def _keep_coverage(self, mappers: Mapping[str, Mapper]) -> None:
        """Keep the counters of the mappers that are replaced, so that no counter falls at a reload."""
        past = self._past_coverage
        for name, mapper in self._mappers.items():
            if name not in mappers:
                past.pop(name, None)
            elif mappers[name] is not mapper:
                past[name] = past[name] + mapper.coverage() if name in past else mapper.coverage()

    def _coverage(self) -> dict[str, Coverage]:
        past = self._past_coverage
        current = {name: mapper.coverage() for name, mapper in self._mappers.items()}
        return {name: past[name] + coverage if name in past else coverage for name, coverage in current.items()}

    def _sources(self) -> dict[str, Source]:
        return {
            source.write_key.reveal(): Source(
                name,
                [(destination, self._mappers[destination]) for destination in source.destinations],
                self._maintenance.dedup,
            )
            for name, source in self._settings.sources.items()
        }

    # The main task.

    async def run(self, stop: StopSignal) -> None:
        """Serve until stopped. Raises `GatewayError` when it cannot start."""
        async with AsyncExitStack() as stack:
            backlogs = await self._spool.open()
            stack.push_async_callback(self._spool.close)
            await self._start_records(stack, backlogs)
            if self._listening is None:
                await self._admin.start()
                stack.push_async_callback(self._admin.stop)
            self._delivery.recover(backlogs)
            _log_backlog(backlogs)
            self._maintenance.start()

            async with asyncio.TaskGroup() as tasks:
                delivering = tasks.create_task(self._delivery.run(), name="delivery")
                committing = tasks.create_task(self._committer.run(), name="group commit")
                # Delivery and group commit are fatal: without them no event is safe. The others are started again.
                background = [
                    tasks.create_task(keep_running(name, run), name=name)
                    for name, run in (
                        ("loop lag", self._loop_lag.run),
                        ("save message IDs", self._maintenance.run_saves),
                        ("purge dead letters", self._maintenance.run_purges),
                        ("webhook", self._webhook.run),
                        *([("rejections", self._watch_rejections)] if self._listening is None else []),
                        *([("event trace", self._trace.run)] if self._trace is not None else []),
                        *([("history", self._records.run)] if self._records is not None else []),
                    )
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
                    try:
                        await self._maintenance.save()
                    except Exception:
                        log.exception("the last message IDs were not saved; events with them may be accepted twice")
                    if self._listening is None:
                        self._rejections.flush([self._ledger])
                    await self._webhook.flush(LAST_ALERTS_SECONDS)
                    for task in (*background, delivering):
                        task.cancel()
        log.info("stopped", extra={"waiting": self._ledger.waiting})

    async def _watch_rejections(self) -> None:
        """Watch the rejections of the only process; with several, the supervisor watches those of all."""
        await self._rejections.run(self._ledger)

    async def _start_records(self, stack: AsyncExitStack, backlogs: Sequence[Backlog]) -> None:
        """Prepare the event trace and the history, and close them at the end. The spool's folder is locked by now."""
        if self._records is not None:
            stack.push_async_callback(self._records.close)
        if self._trace is not None:
            stack.push_async_callback(self._trace.close)
            await self._trace.start(backlogs)
        elif (path := trace_path(self._settings, self._shard.number)) is not None:
            await asyncio.to_thread(discard_trace, path)

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
            log.warning("stopped before all events were uploaded; the rest stays in the spool until the next start")


def serve(settings: Settings, config: Path, *, watch: bool = False) -> int:
    """Run a gateway of one or several processes until a signal stops it; the exit status.

    `config` is read again on SIGHUP and, with `watch`, when the file changes.
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
    end = socket.socket(fileno=descriptor)
    return _run(lambda: run_worker(end, GatewayApp))


def _run(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run a coroutine on uvloop; the exit status. `GatewayError`s are logged, and the status is then 1."""
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
    """The number of processes; `server.workers = "auto"` means one for each CPU that this process may use."""
    workers = settings.server.workers
    return len(os.sched_getaffinity(0)) if workers == "auto" else workers


def _spool_numbers(settings: Settings) -> Sequence[int]:
    """Numbers of the processes that have a spool file."""
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
