"""A response that is sent with one write: head and body are joined and passed to the transport unchanged.

aiohttp's response class covers every kind of response, and creating it costs as much as mapping a small event. The
responses of this server consist of a status, a short JSON body, and rarely one more header.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol, cast

import orjson
from aiohttp import web
from aiohttp.http import HttpVersion10

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class FlushableConnection(Protocol):
    """What a response needs of the connection; see `gateway.ingest.connections.Connection`."""

    writing_paused: bool

    def response_written(self) -> None:
        """Parse what arrived while the request was in progress."""
        ...

    async def flush(self) -> None:
        """Wait until the sender has read what was written. Raises `ConnectionResetError`."""
        ...


def error_body(code: str, message: str, **more: str) -> bytes:
    """The JSON body of an error: a stable code, and a message that says what is wrong and what to do."""
    return orjson.dumps({**more, "code": code, "message": message})


def closing_response(status: int, content: bytes) -> bytes:
    """A complete response to a sender whose request cannot be parsed. The connection is closed after it."""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + content


class JsonResponse(web.StreamResponse):
    """A JSON response.

    `close`: close the connection after it. `headers`: complete header lines, each with its CRLF.
    """

    def __init__(self, status: int, content: bytes, *, close: bool = False, headers: str = "") -> None:
        # `super().__init__` is not called: it creates attributes that are not needed here. Everything that aiohttp's
        # server uses of a response is defined in this class.
        self._status = status
        self._content = content
        self._keep = not close
        self._lines = headers

    @property
    def keep_alive(self) -> bool:
        """Whether the connection accepts another request. Final after `prepare`."""
        return self._keep

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send the response. Raises `ConnectionResetError` when the connection is closed."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the sender closed the connection")
        lines = self._lines
        if not (self._keep and request.keep_alive):
            self._keep = False
            lines += "Connection: close\r\n"
        elif request.version == HttpVersion10:
            lines += "Connection: keep-alive\r\n"
        head = _head(self._status, len(self._content), lines, int(time.time()))
        transport.write(head if request.method == "HEAD" else head + self._content)
        connection = cast("FlushableConnection", request.protocol)
        if connection.writing_paused:
            await connection.flush()
        connection.response_written()

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has sent everything."""


@lru_cache(maxsize=64)
def _head(status: int, length: int, lines: str, second: int) -> bytes:
    """The status line and headers. Cached, because most responses within a second have the same ones."""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {length}\r\n"
        f"Date: {formatdate(second, usegmt=True)}\r\n"
        f"{lines}\r\n"
    ).encode()
