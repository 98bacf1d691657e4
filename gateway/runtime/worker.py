"""A worker process: the supervisor controls it over a socket pair instead of signals and the admin port."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.config import Settings, settings_from_json
from gateway.dead_letters import DeadLetterOperations
from gateway.model import JsonObject
from gateway.runtime import wire
from gateway.runtime.ipc import Handler, open_stream, read_message, send_message, serve_calls
from gateway.runtime.lifecycle import StopSignal, tune_interpreter
from gateway.spool import DeadLetterFilter, delete_spool
from gateway.tap import TapPage
from gateway.telemetry import Snapshot
from gateway.telemetry.logging import configure_logging
from gateway.trace import TraceResult

log = logging.getLogger("gateway.runtime")


@dataclass(frozen=True, slots=True)
class SpoolShard:
    """One process's share of a gateway."""

    number: int = 0
    """Number of the process and of its spool file."""
    size_share: float = 1.0
    """Share of `spool.max_bytes`."""
    rate_share: float = 1.0
    """Share of `upload.requests_per_second` of each lane."""


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """Everything that a worker process needs to start."""

    settings: JsonObject
    """The result of `settings_to_json`."""
    shard: SpoolShard
    listening: list[int]
    """File descriptors of the inherited listening sockets. Empty for a drain-only worker, which accepts no requests and
    only uploads the events that an earlier process left in its spool file."""


class WorkerApp(Protocol):
    """The interface that the supervisor needs of the gateway in a worker process."""

    @property
    def serving(self) -> asyncio.Event:
        """Set once requests are accepted, or, in a drain-only worker, once the spool is open."""
        ...

    @property
    def dead_letters(self) -> DeadLetterOperations:
        """The dead letters of this process."""
        ...

    async def run(self, stop: StopSignal) -> None:
        """Run until stopped. Raises `GatewayError` when it cannot start."""
        ...

    async def snapshot(self) -> Snapshot:
        """Its counts and states."""
        ...

    def counters(self) -> Snapshot:
        """See `Snapshot.counters`."""
        ...

    async def readiness(self) -> Sequence[str]:
        """Reasons why no requests should be sent to it; empty when it is ready."""
        ...

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Call at once for the blocked and throttled lanes that match (None matches all); their number."""
        ...

    async def trace(self, identifier: str) -> TraceResult:
        """What became of the accepted events with this message ID or order ID."""
        ...

    async def tap(self, cursor: str) -> TapPage:
        """The events that passed since the poll that returned `cursor`."""
        ...

    async def reload(self, settings: Settings) -> None:
        """Apply other settings."""
        ...

    @property
    def is_drained(self) -> bool:
        """Whether its spool is empty."""
        ...


MakeApp = Callable[[Settings, SpoolShard, Sequence[socket.socket]], WorkerApp]


async def run_worker(end: socket.socket, make_app: MakeApp) -> None:
    """Run a worker until the supervisor stops it or ends. Raises `GatewayError` when it cannot start."""
    stop = StopSignal()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.request)
    reader, writer = await open_stream(end)
    message = await read_message(reader)
    if message is None:
        return  # the supervisor has ended already
    spec = wire.decode(WorkerSpec, message["params"][0])
    settings = settings_from_json(spec.settings)
    configure_logging(settings.logging, worker=spec.shard.number)
    tune_interpreter()
    app = make_app(settings, spec.shard, [socket.socket(fileno=descriptor) for descriptor in spec.listening])
    serving = asyncio.create_task(serve_calls(reader, writer, _methods(app, stop)))
    serving.add_done_callback(lambda _: stop.request_immediate())  # the supervisor has ended
    confirming = asyncio.create_task(_confirm_start(app, writer, message["id"]))
    try:
        await app.run(stop)
        await send_message(writer, {"final": wire.encode(app.counters())})
    finally:
        serving.cancel()
        confirming.cancel()
        await asyncio.wait([serving, confirming])
        writer.close()
    if not spec.listening and app.is_drained:
        delete_spool(settings.spool, spec.shard.number)


async def _confirm_start(app: WorkerApp, writer: asyncio.StreamWriter, call_id: int) -> None:
    """Reply to the call `start` once the app accepts requests."""
    await app.serving.wait()
    await send_message(writer, {"id": call_id, "result": None})


def _methods(app: WorkerApp, stop: StopSignal) -> Mapping[str, Handler]:
    """The methods that the supervisor can call, by name; parameters arrive as JSON types."""

    async def request_stop() -> None:
        stop.request()

    async def reload(settings: JsonObject) -> None:
        await app.reload(settings_from_json(settings))

    def with_filter(method: Callable[[DeadLetterFilter], Awaitable[Any]]) -> Handler:
        async def call(where: JsonObject) -> Any:
            return await method(wire.decode(DeadLetterFilter, where))

        return call

    async def counters() -> Snapshot:
        return app.counters()

    async def find(after: int, limit: int, where: JsonObject) -> Any:
        return await app.dead_letters.find(after, limit, wire.decode(DeadLetterFilter, where))

    return {
        "stop": request_stop,
        "snapshot": app.snapshot,
        "counters": counters,
        "readiness": app.readiness,
        "resume": app.resume,
        "trace": app.trace,
        "tap": app.tap,
        "reload": reload,
        "find": find,
        "codes": app.dead_letters.codes,
        "preview": with_filter(app.dead_letters.preview),
        "replay": with_filter(app.dead_letters.replay),
        "discard": with_filter(app.dead_letters.discard),
    }
