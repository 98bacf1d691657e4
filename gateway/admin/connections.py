"""Connections to the admin port: how many there may be, and the response to a malformed request."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from gateway.model import JsonObject

log = logging.getLogger("gateway.admin")

MAX_CONNECTIONS = 100
KEEP_ALIVE_SECONDS = 30.0
"""Seconds until a connection is closed that sends no complete request head, whether it is new or was used before."""
LINGERING_SECONDS = 1.0
"""Seconds in which the rest of a request body is read and ignored."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
"""Headers of every response."""


def json_response(body: JsonObject, status: int = 200) -> web.Response:
    """A response with a JSON body."""
    encoded = orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n"
    return web.Response(body=encoded, status=status, content_type="application/json", headers=HEADERS)


def error_response(status: int, code: str, message: str) -> web.Response:
    """An error as JSON: a stable code, and a sentence on how to fix it."""
    return json_response({"code": code, "message": message}, status)


class Connection(RequestHandler):
    """One connection. It logs nothing that it received."""

    __slots__ = ()

    @property
    def is_idle(self) -> bool:
        """Whether it is open and waits for a request."""
        return self._waiter is not None and self.transport is not None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 (it quotes the request)
    ) -> web.StreamResponse:
        """The response to a malformed request. aiohttp's own version logs the bytes that were received."""
        if request.writer.output_size:
            raise ConnectionResetError("a part of another response was sent already")
        if status < 500:
            log.warning("a request to the admin port was no valid HTTP and got status 400; check its HTTP client")
            response = error_response(400, "malformed_request", "The request is not valid HTTP.")
        else:
            log.error("a request to the admin port failed: %s", type(exc).__name__)
            response = error_response(500, "internal_error", "The gateway failed; its log has the details.")
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ARG002 (they quote the request)
        """Log the type of an unexpected error. Its text may quote the request."""
        log.error("a connection to the admin port failed: %s", type(kw.get("exc_info")).__name__)


class ConnectionServer(web.Server):
    """Makes a `Connection` for each accepted socket, at most `MAX_CONNECTIONS` at a time."""

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Register a connection. At the limit the oldest idle one is closed or, if there is none, the new one."""
        super().connection_made(handler, transport)
        if len(self._connections) > MAX_CONNECTIONS:
            log.warning("the admin port has %d connections, its limit; closing one that is idle", MAX_CONNECTIONS)
            idle = (other for other in self.connections if isinstance(other, Connection) and other.is_idle)
            next(idle, handler).force_close()
