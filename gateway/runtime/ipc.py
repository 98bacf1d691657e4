"""Calls from the supervisor to a worker: JSON lines over a pair of connected sockets.

    supervisor -> worker   {"id": 7, "method": "resume", "params": ["store", null]}
    worker -> supervisor   {"id": 7, "result": 2}
                           {"id": 7, "error": {"type": "SpoolFull", "message": "..."}}
                           {"final": {...}}

The first call is `start`, with a `WorkerSpec` as its parameter. The last message of a worker that ends in order is
`final`, with its counters. A message that cannot be understood ends the connection, and the worker is killed. Only the
supervisor and the worker that it started hold an end of the pair, so messages need no authentication.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import orjson

from gateway.model import GatewayError
from gateway.runtime import wire
from gateway.spool import SpoolFull, SpoolUnavailable

T = TypeVar("T")

log = logging.getLogger("gateway.runtime")

MAX_MESSAGE_BYTES = 64 * 2**20
"""Longest line. A page of dead letters (`MAX_PAGE_BYTES`), or the statistics of ten thousand lanes, is far shorter."""

Handler = Callable[..., Awaitable[Any]]


class WorkerUnavailable(GatewayError):
    """The worker process ended, or did not reply in time."""


_ERRORS: Mapping[str, type[GatewayError]] = {error.__name__: error for error in (SpoolFull, SpoolUnavailable)}
"""Errors that the client raises with the type that the worker raised. Any other is raised as a `GatewayError`; the
message is always kept."""


async def open_stream(end: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Reader and writer for one end of the pair."""
    return await asyncio.open_unix_connection(sock=end, limit=MAX_MESSAGE_BYTES)


class WorkerClient:
    """Calls the methods of one worker. Used by the supervisor; calls may overlap."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._ids = itertools.count()
        # Only the loop's thread changes these.
        self._pending: dict[int, asyncio.Future[Any]] = {}  # by the ID of the call
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._final: Any = None
        self.is_broken = False
        """Whether the worker sent a message that cannot be understood."""

    async def open(self) -> None:
        """Start to read replies; required before the first call."""
        reader, self._writer = await open_stream(self._end)
        self._reading = asyncio.create_task(self._read_replies(reader), name="replies of a worker")

    async def call(self, method: str, *params: Any, timeout: float | None = None) -> Any:  # noqa: ASYNC109 (of the reply)
        """Call a method of the worker; its result as JSON types. A `GatewayError` of the method is raised here.

        Raises `WorkerUnavailable` when the process has ended, or does not reply within `timeout` seconds.
        """
        if self._writer is None or self._reading is None or self._reading.done():
            raise WorkerUnavailable("the worker process is not running")
        call_id = next(self._ids)
        reply = self._pending[call_id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                with suppress(ConnectionError):
                    self._writer.write(_line({"id": call_id, "method": method, "params": wire.encode(params)}))
                    await self._writer.drain()
                return await reply
        except TimeoutError:
            raise WorkerUnavailable(f"the worker process did not reply within {timeout:g} s") from None
        finally:
            self._pending.pop(call_id, None)

    async def fetch(self, kind: type[T], method: str, *params: Any, timeout: float | None = None) -> T:  # noqa: ASYNC109 (of the reply)
        """Call a method, and convert its result to `kind`. Raises as `call` does."""
        return self._decode(kind, await self.call(method, *params, timeout=timeout))

    @property
    def reading(self) -> asyncio.Future[None]:
        """The task that reads replies. It ends when the worker closes the connection, or `is_broken`."""
        assert self._reading is not None, "open() comes first"  # noqa: S101
        return self._reading

    def final(self, kind: type[T]) -> T | None:
        """The last message of a worker that ended in order; None if there was none. Raises `WorkerUnavailable`."""
        return None if self._final is None else self._decode(kind, self._final)

    async def close(self) -> None:
        """Close the connection; pending and later calls raise `WorkerUnavailable`."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._writer is not None:
            self._writer.close()

    async def _read_replies(self, reader: asyncio.StreamReader) -> None:
        try:
            while (message := await read_message(reader)) is not None:
                self._handle(message)
        except Exception as error:  # noqa: BLE001 (whatever it sent must not end the supervisor)
            self._give_up(error)
        finally:
            for reply in self._pending.values():
                if not reply.done():
                    reply.set_exception(WorkerUnavailable("the worker process ended"))

    def _handle(self, message: Any) -> None:
        if "final" in message:
            self._final = message["final"]
            return
        reply = self._pending.get(message["id"])
        if reply is None or reply.done():
            return  # the caller timed out or was cancelled
        if (error := message.get("error")) is None:
            reply.set_result(message["result"])
        else:
            reply.set_exception(_ERRORS.get(error["type"], GatewayError)(str(error["message"])))

    def _decode(self, kind: type[T], value: Any) -> T:
        try:
            return wire.decode(kind, value)
        except Exception as error:
            self._give_up(error)
            if self._reading is not None:
                self._reading.cancel()
            raise WorkerUnavailable("the worker process sent an unexpected result") from error

    def _give_up(self, error: Exception) -> None:
        self.is_broken = True
        log.error("a message of a worker process cannot be understood; the process is killed", exc_info=error)


async def read_message(reader: asyncio.StreamReader) -> Any:
    """The next message; None when the other end is closed, possibly in the middle of a line."""
    with suppress(ConnectionError):
        line = await reader.readline()
        return orjson.loads(line) if line.endswith(b"\n") else None
    return None


async def serve_calls(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, methods: Mapping[str, Handler]
) -> None:
    """Run the methods that the supervisor calls until it closes its end. Calls may overlap.

    An exception of a method becomes an error reply. One that is no `GatewayError` is a bug, and is logged.
    """
    async with asyncio.TaskGroup() as group:
        while (message := await read_message(reader)) is not None:
            method = methods[message["method"]]
            group.create_task(_serve_call(writer, message["id"], method, message["params"]))


async def _serve_call(writer: asyncio.StreamWriter, call_id: int, method: Handler, params: list[Any]) -> None:
    try:
        line = _line({"id": call_id, "result": wire.encode(await method(*params))})
    except Exception as error:
        if isinstance(error, GatewayError):
            message = str(error)
        else:
            log.exception("a call of the supervisor failed with an internal error")
            message = "The worker process failed; its log has the details."
        line = _line({"id": call_id, "error": {"type": type(error).__name__, "message": message}})
    await _send(writer, line)


async def send_message(writer: asyncio.StreamWriter, message: Mapping[str, Any]) -> None:
    """Send a reply or `final`. A supervisor that has ended is not an error here: `serve_calls` notices it."""
    await _send(writer, _line(message))


async def _send(writer: asyncio.StreamWriter, line: bytes) -> None:
    with suppress(ConnectionError):
        writer.write(line)
        await writer.drain()


def _line(message: Mapping[str, Any]) -> bytes:
    return orjson.dumps(message) + b"\n"
