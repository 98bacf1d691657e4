"""Runs several worker processes as one gateway: starts, restarts, stops and reloads them, and adds up their counts.

The supervisor binds the sockets and serves the admin port; no event passes through it. Workers share nothing: each has
its own spool file and lanes, and a share of each lane's request rate. When an earlier run had more workers, drain-only
workers upload the events in the remaining spool files: they accept no requests and end when their file is empty.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from gateway.admin import AdminServer
from gateway.backoff import backoff_delay
from gateway.config import Settings, settings_to_json
from gateway.console import Console
from gateway.dead_letters import AggregatedDeadLetters, DeadLetterOperations, ReplayPreview, ReplayResult
from gateway.history import HistoryPage, HistoryQuery
from gateway.ingest import bind
from gateway.meta import DatasetQuality
from gateway.model import DeadLetter, GatewayError, JsonObject
from gateway.runtime.counts import WorkerCounts
from gateway.runtime.ipc import WorkerClient, WorkerUnavailable
from gateway.runtime.lifecycle import StopSignal, keep_running, publish_addresses, wait_for_event
from gateway.runtime.records import ConsoleRecords
from gateway.runtime.rejections import RejectionMonitor
from gateway.runtime.reload import check_reload_allowed
from gateway.runtime.worker import SpoolShard, WorkerSpec
from gateway.spool import DeadLetterFilter
from gateway.tap import TapPage, merge_pages, split_cursor
from gateway.telemetry import Ledger, Snapshot
from gateway.telemetry.webhook import LAST_ALERTS_SECONDS, WebhookNotifier
from gateway.trace import TraceResult, merge

log = logging.getLogger("gateway.runtime")

RESTART_DELAY = 0.5
"""Seconds before a worker that ended unexpectedly is restarted; doubled for each further failure."""
MAX_RESTART_DELAY = 30.0
STABLE_SECONDS = 60.0
"""Seconds after which a running worker counts as stable: its next failure counts as the first again."""
REPLY_TIMEOUT = 5.0
"""Seconds within which a worker must reply."""
FIND_TIMEOUT = 30.0
"""Seconds for reading a page of dead letters."""
ACTION_TIMEOUT = 3600.0
"""Seconds for replaying or discarding dead letters. The worker continues after that."""
RELOAD_TIMEOUT = 60.0
"""Seconds within which a worker must have applied other settings. Otherwise it is killed, and restarted with them."""
COUNT_INTERVAL = 1.0
"""Seconds between two readings of the workers' counters. What a killed worker counted after the last one is lost."""
QUEUE_SECONDS = 5.0
"""Seconds for which connections to a worker that is not running wait in the queue of its socket. After that no process
listens on it until the worker starts again, so that the kernel distributes new connections over the other workers."""
EXIT_SECONDS = 10.0
"""Seconds in which a worker has to exit after it closed the connection to the supervisor."""
KILL_GRACE = 10.0
"""Seconds beyond the drain time-out after which a worker is killed."""


