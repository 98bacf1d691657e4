"""An answer as one write: head and body are put together here and go to the transport as they are.

aiohttp's own response is made for every kind of answer, and building it costs as much as mapping a small event. Ours
are all alike: a status, a short JSON body, now and then one header more.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from aiohttp import web
from aiohttp.http import HttpVersion10

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class JsonResponse(web.StreamResponse):
    """JSON with a status. `close` ends the connection behind it; `headers` are whole lines, each with its CRLF."""

    def __init__(self, status: int, content: bytes, *, close: bool = False, headers: str = "") -> None:
        # Without the `__init__` of the base, which makes what this class does without: all that aiohttp's server asks
        # of an answer is defined here.
        self._status = status
        self._content = content
        self._keep = not close
        self._lines = headers

    @property
    def keep_alive(self) -> bool:
        """Whether another request may follow on the connection; known once it is prepared."""
        return self._keep

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send all of it. Raises `ConnectionResetError` when the sender has gone."""
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the sender has gone")
        lines = self._lines
        if not (self._keep and request.keep_alive):
            self._keep = False
            lines += "Connection: close\r\n"
        elif request.version == HttpVersion10:
            lines += "Connection: keep-alive\r\n"
        head = _head(self._status, len(self._content), lines, int(time.time()))
        transport.write(head if request.method == "HEAD" else head + self._content)

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to send."""


@lru_cache(maxsize=64)
def _head(status: int, length: int, lines: str, second: int) -> bytes:
    """Within a second most heads are alike."""
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {length}\r\n"
        f"Date: {formatdate(second, usegmt=True)}\r\n"
        f"{lines}\r\n"
    ).encode()
