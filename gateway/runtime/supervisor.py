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
from gateway.dead_letters import AggregatedDeadLetters, DeadLetterOperations, ReplayResult
from gateway.ingest import bind
from gateway.model import DeadLetter, GatewayError
from gateway.runtime import wire
from gateway.runtime.ipc import WorkerClient, WorkerUnavailable
from gateway.runtime.lifecycle import StopSignal, publish_addresses, wait_for_event
from gateway.runtime.reload import check_reload_allowed
from gateway.runtime.worker import SpoolShard, WorkerSpec
from gateway.spool import DeadLetterFilter
from gateway.telemetry import Snapshot

log = logging.getLogger("gateway.runtime")

RESTART_DELAY = 0.5
"""Seconds before a worker that ended unexpectedly is restarted; doubled for each further failure."""
MAX_RESTART_DELAY = 30.0
STABLE_SECONDS = 60.0
"""Seconds after which a running worker counts as stable: its next failure counts as the first again."""
REPLY_TIMEOUT = 5.0
"""Seconds within which a worker must reply."""
KILL_GRACE = 10.0
"""Seconds beyond the drain time-out after which a worker is killed."""


class RemoteDeadLetters:
    """The dead letters of one worker."""

    def __init__(self, worker: WorkerClient) -> None:
        self._worker = worker

    async def find(self, after: int, limit: int, where: DeadLetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """See `DeadLetterOperations`."""
        page = await self._worker.call("find", after, limit, where)
        return [(number, wire.decode(DeadLetter, letter)) for number, letter in page]

    async def replay(self, where: DeadLetterFilter) -> ReplayResult:
        """See `DeadLetterOperations`."""
        return wire.decode(ReplayResult, await self._worker.call("replay", where))

    async def discard(self, where: DeadLetterFilter) -> int:
        """See `DeadLetterOperations`."""
        return int(await self._worker.call("discard", where))


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
        self._settings = settings
        self._command = command
        # Only the loop's thread changes these.
        self.restarts = 0
        self.client: WorkerClient | None = None  # while the worker serves
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, started: asyncio.Future[None]) -> None:
        """Keep a process running until `stop` is called.

        `started` is resolved once the first process serves, or gets the exception when that process cannot start.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            status = await self._run_process(started)
            if not started.done():
                started.set_exception(GatewayError(f"worker {self.shard.number} could not start; see its log messages"))
                return
            if self._stopping.is_set() or (status == 0 and not self.listening):
                return
            self.restarts += 1
            failures = 1 if loop.time() - began >= STABLE_SECONDS else failures + 1
            delay = backoff_delay(failures, base=RESTART_DELAY, maximum=MAX_RESTART_DELAY)
            log.error(
                "worker %d ended unexpectedly with status %d; restarting in %g s", self.shard.number, status, delay
            )
            if await wait_for_event(self._stopping, timeout=delay):
                return

    async def _run_process(self, started: asyncio.Future[None]) -> int:
        """Run one process from its start to its end; its exit status."""
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
        finally:
            theirs.close()
        client = WorkerClient(ours)
        try:
            with suppress(WorkerUnavailable):
                await client.open()
                spec = WorkerSpec(settings_to_json(self._settings()), self.shard, descriptors)
                await client.call("start", spec)
                self.client = client
                if not started.done():
                    started.set_result(None)
            return await process.wait()
        finally:
            self.client = None
            await client.close()
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def stop(self) -> None:
        """Request an orderly stop; the second call requests an immediate one."""
        self._stopping.set()
        if self.client is not None:
            with suppress(WorkerUnavailable):
                await self.client.call("stop", timeout=REPLY_TIMEOUT)
        elif self._process is not None and self._process.returncode is None:
            self._process.terminate()


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
        self._admin = AdminServer(settings.admin, self)
        self._phase = "starting"  # starting, serving, stopping: moves forward only

    # Called by the admin port.

    @property
    def dead_letters(self) -> DeadLetterOperations:
        """The dead letters of all workers."""
        return AggregatedDeadLetters({number: RemoteDeadLetters(client) for number, client in self._clients.items()})

    async def readiness(self) -> Sequence[str]:
        """Reasons why no requests should be sent to it; empty when every worker is ready."""
        reasons = [] if self._phase == "serving" else [self._phase]
        if self._phase == "serving":
            missing = (worker.shard.number for worker in self._workers if worker.listening and worker.client is None)
            reasons += [f"worker {number} is not running" for number in missing]
        for worker_reasons in await self._call_all("readiness"):
            reasons += [reason for reason in worker_reasons if reason not in reasons]
        return reasons

    async def snapshot(self) -> Snapshot:
        """Counts and states, added up over all workers."""
        total = Snapshot(workers=len(self._clients), restarts=sum(worker.restarts for worker in self._workers))
        total.ledger.add(self._own.ledger)
        for worker_snapshot in await self._call_all("snapshot"):
            total.add(wire.decode(Snapshot, worker_snapshot))
        total.started_at = self._started_at
        total.settings_at, total.settings_errors = self._settings_at, self._settings_errors
        total.reasons = await self.readiness()
        return total

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Probe the blocked lanes that match at once (None matches all); the number of blocked lanes."""
        return sum(await self._call_all("resume", destination, event_set))

    # Called on a reload.

    async def reload(self, settings: Settings) -> None:
        """Apply other settings in all workers. Raises `ConfigError`, and changes nothing, when they are not allowed."""
        check_reload_allowed(self._settings, settings)
        self._settings = settings
        await self._call_all("reload", settings_to_json(settings), timeout=None)
        logging.getLogger().setLevel(settings.logging.level.upper())
        self._settings_at, self._settings_errors = self._clock(), ()
        self._own.ledger.reloads["succeeded"] += 1

    def reload_failed(self, errors: Sequence[str]) -> None:
        """Record why the new settings could not be applied; the previous ones stay in force."""
        self._settings_errors = errors
        self._own.ledger.reloads["failed"] += 1

    @property
    def _clients(self) -> Mapping[int, WorkerClient]:
        return {worker.shard.number: worker.client for worker in self._workers if worker.client is not None}

    async def _call_all(self, method: str, *params: Any, timeout: float | None = REPLY_TIMEOUT) -> list[Any]:  # noqa: ASYNC109 (of each reply)
        """Call a method of all running workers; the results of those that reply in time."""
        calls = (client.call(method, *params, timeout=timeout) for client in self._clients.values())
        results = await asyncio.gather(*calls, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, WorkerUnavailable):
                raise result
        return [result for result in results if not isinstance(result, BaseException)]

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
            try:
                running += await self._start_all()
                await self._admin.start()
                stack.push_async_callback(self._admin.stop)
                self._phase = "serving"
                publish_addresses(self._settings, sockets.port, self._admin.port)
                await stop.requested.wait()
                sockets.release()  # otherwise new connections would wait in the queues of these sockets
                self._phase = "stopping"
            finally:
                await self._stop_all(stop, running)

    async def _start_all(self) -> list[asyncio.Task[None]]:
        """Start all workers and wait until each serves. Raises `GatewayError` when one cannot start."""
        loop = asyncio.get_running_loop()
        started = [loop.create_future() for _ in self._workers]
        running = [
            asyncio.create_task(worker.run(future), name=f"worker {worker.shard.number}")
            for worker, future in zip(self._workers, started, strict=True)
        ]
        try:
            await asyncio.gather(*started)
        except BaseException:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            raise
        return running

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