class RemoteDeadLetters:
    """The dead letters of one worker."""

    def __init__(self, worker: WorkerClient) -> None:
        self._worker = worker

    async def find(self, after: int, limit: int, where: DeadLetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """See `DeadLetterOperations`."""
        return await self._worker.fetch(list[tuple[int, DeadLetter]], "find", after, limit, where, timeout=FIND_TIMEOUT)

    async def codes(self) -> Mapping[str, int]:
        """See `DeadLetterOperations`."""
        return await self._worker.fetch(dict[str, int], "codes", timeout=FIND_TIMEOUT)

    async def preview(self, where: DeadLetterFilter) -> ReplayPreview:
        """See `DeadLetterOperations`."""
        return await self._worker.fetch(ReplayPreview, "preview", where, timeout=FIND_TIMEOUT)

    async def replay(self, where: DeadLetterFilter) -> ReplayResult:
        """See `DeadLetterOperations`."""
        return await self._worker.fetch(ReplayResult, "replay", where, timeout=ACTION_TIMEOUT)

    async def discard(self, where: DeadLetterFilter) -> int:
        """See `DeadLetterOperations`."""
        return await self._worker.fetch(int, "discard", where, timeout=ACTION_TIMEOUT)


class WorkerProcess:
    """One worker and its current process; the process is replaced when it ends unexpectedly."""

    def __init__(
        self,
        shard: SpoolShard,
        listening: Sequence[socket.socket],
        settings: Callable[[], Settings],
        command: Sequence[str],
    ) -> None:
        """`command` starts a worker process; the descriptor of its end of the socket pair is appended to it."""
        self.shard = shard
        self.listening = listening
        self.counts = WorkerCounts(shard.number)
        self._settings = settings
        self._command = command
        # Only the loop's thread changes these.
        self.restarts = 0
        self.client: WorkerClient | None = None  # while the worker serves
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._processes = 0  # started so far
        self._down_since = 0.0  # loop time at which it stopped serving

    async def run(self, started: asyncio.Future[None]) -> None:
        """Keep a process running until `stop` is called.

        `started` is resolved once the first process serves, or gets the exception when that process cannot start.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            try:
                status: int | None = await self._run_process(started)
                cause = f"ended unexpectedly with status {status}"
            except OSError as error:  # no memory, processes, descriptors, or the address is in use
                status, cause = None, f"could not start: {error.strerror or type(error).__name__}"
            except Exception as error:
                log.exception("worker %d failed with an internal error of the supervisor", self.shard.number)
                status, cause = None, f"failed: {type(error).__name__}"
            if not started.done():
                if status is not None:
                    cause = f"could not start: it ended with status {status}; see its log messages"
                started.set_exception(GatewayError(f"worker {self.shard.number} {cause}"))
                return
            if self._stopping.is_set() or (status == 0 and not self.listening):
                return
            self.restarts += 1
            failures = 1 if loop.time() - began >= STABLE_SECONDS else failures + 1
            delay = backoff_delay(failures, base=RESTART_DELAY, maximum=MAX_RESTART_DELAY)
            log.error("worker %d %s; restarting in %g s", self.shard.number, cause, delay)
            if loop.time() + delay - self._down_since > QUEUE_SECONDS:
                self._stop_listening()
            if await wait_for_event(self._stopping, timeout=delay):
                return

    async def _run_process(self, started: asyncio.Future[None]) -> int:
        """Run one process from its start to its end; its exit status. Raises `OSError` when it cannot be started."""
        ours, theirs = socket.socketpair()
        descriptors = [listener.fileno() for listener in self.listening]
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *self._command,
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno(), *descriptors],
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._processes += 1
        client = WorkerClient(ours)
        exited = asyncio.create_task(process.wait(), name=f"exit of worker {self.shard.number}")
        try:
            if self._stopping.is_set():  # it was set while the process was created
                process.terminate()
            await client.open()
            ends: list[asyncio.Future[Any]] = [client.reading, exited]
            with suppress(WorkerUnavailable):
                await self._start(client, descriptors)
                self.client = client
                if not started.done():
                    started.set_result(None)
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                self._stopped_serving()
            if not client.is_broken:
                # It closes the connection and exits, in this order. Its last message may not have been read yet.
                await asyncio.wait(ends, timeout=EXIT_SECONDS)
            with suppress(WorkerUnavailable):
                if (final := client.final(Snapshot)) is not None:
                    self.counts.update(final, self._processes)
        finally:
            self._stopped_serving()
            await client.close()
            if process.returncode is None:
                process.kill()
            await exited
        return exited.result()

    def _stopped_serving(self) -> None:
        if self.client is not None:
            self.client = None
            self._down_since = asyncio.get_running_loop().time()

    async def _start(self, client: WorkerClient, descriptors: list[int]) -> None:
        """Start the worker in its process, and apply settings that were reloaded meanwhile."""
        settings = self._settings()
        await client.call("start", WorkerSpec(settings_to_json(settings), self.shard, descriptors))
        while (current := self._settings()) != settings:
            settings = current
            await client.call("reload", settings_to_json(settings), timeout=RELOAD_TIMEOUT)

    async def read_counters(self) -> None:
        """Update `counts`, if the worker replies in time."""
        if self.client is not None:
            process = self._processes
            with suppress(GatewayError):
                counters = await self.client.fetch(Snapshot, "counters", timeout=REPLY_TIMEOUT)
                self.counts.update(counters, process)

    async def snapshot(self) -> Snapshot | None:
        """The state of the worker, whose counters also update `counts`; None if it does not reply in time."""
        if self.client is not None:
            process = self._processes
            with suppress(GatewayError):
                snapshot = await self.client.fetch(Snapshot, "snapshot", timeout=REPLY_TIMEOUT)
                self.counts.update(snapshot.counters(), process)
                return snapshot
        return None

    async def readiness(self) -> Sequence[str] | None:
        """Why it should get no requests; None if it does not run or does not reply in time."""
        if self.client is not None:
            with suppress(GatewayError):
                return await self.client.fetch(list[str], "readiness", timeout=REPLY_TIMEOUT)
        return None

    async def trace(self, identifier: str) -> TraceResult:
        """What became of the events with an ID that it accepted."""
        with suppress(GatewayError):
            if self.client is not None:
                return await self.client.fetch(TraceResult, "trace", identifier, timeout=FIND_TIMEOUT)
        return TraceResult(failure=f"Worker {self.shard.number} does not answer; its events are not included.")

    async def tap(self, cursor: str) -> TapPage | None:
        """The events that passed since the poll that returned `cursor`; None if it does not run or reply in time."""
        with suppress(GatewayError):
            if self.client is not None:
                return await self.client.fetch(TapPage, "tap", cursor, timeout=REPLY_TIMEOUT)
        return None

    async def reload(self, settings: JsonObject) -> None:
        """Apply other settings. A running worker that cannot do it is killed, and restarted with them."""
        client, process = self.client, self._process
        if client is None or process is None:
            return
        try:
            await client.call("reload", settings, timeout=RELOAD_TIMEOUT)
        except GatewayError:
            if self.client is client and process.returncode is None:
                log.exception("worker %d did not apply the new settings and is killed", self.shard.number)
                process.kill()

    async def stop(self) -> None:
        """Request an orderly stop; the second call requests an immediate one."""
        self._stopping.set()
        if self.client is not None:
            with suppress(WorkerUnavailable):
                await self.client.call("stop", timeout=REPLY_TIMEOUT)
        elif self._process is not None and self._process.returncode is None:
            self._process.terminate()

    def _stop_listening(self) -> None:
        """Reset the connections in the queues of the TCP sockets; the kernel distributes later ones over other workers.

        The sockets stay bound, and the next process listens on them again. Only while no process uses them.
        """
        for listener in self.listening:
            if listener.family == socket.AF_UNIX or listener.fileno() < 0:
                continue  # shared with the other workers, or closed because the gateway stops
            if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                continue  # Linux would mark it as shut down, and all connections of the next process with it
            address = listener.getsockname()
            with suppress(OSError):  # the system does not support this
                listener.shutdown(socket.SHUT_RD)
            with suppress(OSError):  # Linux keeps the port unless it was chosen by the system
                listener.bind(address)


class Supervisor:
    """The workers and the admin port of one gateway."""

    def __init__(
        self,
        settings: Settings,
        processes: int,
        orphaned: Sequence[int],
        command: Sequence[str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`orphaned`: numbers of spool files that belong to no worker; a drain-only worker is started for each."""
        self._settings = settings
        self._clock = clock
        self._processes = processes
        self._orphaned = orphaned
        self._command = command
        self._workers: list[WorkerProcess] = []
        self._started_at = self._settings_at = clock()
        self._settings_errors: Sequence[str] = ()
        self._own = Snapshot()  # the supervisor's own counts
        self._webhook = WebhookNotifier(settings.alerts, self._own.ledger)
        self._rejections = RejectionMonitor(settings.alerts, self._webhook.notify, clock)
        self._records = ConsoleRecords(settings, self.snapshot, clock)
        site = Console(self, clock) if settings.console.enabled else None
        self._admin = AdminServer(settings.admin, self, site=site)
        self._phase = "starting"  # starting, serving, stopping: moves forward only

    # Called by the admin port.

    @property
    def dead_letters(self) -> DeadLetterOperations:
        """The dead letters of all workers."""
        return AggregatedDeadLetters({number: RemoteDeadLetters(client) for number, client in self._clients.items()})

    async def readiness(self) -> Sequence[str]:
        """Reasons why no requests should be sent to it; empty when every worker is ready."""
        return self._reasons(await asyncio.gather(*(worker.readiness() for worker in self._workers)))

    def _reasons(self, by_worker: Sequence[Sequence[str] | None]) -> Sequence[str]:
        """All reasons of the workers, each once; None of a worker means that it does not run or reply."""
        if self._phase != "serving":
            return [self._phase]
        reasons: dict[str, None] = {}
        for worker, given in zip(self._workers, by_worker, strict=True):
            if given is not None:
                reasons.update(dict.fromkeys(given))
            elif worker.listening:
                reasons[f"worker {worker.shard.number} is not running"] = None
        return list(reasons)

    async def snapshot(self) -> Snapshot:
        """Counts and states, added up over all workers. Counters include those of processes that ended."""
        total = Snapshot(workers=len(self._clients), restarts=sum(worker.restarts for worker in self._workers))
        total.ledger.add(self._own.ledger)
        running = await asyncio.gather(*(worker.snapshot() for worker in self._workers))
        for worker, state in zip(self._workers, running, strict=True):
            total.add(worker.counts.total())
            if state is not None:
                total.add(state.gauges())
        total.started_at = self._started_at
        total.settings_at, total.settings_errors = self._settings_at, self._settings_errors
        total.rejection_rates = self._rejections.above
        total.reasons = self._reasons([None if state is None else state.reasons for state in running])
        return total

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Call at once for the blocked and throttled lanes that match (None matches all); their number."""
        resumed = 0
        for client in self._clients.values():
            with suppress(WorkerUnavailable):
                resumed += await client.fetch(int, "resume", destination, event_set, timeout=REPLY_TIMEOUT)
        return resumed

    @property
    def settings(self) -> Settings:
        """The settings in force, but for those that need a restart."""
        return self._settings

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Counts over time. Raises `HistoryUnavailable`."""
        return await self._records.history(query)

    async def trace(self, identifier: str) -> TraceResult:
        """What became of the accepted events with this message ID or order ID."""
        workers = [worker for worker in self._workers if worker.listening or worker.client is not None]
        results = await asyncio.gather(*(worker.trace(identifier) for worker in workers))
        running = {worker.shard.number for worker in workers}
        return merge([*results, *await self._records.ended_traces(running, identifier)])

    async def tap(self, cursor: str) -> TapPage:
        """The events that passed since the poll that returned `cursor`."""
        cursors = split_cursor(cursor)
        workers = [worker for worker in self._workers if worker.listening]
        polled = await asyncio.gather(*(worker.tap(cursors.get(worker.shard.number, "")) for worker in workers))
        pages = {worker.shard.number: page for worker, page in zip(workers, polled, strict=True) if page is not None}
        return merge_pages(pages)

    async def quality(self) -> Sequence[DatasetQuality]:
        """What Meta says about each dataset in the settings."""
        return await self._records.quality()

    # Called on a reload.

    async def reload(self, settings: Settings) -> None:
        """Apply other settings in all workers. Raises `ConfigError`, and changes nothing, when they are not allowed."""
        check_reload_allowed(self._settings, settings)
        self._settings = settings
        encoded = settings_to_json(settings)
        await asyncio.gather(*(worker.reload(encoded) for worker in self._workers))
        self._webhook.reload(settings.alerts)
        self._rejections.reload(settings.alerts)
        await self._records.reload(settings)
        logging.getLogger().setLevel(settings.logging.level.upper())
        self._settings_at, self._settings_errors = self._clock(), ()
        self._own.ledger.reloads["succeeded"] += 1

    def reload_failed(self, errors: Sequence[str]) -> None:
        """Record why the new settings could not be applied; the previous ones stay in force."""
        self._settings_errors = errors
        self._own.ledger.reloads["failed"] += 1

    @property
    def _ledgers(self) -> Sequence[Ledger]:
        """The counters of all processes, including those that ended."""
        return [ledger for worker in self._workers for ledger in worker.counts.ledgers]

    @property
    def _clients(self) -> Mapping[int, WorkerClient]:
        return {worker.shard.number: worker.client for worker in self._workers if worker.client is not None}

    # The main task.

    async def run(self, stop: StopSignal) -> None:
        """Run all workers until stopped. Raises `GatewayError` when one cannot start."""
        async with AsyncExitStack() as stack:
            sockets = bind(self._settings.server, self._processes)
            stack.callback(sockets.close)
            rate_share = 1 / (self._processes + len(self._orphaned))
            for number in [*range(self._processes), *self._orphaned]:
                listening = sockets.of(number) if number < self._processes else ()
                shard = SpoolShard(number, 1 / self._processes, rate_share)
                self._workers.append(WorkerProcess(shard, listening, lambda: self._settings, self._command))
            running: list[asyncio.Task[None]] = []
            background = [
                asyncio.create_task(keep_running(name, task), name=name)
                for name, task in (
                    ("read counters", self._read_counters),
                    ("webhook", self._webhook.run),
                    ("history", self._records.run),
                )
            ]
            try:
                running += await self._start_all(stop)
                if not stop.requested.is_set():
                    await self._admin.start()
                    stack.push_async_callback(self._admin.stop)
                    self._phase = "serving"
                    publish_addresses(self._settings, sockets.port, self._admin.port)
                await stop.requested.wait()
                sockets.release()  # otherwise new connections would wait in the queues of these sockets
                self._phase = "stopping"
            finally:
                await self._stop_all(stop, running)
                self._rejections.flush(self._ledgers)
                await self._webhook.flush(LAST_ALERTS_SECONDS)
                for task in background:
                    task.cancel()
                await asyncio.wait(background)
                await self._records.close()

    async def _start_all(self, stop: StopSignal) -> list[asyncio.Task[None]]:
        """Start all workers, and wait until each serves or a stop is requested.

        Raises `GatewayError` when one cannot start.
        """
        loop = asyncio.get_running_loop()
        started = [loop.create_future() for _ in self._workers]
        running = [
            asyncio.create_task(worker.run(future), name=f"worker {worker.shard.number}")
            for worker, future in zip(self._workers, started, strict=True)
        ]
        serving: asyncio.Future[Any] = asyncio.gather(*started)
        stopping: asyncio.Future[Any] = asyncio.create_task(stop.requested.wait())
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        except BaseException:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            raise
        finally:
            serving.cancel()
            stopping.cancel()
        return running

    async def _read_counters(self) -> None:
        """Read the counters of all workers at an interval, until cancelled."""
        while True:
            await asyncio.gather(*(worker.read_counters() for worker in self._workers))
            self._rejections.update(self._ledgers)
            await asyncio.sleep(COUNT_INTERVAL)

    async def _stop_all(self, stop: StopSignal, running: Sequence[asyncio.Task[None]]) -> None:
        """Stop all workers in order; on a second signal, at once. Workers that do not end in time are killed."""
        if not running:
            return
        server = self._settings.server
        forwarding = asyncio.create_task(self._forward_stop(stop))
        _, late = await asyncio.wait(running, timeout=server.drain_delay + server.drain_timeout + KILL_GRACE)
        forwarding.cancel()
        for task in late:
            log.error(
                "%s did not stop in time and is killed; the rest of its events is uploaded after the next start",
                task.get_name(),
            )
            task.cancel()
        await asyncio.wait(running)
        log.info("stopped")

    async def _forward_stop(self, stop: StopSignal) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        await stop.immediate.wait()
        await asyncio.gather(*(worker.stop() for worker in self._workers))
