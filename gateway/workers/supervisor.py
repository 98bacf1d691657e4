"""Several processes as one gateway: started, started again when they end by themselves, stopped, reloaded, and told.

The supervisor binds what they listen on and has the face for operators; no event passes through it. Workers share
nothing: each has a spool file, buffers and lanes of its own, and its part of each lane's pace. Where an earlier start
had more processes, what they left is carried by heirs: workers that take no requests and end when nothing is left.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from gateway.admin import Admin
from gateway.config import Settings
from gateway.dead_letters import JointDesk, Letters, Replayed
from gateway.ingest import bind
from gateway.model import DeadLetter, GatewayError
from gateway.reloading import may_follow
from gateway.service import Part, Stop, announce, happens
from gateway.spool import LetterFilter
from gateway.telemetry import Snapshot
from gateway.workers.channel import Remote, WorkerGone
from gateway.workers.worker import Orders

log = logging.getLogger("gateway.workers")

FIRST_PAUSE = 0.5
"""Seconds before a worker that ended by itself is started again; doubled each time, until one has lived for `LONG`."""
LONGEST_PAUSE = 30.0
LONG = 60.0
ANSWER_SECONDS = 5.0
"""Within which a worker says how it is."""
GRACE = 10.0
"""Seconds beyond the time to drain after which a worker is killed."""


class RemoteDesk:
    """The dead letters of a worker."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def letters(self, after: int, limit: int, where: LetterFilter) -> Sequence[tuple[int, DeadLetter]]:
        """See `Letters`."""
        found: Sequence[tuple[int, DeadLetter]] = await self._remote.call("letters", after, limit, where)
        return found

    async def replay(self, where: LetterFilter) -> Replayed:
        """See `Letters`."""
        done: Replayed = await self._remote.call("replay", where)
        return done

    async def discard(self, where: LetterFilter) -> int:
        """See `Letters`."""
        gone: int = await self._remote.call("discard", where)
        return gone


