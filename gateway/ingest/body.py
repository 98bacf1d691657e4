"""Reads request bodies within the memory budget: what is read or decoded is reserved first.

A body without a write key in the header is read to `UNAUTHENTICATED_BYTES`; the rest is read only if that part contains
the write key of a source.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import NamedTuple, Self

from aiohttp import web
from aiohttp.http import HttpVersion11

from gateway.config import ServerSettings
from gateway.ingest.authentication import Authenticator
from gateway.ingest.connections import Overloaded
from gateway.ingest.decode import (
    UNZIP_BYTES,
    BadRequest,
    Complexity,
    gzip_size,
    overloaded,
    request_too_large,
    unzip,
    unzip_beginning,
)
from gateway.ingest.fair_scheduler import FairScheduler
from gateway.memory_budget import BudgetShare, MemoryBudget

UNAUTHENTICATED_BYTES = 64 * 1024
"""Bytes of a body that are read before its write key is known, compressed or not."""
BYTES_PER_EVENT = 6000
"""Bytes of a body that are decompressed and decoded in the time that it takes to map one event."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Reservation:
    """The part of the memory budget that one request has. Released at the end of the context."""

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: MemoryBudget | BudgetShare) -> None:
        self._budget = budget
        self._size = 0

    def grow(self, size: int) -> None:
        """Reserve more bytes. Raises `BadRequest` (429) when the memory limit is reached."""
        if not self._budget.reserve(size):
            raise overloaded()
        self._size += size

    def resize(self, size: int) -> None:
        """Reserve this many bytes in total. Raises `BadRequest` (429) when the memory limit is reached."""
        if size > self._size:
            self.grow(size - self._size)
        else:
            self._budget.release(self._size - size)
            self._size = size

    def shrink(self, size: int) -> None:
        """Release some of the bytes."""
        self._budget.release(size)
        self._size -= size

    def move(self, budget: BudgetShare) -> None:
        """Take the bytes from another share instead. Raises `BadRequest` (429)."""
        size = self._size
        self.release()
        self._budget = budget
        self.grow(size)

    def release(self) -> None:
        """Release everything."""
        self._budget.release(self._size)
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class ReceivedBody(NamedTuple):
    """A body as it was sent."""

    content: bytes
    is_gzip: bool
    size: int
    """Bytes of the uncompressed body, as the sender says, within the limit."""
    is_authenticated: bool
    """Whether the request has a valid write key, as far as is known."""


class ExpandedBody(NamedTuple):
    """An uncompressed body."""

    content: bytes
    complexity: Complexity | None
    """None: its values were not counted."""


