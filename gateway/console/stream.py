"""Server-sent events: the part of a page that changes is sent again whenever it did."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from gateway.console.responses import SECURITY_HEADERS

log = logging.getLogger("gateway.console")

MAX_STREAMS = 20
"""Pages that are kept up to date at a time."""
INTERVAL = 2.0
"""Seconds between two looks."""
HEARTBEAT = 15.0
"""Seconds after which something is sent although nothing changed, so that proxies keep the connection."""
LIFETIME = 600.0
"""Seconds after which the browser has to connect again, which checks its session."""
SEND_TIMEOUT = 10.0
"""Seconds in which the browser has to take an update."""

Render = Callable[[], Awaitable[bytes | None]]
"""The part as it is now; None ends the stream."""


class Streams:
    """The streams of all pages that are open."""

    def __init__(self) -> None:
        self._open = 0

    @property
    def is_full(self) -> bool:
        """Whether no further stream can be opened."""
        return self._open >= MAX_STREAMS

    async def run(self, request: web.BaseRequest, render: Render, interval: float = INTERVAL) -> web.StreamResponse:
        """Send updates until the browser leaves, `LIFETIME` is over, or `render` returns None.

        Raises what the first call of `render` raises. A later error ends the stream; the browser connects again.
        """
        self._open += 1
        try:
            first = await render()
            headers = {**SECURITY_HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            try:
                await self._send_updates(response, first, render, interval)
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError("the browser does not read the updates") from None
            except ConnectionError:
                raise
            except Exception:
                log.exception("a page is not kept up to date any more because of an error")
            await response.write_eof()
        finally:
            self._open -= 1
        return response

    @staticmethod
    async def _send_updates(response: web.StreamResponse, part: bytes | None, render: Render, interval: float) -> None:
        clock = asyncio.get_running_loop().time
        ends_at = clock() + LIFETIME
        sent: bytes | None = None
        sent_at = 0.0
        while part is not None and clock() < ends_at:
            if part != sent or clock() - sent_at >= HEARTBEAT:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await response.write(message(part) if part != sent else b":\n\n")
                sent, sent_at = part, clock()
            await asyncio.sleep(interval)
            part = await render()


def message(part: bytes) -> bytes:
    """An event with this content: a field for each line."""
    return b"".join(b"data: %b\n" % line for line in part.splitlines()) + b"\n"