class Worker:
    """One worker, through all its processes."""

    def __init__(self, part: Part, listening: Sequence[socket.socket], settings: Callable[[], Settings]) -> None:
        self.part = part
        self.listening = listening
        self._settings = settings
        # Only the loop's thread touches these.
        self.restarts = 0
        self.remote: Remote | None = None  # while it serves
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self, started: asyncio.Future[None]) -> None:
        """Keep it running until `stop`. A first start that fails is the exception of `started`."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            began = loop.time()
            status = await self._live(started)
            if not started.done():
                started.set_exception(GatewayError(f"worker {self.part.number} could not start; its log line says why"))
                return
            if self._stopping.is_set() or (status == 0 and not self.listening):
                return
            self.restarts += 1
            if loop.time() - began >= LONG:
                pause = FIRST_PAUSE
            log.error(
                "worker %d ended by itself (status %d) and is started again in %g s", self.part.number, status, pause
            )
            if await happens(self._stopping, within=pause):
                return
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _live(self, started: asyncio.Future[None]) -> int:
        """One process from its start to its end; its exit status."""
        mine, its = socket.socketpair()
        descriptors = [one.fileno() for one in self.listening]
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway.workers", str(its.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[its.fileno(), *descriptors],
                start_new_session=True,
            )
        finally:
            its.close()
        remote = Remote(mine)
        try:
            with suppress(WorkerGone):
                await remote.open(Orders(self._settings(), self.part, descriptors))
                await remote.call("started")
                self.remote = remote
                if not started.done():
                    started.set_result(None)
            return await process.wait()
        finally:
            self.remote = None
            await remote.close()
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def stop(self) -> None:
        """Ask it to stop; asked twice, it stops at once."""
        self._stopping.set()
        if self.remote is not None:
            with suppress(WorkerGone):
                await self.remote.call("stop", within=ANSWER_SECONDS)
        elif self._process is not None and self._process.returncode is None:
            self._process.terminate()


class Supervisor:
    """The workers, and the face for operators. `run` is its whole life."""

    def __init__(
        self, settings: Settings, processes: int, left: Sequence[int], *, clock: Callable[[], float] = time.time
    ) -> None:
        """`left`: numbers of processes that are no more, and have left a spool file."""
        self._settings = settings
        self._clock = clock
        self._processes = processes
        self._left = left
        self._workers: list[Worker] = []
        self._started_at = self._settings_at = clock()
        self._settings_refused: Sequence[str] = ()
        self._own = Snapshot()  # what the supervisor itself counts
        self._admin = Admin(settings.admin, self)
        self._phase = "starting"  # starting, serving, stopping: moves forward only

    # What the operators' face asks.

    @property
    def desk(self) -> Letters:
        """The dead letters of all."""
        return JointDesk({number: RemoteDesk(remote) for number, remote in self._remotes.items()})

    async def readiness(self) -> Sequence[str]:
        """Why requests should go elsewhere; empty when they are welcome."""
        reasons = [] if self._phase == "serving" else [self._phase]
        if self._phase == "serving":
            missing = (worker.part.number for worker in self._workers if worker.listening and worker.remote is None)
            reasons += [f"worker {number} is not there" for number in missing]
        for found in await self._ask("readiness"):
            reasons += [reason for reason in found if reason not in reasons]
        return reasons

    async def snapshot(self) -> Snapshot:
        """Everything that is told, of all workers together."""
        total = Snapshot(workers=len(self._remotes), restarts=sum(worker.restarts for worker in self._workers))
        total.ledger.add(self._own.ledger)
        for found in await self._ask("snapshot"):
            total.add(found)
        total.started_at = self._started_at
        total.settings_at, total.settings_refused = self._settings_at, self._settings_refused
        total.reasons = await self.readiness()
        return total

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Let blocked lanes, all of them or those meant, try at once; how many were blocked."""
        return sum(await self._ask("resume", destination, event_set))

    # Other settings.

    async def reload(self, settings: Settings) -> None:
        """All workers go on with other settings. Raises `ConfigError`, and changes nothing."""
        may_follow(self._settings, settings)
        self._settings = settings
        await self._ask("reload", settings, within=None)
        logging.getLogger().setLevel(settings.logging.level.upper())
        self._settings_at, self._settings_refused = self._clock(), ()
        self._own.ledger.reloads["taken"] += 1

    def refused(self, faults: Sequence[str]) -> None:
        """Settings that were read again cannot be used, so the old ones stay; `/status` says why."""
        self._settings_refused = faults
        self._own.ledger.reloads["refused"] += 1

    @property
    def _remotes(self) -> Mapping[int, Remote]:
        return {worker.part.number: worker.remote for worker in self._workers if worker.remote is not None}

    async def _ask(self, name: str, *arguments: Any, within: float | None = ANSWER_SECONDS) -> list[Any]:
        """What those answer that answer in time."""
        asked = (remote.call(name, *arguments, within=within) for remote in self._remotes.values())
        found = await asyncio.gather(*asked, return_exceptions=True)
        for problem in found:
            if isinstance(problem, BaseException) and not isinstance(problem, WorkerGone):
                raise problem
        return [one for one in found if not isinstance(one, BaseException)]

    # Its life.

    async def run(self, stop: Stop) -> None:
        """Serve until asked to stop. Raises `GatewayError` when it cannot start."""
        async with AsyncExitStack() as stack:
            bound = bind(self._settings.server, self._processes)
            stack.callback(bound.close)
            pace = 1 / (self._processes + len(self._left))
            for number in [*range(self._processes), *self._left]:
                listening = bound.of(number) if number < self._processes else ()
                part = Part(number, 1 / self._processes, pace)
                self._workers.append(Worker(part, listening, lambda: self._settings))
            running: list[asyncio.Task[None]] = []
            try:
                running += await self._started()
                await self._admin.start()
                stack.push_async_callback(self._admin.stop)
                self._phase = "serving"
                announce(self._settings, bound.port, self._admin.port)
                await stop.asked.wait()
                bound.release()  # a connection that is waiting here would never be answered
                self._phase = "stopping"
            finally:
                await self._stopped(stop, running)

    async def _started(self) -> list[asyncio.Task[None]]:
        loop = asyncio.get_running_loop()
        started = [loop.create_future() for _ in self._workers]
        running = [
            asyncio.create_task(worker.run(one), name=f"worker {worker.part.number}")
            for worker, one in zip(self._workers, started, strict=True)
        ]
        try:
            await asyncio.gather(*started)
        except BaseException:
            for task in running:
                task.cancel()
            await asyncio.wait(running)
            raise
        return running

    async def _stopped(self, stop: Stop, running: Sequence[asyncio.Task[None]]) -> None:
        """Stop all workers; a second signal has them stop at once."""
        if not running:
            return
        server = self._settings.server
        asking = asyncio.create_task(self._pass_on(stop))
        _, late = await asyncio.wait(running, timeout=server.drain_delay + server.drain_timeout + GRACE)
        asking.cancel()
        for task in late:
            log.error("%s did not stop in time and is killed; what waits stays in its spool", task.get_name())
            task.cancel()
        await asyncio.wait(running)
        log.info("stopped")

    async def _pass_on(self, stop: Stop) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        await stop.now.wait()
        await asyncio.gather(*(worker.stop() for worker in self._workers))
