"""Calls from the supervisor to a worker, over a pair of connected sockets that both inherit.

A frame is four bytes of length and a pickle. Only a process and the children that it started itself ever hold an end of
it, so what arrives is as trustworthy as the process.
"""

from __future__ import annotations

import asyncio
import itertools
import pickle
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from io import RawIOBase
from typing import Any

from gateway.model import GatewayError

_LENGTH = struct.Struct(">I")

Handler = Callable[..., Awaitable[Any]]


class WorkerGone(GatewayError):
    """The worker ended, or did not answer in time."""


class Remote:
    """The supervisor's end."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, orders: object) -> None:
        """Send what the worker is to `receive`, and be ready for calls."""
        await asyncio.get_running_loop().sock_sendall(self._end, _framed(orders))
        reader, self._writer = await asyncio.open_unix_connection(sock=self._end)
        self._reading = asyncio.create_task(self._read(reader), name="answers of a worker")

    async def call(self, name: str, *arguments: Any, within: float | None = None) -> Any:
        """What the worker's handler of that name returns; what it raises is raised here.

        Raises `WorkerGone` when it is, or has not answered within so many seconds.
        """
        if self._writer is None or self._reading is None or self._reading.done():
            raise WorkerGone("the worker is not there")
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            with suppress(ConnectionError):
                self._writer.write(_framed((number, name, arguments)))
                await self._writer.drain()
            async with asyncio.timeout(within):
                return await answer
        except TimeoutError:
            raise WorkerGone(f"the worker did not answer within {within:g} s") from None
        finally:
            self._answers.pop(number, None)

    async def close(self) -> None:
        """No more calls."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                number, worked, value = await _read(reader)
                answer = self._answers.get(number)
                if answer is None or answer.done():
                    continue  # whoever asked has given up
                if worked:
                    answer.set_result(value)
                else:
                    answer.set_exception(value)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(WorkerGone("the worker ended"))


async def answer_calls(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handlers: Mapping[str, Handler]
) -> None:
    """The worker's end: answer until the supervisor is gone. Calls may overlap."""
    async with asyncio.TaskGroup() as group:
        while True:
            try:
                number, name, arguments = await _read(reader)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            group.create_task(_answer(writer, number, handlers[name], arguments))


async def _answer(writer: asyncio.StreamWriter, number: int, handler: Handler, arguments: tuple[Any, ...]) -> None:
    try:
        answer = (number, True, await handler(*arguments))
    except GatewayError as error:
        answer = (number, False, _portable(error))
    with suppress(ConnectionError):
        writer.write(_framed(answer))
        await writer.drain()


def _portable(error: GatewayError) -> GatewayError:
    """The same error, or, where it does not travel, one with its text."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 (our own bytes)
    except Exception:  # noqa: BLE001 (whatever an exception's constructor does)
        return GatewayError(str(error))
    return error


def receive(end: socket.socket) -> Any:
    """What the supervisor sends before any call. Blocks. Raises `EOFError` when it is gone."""
    with end.makefile("rb", buffering=0) as file:
        (length,) = _LENGTH.unpack(_exactly(file, _LENGTH.size))
        return pickle.loads(_exactly(file, length))  # noqa: S301 (see above)


def _exactly(file: RawIOBase, count: int) -> bytes:
    """So many bytes and not one more: what follows is for others to read."""
    found = b""
    while len(found) < count:
        piece = file.read(count - len(found))
        if not piece:
            raise EOFError
        found += piece
    return found


def _framed(value: object) -> bytes:
    body = pickle.dumps(value)
    return _LENGTH.pack(len(body)) + body


async def _read(reader: asyncio.StreamReader) -> Any:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return pickle.loads(await reader.readexactly(length))  # noqa: S301 (see above)
