"""Connections of senders: how many there may be, what each may make the process hold, and when it is closed.

`ConnectionServer` is the aiohttp server that makes them. It does not know what a request means.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast

from aiohttp import StreamReader, web
from aiohttp.http import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from gateway.ingest.decode import overloaded
from gateway.ingest.response import JsonResponse, closing_response, error_body
from gateway.memory_budget import BudgetShare, MemoryBudget

log = logging.getLogger("gateway.ingest")

RESERVED_DESCRIPTORS = 256
"""File descriptors that are not for senders: spool files, calls to Meta, the admin port, worker pipes."""
DEFAULT_MAX_CONNECTIONS = 10_000
"""Where the process may open more files than this needs."""
MIN_CONNECTIONS = 16
CHECK_INTERVAL = 1.0
"""Seconds between two searches for connections whose request head is late."""
LOG_INTERVAL = 60.0
"""Seconds between two log lines about the same limit."""

MAX_HEAD_BYTES = 32 * 1024
"""Size of a request line with all headers."""
SMALL_BYTES = 2048
"""Size up to which a request head, or what arrives at once, is not reserved from the memory budget."""
PIECE_BYTES = 8 * 1024
"""Bytes that aiohttp parses at once, and as many as are announced of a body. What arrived behind the end of a request,
beyond a piece, is parsed after the response: until then its size is known, and it is neither parsed nor spread over the
buffers of several requests."""
READ_AHEAD_BYTES = 128 * 1024
"""Bytes of a body that aiohttp buffers before it stops parsing; twice as many at most."""
MAX_CHUNK_OVERHEAD = 16 * 1024
"""Bytes by which the sizes and line ends of a chunked body may exceed its content. Each chunk costs some microseconds,
and one of 8 bytes has as many bytes around it."""
WRITE_BUFFER_BYTES = 4096
"""Unsent bytes of responses beyond which the connection waits until the sender reads."""

HEAD_TOO_LARGE = closing_response(
    431,
    error_body(
        "head_too_large",
        f"The request line and the headers together are larger than {MAX_HEAD_BYTES // 1024} KiB. Send fewer or "
        "shorter headers.",
    ),
)
OVERLOADED = closing_response(429, error_body(overloaded().code, str(overloaded())))


class Overloaded(Exception):
    """The rest of a body was dropped, because the memory limit is reached."""


def max_connections(configured: int | None) -> int:
    """Connections of senders that one process accepts; without a setting, as many as its file descriptors allow."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        descriptors = DEFAULT_MAX_CONNECTIONS + RESERVED_DESCRIPTORS
    possible = max(MIN_CONNECTIONS, descriptors - min(RESERVED_DESCRIPTORS, descriptors // 2))
    return min(configured or DEFAULT_MAX_CONNECTIONS, possible)


class Connection(RequestHandler):
    """One connection of a sender.

    An idle one takes 12 KiB for its objects, and at most 32 KiB with what is not reserved from the memory budget.
    """

    __slots__ = (
        "_ahead",
        "_body",
        "_body_bytes",
        "_body_length",
        "_head_bytes",
        "_head_reserved",
        "_ignores_body",
        "_server",
        "authenticated",
        "head_since",
        "write_timeout",
    )

    def __init__(
        self, server: ConnectionServer, *, write_timeout: float, loop: asyncio.AbstractEventLoop, **options: Any
    ) -> None:
        super().__init__(server, loop=loop, **options)
        self._server = server
        self.write_timeout = write_timeout
        self.authenticated = False
        """Whether a request on it had a known write key."""
        self.head_since: float | None = loop.time()
        """Loop time since which a request head is expected or incomplete; None: idle between requests, or busy."""
        self._head_bytes = 0  # of an incomplete head
        self._head_reserved = 0  # for an incomplete head, or for that of the last request: aiohttp keeps it
        self._body: StreamReader | None = None  # of the last request, while it is incomplete
        self._body_bytes = 0  # that arrived of it, with the sizes of its chunks
        self._body_length = 0  # as announced; 0: it is chunked
        self._ignores_body = False  # whether the response is written, and aiohttp reads the rest to ignore it
        self._ahead = b""  # arrived, reserved, not parsed yet; while there is something, nothing is read

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request."""
        return self._waiter is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End, and release what is reserved."""
        self._server.forget(self)
        self._keep_ahead(b"")
        self._reserve_head(0)
        # It refers to the connection. In a cycle, both would be kept until the garbage collector runs.
        self._body = None
        super().connection_lost(exc)

    def authenticate(self) -> None:
        """Note that a request had a known write key: the connection is not closed for a new one."""
        if not self.authenticated:
            self.authenticated = True
            self._server.forget(self)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived: one request, and the others after the response. Runs about once a request.

        aiohttp also calls it, without data, to have the rest parsed after a pause.
        """
        if self._force_close or self._close:
            return
        size = len(data)
        if size > SMALL_BYTES and not self._server.count_received(size):
            self._refuse()
        elif size <= PIECE_BYTES and not (self._ahead or self._request_in_progress or self._messages):
            self._parse(data)  # the usual case
        elif size and self._request_in_progress and self._current_request is None:
            self._abort()  # `flush` waits: it sends requests without reading the responses
        else:
            if not size:
                self._parse(b"")
            self._parse_pieces(self._ahead + data)

    def response_written(self) -> None:
        """Parse what arrived while the request was in progress, as soon as it has ended. Runs once a request."""
        self._ignores_body = self._body is not None
        if self._ahead:
            self._loop.call_soon(self._parse_ahead)

    def _parse_ahead(self) -> None:
        if self._ahead and not self._force_close:
            self._parse_pieces(self._ahead)

    def _has_complete_request(self) -> bool:
        """Whether a request, with all of its body, is in progress or about to be."""
        return bool(self._request_in_progress or self._messages) and self._body is None

    def _parse_pieces(self, data: bytes) -> None:
        """Parse until a request is complete or its body does not have to be read yet, and keep the rest."""
        position = 0
        while position < len(data) and not (self._reading_paused or self._has_complete_request() or self._force_close):
            size = max(PIECE_BYTES, self._body_length - self._body_bytes) if self._body is not None else PIECE_BYTES
            self._parse(data[position : position + size])
            position += size
        self._keep_ahead(data[position:])

    def _parse(self, piece: bytes) -> None:
        requests_before = self._request_count
        super().data_received(piece)
        if self._request_count != requests_before:
            if not requests_before:
                self._server.has_sent_request(self)
            if self._body is not None and not self._body.is_eof():
                # The body is not valid HTTP. aiohttp reports that as a request, and not to the reader of the body.
                self._fail_body(self._body, web.RequestPayloadError("the body is not valid HTTP"))
            message, body = self._messages[-1]
            self._body, self._ignores_body = None, False
            if not isinstance(message, RawRequestMessage):
                message.exc.__traceback__ = None  # it refers to the connection, as `connection_lost` explains
            elif not body.is_eof():
                self._body, self._body_bytes = body, body.total_bytes
                self._body_length = int(message.headers.get("Content-Length", 0))
            if self._head_bytes + len(piece) > SMALL_BYTES or self._head_reserved:
                self._reserve_head(_head_size(message))
            self.head_since, self._head_bytes = None, 0
        elif self._body is not None:
            self._continue_body(self._body, len(piece))
        elif piece:
            self._continue_head(len(piece))

    def _continue_body(self, body: StreamReader, size: int) -> None:
        self._body_bytes += size
        if body.is_eof():
            self._body = None
        elif not self._body_length and self._body_bytes > 2 * body.total_bytes + MAX_CHUNK_OVERHEAD:
            self._fail_body(body, web.RequestPayloadError("the chunks of the body are too small"))

    def _continue_head(self, size: int) -> None:
        """Count a part of a request head, which is not complete yet."""
        if self.head_since is None:
            self.head_since = self._loop.time()
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._server.on_malformed(431)
            if self.transport is not None:
                self.transport.write(HEAD_TOO_LARGE)
            self.force_close()
        else:
            self._reserve_head(self._head_bytes)

    def _reserve_head(self, size: int) -> None:
        """Reserve the memory of a head, of which aiohttp keeps the bytes and the text; or close the connection."""
        needed = 2 * size if size > SMALL_BYTES else 0
        heads = self._server.heads
        if needed <= self._head_reserved:
            heads.release(self._head_reserved - needed)
        elif not heads.reserve(needed - self._head_reserved):
            self._abort()
            return
        self._head_reserved = needed

    def _keep_ahead(self, data: bytes) -> None:
        """Keep what is not parsed yet, and read no more until it is; or close the connection."""
        budget = self._server.budget
        was_ahead = len(self._ahead)
        budget.release(was_ahead)
        self._ahead = b""
        if data and not self._force_close:
            if budget.reserve(len(data)):
                self._ahead = data
                self._pause_transport_reading()
            else:
                self._refuse()
        elif was_ahead and not (self._reading_paused or self._buffer_paused):
            self._resume_transport_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Parse and read on after a pause. aiohttp calls it for each chunk that is taken from a body."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _resume_transport_reading(self) -> None:
        if not self._ahead:
            super()._resume_transport_reading()

    def force_close(self) -> None:
        """Close the connection. A request that is being read ends with `ConnectionResetError`."""
        super().force_close()
        if self._current_request is not None:
            self._current_request._cancel(ConnectionResetError("the gateway closed the connection"))  # noqa: SLF001

    def _fail_body(self, body: StreamReader, error: Exception) -> None:
        """Raise an error where the body is read, and close the connection after the response."""
        body.set_exception(error)
        body.feed_eof()
        self._body = None
        self.close()

    def _refuse(self) -> None:
        """Drop what arrived, because the memory limit is reached. The request gets 429, then the connection ends."""
        if self._body is not None and not self._ignores_body:
            self._fail_body(self._body, Overloaded())
            return
        if self.is_idle and self.transport is not None:
            self._server.on_overload()
            self.transport.write(OVERLOADED)
        self.force_close()

    def _abort(self) -> None:
        """Close at once, without sending what is not sent yet."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    async def flush(self) -> None:
        """Wait until the sender has read what was written. Raises `ConnectionResetError` and closes when it does not.

        What is not sent yet is reserved from the memory budget; where there is not enough, the connection is closed.
        """
        transport = self.transport
        if transport is None:
            raise ConnectionResetError("the connection is closed")
        unsent = transport.get_write_buffer_size()
        if self._ahead or not self._server.budget.reserve(unsent):
            self._abort()
            raise ConnectionResetError("the sender does not read its responses")
        try:
            async with asyncio.timeout(self.write_timeout):
                await self._drain_helper()
        except TimeoutError:
            self._abort()
            raise ConnectionResetError("the sender does not read its responses") from None
        finally:
            self._server.budget.release(unsent)

    def handle_error(
        self,
        request: web.BaseRequest,  # noqa: ARG002 (aiohttp's signature)
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """The response to a malformed request, or to an error that the handler did not expect.

        aiohttp's own version logs the exception, whose text quotes the bytes that were received.
        """
        if status >= 500:
            log.error("a request failed unexpectedly", exc_info=exc)
            return JsonResponse(status, error_body("internal_error", "The gateway failed; see its log."), close=True)
        self._server.on_malformed(400)
        body = error_body("malformed_request", "The request is not valid HTTP. Check the sender's HTTP client.")
        return JsonResponse(400, body, close=True)

    def log_exception(self, *args: Any, **kw: Any) -> None:  # noqa: ARG002
        """Log an unexpected error of the connection. The exception's text may quote the request, so it is left out.

        On a closed connection, aiohttp fails when it reads the rest of a body to ignore it.
        """
        if self.transport is not None:
            log.error("a connection of a sender failed: %s", type(kw.get("exc_info")).__name__)


class ConnectionServer(web.Server):
    """Makes a `Connection` for each accepted socket, at most `limit` at a time."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Any],
        *,
        limit: int,
        head_timeout: float,
        budget: MemoryBudget,
        on_malformed: Callable[[int], None],
        on_overload: Callable[[], None],
        on_closed: Callable[[], None],
        **options: Any,
    ) -> None:
        """`head_timeout`: seconds in which the head of any request has to arrive.

        `on_malformed` is called with the status of the response to each request that is not valid HTTP, `on_overload`
        for each request that is dropped because of the memory limit, and `on_closed` for each connection that is closed
        because of the limit of connections.
        """
        super().__init__(handler, read_bufsize=READ_AHEAD_BYTES, **options)
        self.budget = budget
        self.heads = BudgetShare(budget, budget.limit // 4)
        """For request heads, which arrive before any write key."""
        self.on_malformed = on_malformed
        self.on_overload = on_overload
        self._limit = limit
        self._head_timeout = head_timeout
        self._on_closed = on_closed
        # The connections that are closed for new ones, those that are open for longest first.
        self._silent: OrderedDict[Connection, None] = OrderedDict()  # have sent no request
        self._unauthenticated: OrderedDict[Connection, None] = OrderedDict()  # have sent no known write key
        self._logged_at = -LOG_INTERVAL  # loop time of the last log line about the limit
        self._closed_since = 0  # connections that the limit closed since then
        # Bytes that arrived in this iteration of the loop, and in the one before. They are reserved until the requests
        # that they belong to have begun, two iterations later, and reserve them for themselves.
        self._arrived = BudgetShare(budget, budget.limit // 2)
        self._received = 0
        self._received_before = 0
        self._overdraft = 0  # those that arrived in this iteration although the budget is used up

    def __call__(self) -> Connection:
        """The protocol of a new connection."""
        return Connection(self, write_timeout=self._head_timeout, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Register a connection. At the limit the least useful one is closed instead, or the new one."""
        super().connection_made(handler, transport)
        connection = cast("Connection", handler)
        if len(self._connections) > self._limit:
            victim = next(iter(self._silent or self._unauthenticated), connection)
            self.forget(victim)
            self._log_limit()
            self._on_closed()
            victim.force_close()
            if victim is connection:
                return
        self._silent[connection] = None

    def has_sent_request(self, connection: Connection) -> None:
        """The first request of a connection has arrived."""
        if connection in self._silent:
            del self._silent[connection]
            self._unauthenticated[connection] = None

    def forget(self, connection: Connection) -> None:
        """Do not close this connection for a new one."""
        self._silent.pop(connection, None)
        self._unauthenticated.pop(connection, None)

    def count_received(self, size: int) -> bool:
        """Reserve bytes that arrived, for a short time; False: there are not enough.

        When half of the budget, or all of it, is used up, a sixteenth more may arrive in each iteration, so that
        requests can be answered with 429.
        """
        if not (self._received or self._received_before or self._overdraft):
            self._loop.call_soon(self._next_iteration)
        if self._arrived.reserve(size):
            self._received += size
        elif self._overdraft + size <= self.budget.limit // 16:
            self._overdraft += size
        else:
            return False
        return True

    def _next_iteration(self) -> None:
        self._arrived.release(self._received_before)
        self._received_before, self._received, self._overdraft = self._received, 0, 0
        if self._received_before:
            self._loop.call_soon(self._next_iteration)

    async def close_late(self) -> None:
        """Close connections whose request head is late, until cancelled."""
        while True:
            await asyncio.sleep(min(CHECK_INTERVAL, self._head_timeout / 4))
            self._close_late()

    def _close_late(self) -> None:
        latest = self._loop.time() - self._head_timeout
        for connection in self.connections:
            if (
                isinstance(connection, Connection)
                and connection.is_idle
                and connection.head_since is not None
                and connection.head_since <= latest
            ):
                connection.force_close()

    def _log_limit(self) -> None:
        self._closed_since += 1
        now = self._loop.time()
        if now - self._logged_at >= LOG_INTERVAL:
            log.warning(
                "the limit of %d connections (server.max_connections) is reached: %d closed, idle ones without a "
                "request first. Raise the limit and the limit of open files, or look for senders that keep connections "
                "open",
                self._limit,
                self._closed_since,
            )
            self._logged_at, self._closed_since = now, 0


def _head_size(message: object) -> int:
    """Bytes of the request line and the headers of a parsed request; 0 for one that is not valid HTTP."""
    if not isinstance(message, RawRequestMessage):
        return 0
    return len(message.path) + sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