class BodyReader:
    """Reads the bodies of all requests.

    Bodies that have not arrived completely get at most half of the memory budget, and those of them without a write key
    a quarter of it, so that slow senders do not keep others from sending.
    """

    def __init__(
        self, settings: ServerSettings, budget: MemoryBudget, scheduler: FairScheduler, authenticator: Authenticator
    ) -> None:
        self._settings = settings
        self._budget = budget
        self._scheduler = scheduler
        self._incomplete = BudgetShare(budget, budget.limit // 2)
        self._unauthenticated = BudgetShare(budget, budget.limit // 4)
        self._authenticator = authenticator

    async def receive(
        self, request: web.BaseRequest, reservation: Reservation, *, is_authenticated: bool
    ) -> ReceivedBody:
        """Read the body. Raises `BadRequest`, and `ConnectionError` when the sender disconnects."""
        is_gzip = _is_gzip(request)
        limit = self._settings.max_request_bytes
        content = request.content
        is_complete = content.is_eof()  # the usual case: a small body arrives together with the head
        length = content.total_bytes if is_complete else request.content_length or 0
        if length > limit:
            raise request_too_large(limit)
        try:
            if is_complete:
                reservation.grow(length)
                body = content.read_nowait(-1) if length else b""
                if not is_authenticated and length > UNAUTHENTICATED_BYTES:
                    self._check_beginning(body, is_gzip=is_gzip)
                    is_authenticated = True
            else:
                _send_continue(request)
                body = await self._read(request, is_authenticated=is_authenticated, is_gzip=is_gzip)
                reservation.grow(len(body))
                is_authenticated = is_authenticated or len(body) > UNAUTHENTICATED_BYTES
        except (ConnectionError, web.RequestPayloadError, Overloaded) as error:
            raise _failure(error) from None
        size = len(body)
        if is_gzip:
            size = gzip_size(body, limit)
            if not is_authenticated and size > UNAUTHENTICATED_BYTES:
                self._check_beginning(body, is_gzip=True)
                is_authenticated = True
        return ReceivedBody(body, is_gzip, size, is_authenticated)

    async def _read(self, request: web.BaseRequest, *, is_authenticated: bool, is_gzip: bool) -> bytes:
        """Read a body that has not arrived completely. One above `UNAUTHENTICATED_BYTES` has a known write key then."""
        if request.transport is None:
            raise ConnectionResetError("the connection was closed before its request was read")
        limit, timeout = self._settings.max_request_bytes, self._settings.read_timeout
        read = bytearray()
        with Reservation(self._incomplete if is_authenticated else self._unauthenticated) as incomplete:
            try:
                async with asyncio.timeout(timeout):
                    async for piece in request.content.iter_any():
                        incomplete.grow(2 * len(piece))  # the bytearray grows ahead of its content, and is copied below
                        read += piece
                        if len(read) > limit:
                            raise request_too_large(limit)
                        if not is_authenticated and len(read) > UNAUTHENTICATED_BYTES:
                            self._check_beginning(bytes(read[:UNAUTHENTICATED_BYTES]), is_gzip=is_gzip)
                            is_authenticated = True
                            incomplete.move(self._incomplete)
            except TimeoutError:
                message = f"The body did not arrive within {timeout:g} seconds. Send the request again."
                raise BadRequest(408, "too_slow", message) from None
            return bytes(read)

    async def expand(self, body: ReceivedBody, reservation: Reservation) -> ExpandedBody:
        """The body, uncompressed, once it is the turn of the request. Raises `BadRequest`.

        Of a compressed body, the values are counted while it is decompressed: one that has too many of them gives its
        memory back at once.
        """
        if not body.is_gzip:
            await self._scheduler.turn(1 + len(body.content) // BYTES_PER_EVENT)
            return ExpandedBody(body.content, None)
        reservation.grow(2 * body.size)  # for the pieces, and for all of them together
        turns = 1 + min(body.size, UNZIP_BYTES) // BYTES_PER_EVENT
        await self._scheduler.turn(turns)
        complexity = Complexity()
        pieces: list[bytes] = []
        for piece in unzip(body.content, body.size, self._settings.max_request_bytes):
            complexity.add(piece)
            pieces.append(piece)
            if len(piece) == UNZIP_BYTES:
                await self._scheduler.turn(turns)
        return ExpandedBody(b"".join(pieces), complexity)

    def _check_beginning(self, body: bytes, *, is_gzip: bool) -> None:
        """Raise `BadRequest` unless the beginning of a large body contains a known write key."""
        beginning = body[:UNAUTHENTICATED_BYTES]
        if is_gzip:
            beginning = unzip_beginning(beginning, UNAUTHENTICATED_BYTES)
        if not self._authenticator.is_named_in(beginning):
            message = (
                f"The first {UNAUTHENTICATED_BYTES // 1024} KiB of the body contain no known `writeKey`. Send the "
                "write key as the user name of Basic authentication."
            )
            raise BadRequest(401, "no_write_key", message)


def _failure(error: Exception) -> Exception:
    """The exception to raise for one that the stream of a body raised.

    The stream keeps its exception, whose traceback refers to the stream and to what was read: it is removed, because
    otherwise they would be kept until the garbage collector runs.
    """
    error.__traceback__ = None
    match error:
        case Overloaded():
            return overloaded()
        case web.RequestPayloadError():
            return BadRequest(400, "broken_body", "The body is not valid HTTP. Send the request again.")
        case _:
            return ConnectionResetError("the connection was closed")


def _is_gzip(request: web.BaseRequest) -> bool:
    """Whether the body is compressed. Raises `BadRequest` for another encoding."""
    given = request.headers.get("Content-Encoding")
    if given is None or given.lower() in {"", "identity"}:
        return False
    if given.lower() in {"gzip", "x-gzip"}:
        return True
    message = "The Content-Encoding is not supported. Send the body as gzip or uncompressed."
    raise BadRequest(415, "unknown_encoding", message)


def _send_continue(request: web.BaseRequest) -> None:
    """Answer `Expect: 100-continue`, for which a sender waits before it sends the body (RFC 9110, 10.1.1)."""
    expectation = request.headers.get("Expect")
    if expectation is None:
        return
    if expectation.lower() != "100-continue":
        raise BadRequest(417, "expectation_failed", "The Expect header is not supported; leave it out.")
    if request.transport is not None and request.version >= HttpVersion11:
        request.transport.write(CONTINUE)
