"""HTTP server for senders: a drop-in data plane for the RudderStack and Segment SDKs.

A request is read within limits, its events are mapped, and the response is 200 once they are durable. A request is
stored as a whole or not at all. Events that cannot be mapped do not fail a batch: the response lists them, and each is
stored as a dead letter with its reason.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import orjson
from aiohttp import web

from gateway.config import ServerSettings
from gateway.ingest.decode import BadRequest, decode, request_too_large, unzip
from gateway.ingest.events import IGNORED_TYPES, RequestResult, Source, map_event, reject_event
from gateway.ingest.fair_scheduler import FairScheduler
from gateway.ingest.listeners import ListenSockets, bind
from gateway.ingest.response import JsonResponse
from gateway.model import DeadLetter, JsonObject, MappedEvent, Rejection
from gateway.spool import CommitQueueFull, SpoolFull, SpoolUnavailable
from gateway.telemetry import Ledger

log = logging.getLogger("gateway.ingest")

CALL_TYPES = ("track", "identify", "page", "screen", "group", "alias")
ROUTES: Mapping[str, str | None] = {
    **{f"/v1/{kind}": kind for kind in CALL_TYPES},
    "/v1/batch": None,
    "/v1/import": None,
}
"""By path, the type of the event that is the request body; None: the body is a batch."""

ACCEPT_BACKLOG = 1024
"""Connections that the kernel queues until they are accepted."""
EVENTS_PER_SLICE = 128
"""Events of one request that are mapped before other requests get a turn."""
EVENTS_PER_ROUND = 128
"""Events that are mapped in one iteration of the event loop. With one more slice this takes about 7 ms."""
BYTES_PER_EVENT = 6000
"""Bytes of a body that are decoded in the time that it takes to map one event."""
RETRY_AFTER = "Retry-After: 1\r\n"
KEEP_ALIVE_SECONDS = 75.0
"""Seconds until an idle connection is closed: longer than most load balancers keep theirs open (60 s)."""
STOPPING = BadRequest(503, "stopping", "The gateway is stopping. Send the request again in a few seconds.")
MAX_CACHED_HEADERS = 4096
"""Authorization headers for which the source is cached."""


class GroupCommitter(Protocol):
    """The part of `gateway.spool.GroupCommitter` that ingest uses."""

    def commit(
        self, mapped: Sequence[MappedEvent], dead_letters: Sequence[DeadLetter], durable: Callable[[], None], /
    ) -> Awaitable[None]:
        """See `gateway.spool.GroupCommitter`."""
        ...


class Ingest:
    """The HTTP server for senders."""

    def __init__(
        self,
        settings: ServerSettings,
        sources: Mapping[str, Source],
        committer: GroupCommitter,
        ledger: Ledger,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._sources = sources
        self._committer = committer
        self._ledger = ledger
        self._clock = clock
        # Only the loop's thread touches these.
        self._by_header: dict[str, Source | None] = {}
        self._scheduler = FairScheduler(EVENTS_PER_ROUND)
        self._in_flight = 0  # bytes of the request bodies that are being read or processed
        self._closing = False  # set once, when the gateway stops
        self._runner: web.ServerRunner | None = None
        self._silent_check: asyncio.Task[None] | None = None
        self._sockets: ListenSockets | None = None  # those that were bound here
        self._servers: list[asyncio.Server] = []
        self._port = 0

    @property
    def port(self) -> int:
        """The TCP port. Valid after `start` without sockets."""
        return self._port

    def reload(self, sources: Mapping[str, Source]) -> None:
        """Use other sources (by write key) from the next request on."""
        self._sources = sources
        self._by_header.clear()

    async def start(self, listening: Sequence[socket.socket] | None = None) -> None:
        """Listen on these bound sockets, or bind those of the settings.

        Raises `GatewayError` when an address cannot be bound.
        """
        settings = self._settings
        loop = asyncio.get_running_loop()
        server = web.Server(
            self.handle,
            request_factory=partial(web.BaseRequest, loop=loop, client_max_size=settings.max_request_bytes),
            access_log=None,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            lingering_time=2.0,
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=5.0)
        await self._runner.setup()
        if listening is None:
            self._sockets = bind(settings, 1)
            self._port = self._sockets.port
            listening = self._sockets.of(0)
        for listener in listening:
            if listener.family == socket.AF_UNIX:
                self._servers.append(await loop.create_unix_server(server, sock=listener, backlog=ACCEPT_BACKLOG))
            else:
                self._servers.append(await loop.create_server(server, sock=listener, backlog=ACCEPT_BACKLOG))
        self._silent_check = asyncio.create_task(
            self._close_silent_connections(server), name="close silent connections"
        )

    def stop_accepting(self) -> None:
        """Answer every request with 503 from now on."""
        self._closing = True

    async def stop(self) -> None:
        """Finish the requests in progress, within a few seconds, and close every connection."""
        self._closing = True
        if self._silent_check is not None:
            self._silent_check.cancel()
        for server in self._servers:
            server.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._sockets is not None:
            self._sockets.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Respond to a request, valid or not. Runs once a request."""
        route = request.raw_path
        if route not in ROUTES:
            route = request.path  # unquoted, without the query
        try:
            status, content = await self._respond(request, route)
        except BadRequest as error:
            status, content = error.status, _error_body(error.code, str(error))
        except CommitQueueFull as error:
            status, content = 429, _error_body("overloaded", str(error))
        except SpoolFull as error:
            status, content = 503, _error_body("spool_full", str(error))
        except SpoolUnavailable as error:
            status, content = 503, _error_body("spool_unavailable", str(error))
        except Exception:
            # A bug. The sender keeps its events and retries.
            log.exception("a request failed with an internal error; its sender got status 500", extra={"route": route})
            message = "Internal error of the gateway; its log has the details. Send the request again later."
            status, content = 500, _error_body("internal_error", message)
        self._ledger.requests[route if route in ROUTES else "other", status] += 1
        if status == 200:
            return JsonResponse(200, content)
        close = status >= 400 and (self._closing or status in {408, 413})
        headers = RETRY_AFTER if status in {429, 503} else ""
        return JsonResponse(status, content, close=close, headers=headers)

    async def _respond(self, request: web.BaseRequest, route: str) -> tuple[int, bytes]:
        if route not in ROUTES:
            raise BadRequest(404, "unknown_route", f"The path is unknown. Send events to {', '.join(ROUTES)}.")
        if request.method != "POST":
            raise BadRequest(405, "method_not_allowed", "The method is not allowed. Send events with POST.")
        if self._closing:
            raise STOPPING
        body = await self._read(request)
        self._in_flight += len(body)
        try:
            return await self._handle_body(request, ROUTES[route], body)
        finally:
            self._in_flight -= len(body)

    async def _handle_body(self, request: web.BaseRequest, call_type: str | None, body: bytes) -> tuple[int, bytes]:
        settings = self._settings
        if turn := self._scheduler.acquire(1 + len(body) // BYTES_PER_EVENT):
            await turn
        headers = request.headers
        encoding = headers.get("Content-Encoding")
        if encoding is not None and encoding.lower() not in {"", "identity"}:
            if encoding.lower() not in {"gzip", "x-gzip"}:
                message = "The Content-Encoding is not supported. Send the body as gzip or uncompressed."
                raise BadRequest(415, "unknown_encoding", message)
            body = unzip(body, settings.max_request_bytes)
        source = self._source_of(headers.get("Authorization"))
        content = decode(body)
        if content.__class__ is not dict:
            raise BadRequest(
                400, "not_an_object", "The body is not a JSON object. Send an event or a batch as an object."
            )
        if source is None:
            source = self._source_of_key(content.get("writeKey"))
        now = int(self._clock())
        if call_type is None:
            return await self._handle_batch(source, content, now)
        if len(body) > settings.max_event_bytes:
            message = f"The event is larger than {settings.max_event_bytes} bytes. Send fewer or shorter properties."
            raise BadRequest(413, "event_too_large", message)
        return await self._handle_single(source, call_type, content, now)

    async def _handle_single(self, source: Source, call_type: str, event: JsonObject, now: int) -> tuple[int, bytes]:
        result = RequestResult()
        if call_type in IGNORED_TYPES:
            result.ignored = 1
        else:
            map_event(source, event, 0, now, result, self._settings.max_event_bytes)
        await self._commit(source, result, 1)
        if result.rejected:
            rejection = result.rejected[0].rejection
            return 400, _error_body(rejection.code, rejection.message, status="rejected")
        return 200, _accepted_body(result)

    async def _handle_batch(self, source: Source, envelope: JsonObject, now: int) -> tuple[int, bytes]:
        events = envelope.get("batch")
        if events.__class__ is not list:
            raise BadRequest(400, "no_batch", "`batch` is missing or not a list. Send the events as a list in `batch`.")
        if not events:
            raise BadRequest(400, "empty_batch", "`batch` is empty. Send at least one event.")
        shared = {key: value for key in ("context", "integrations") if (value := envelope.get(key)).__class__ is dict}
        result = RequestResult()
        max_bytes = self._settings.max_event_bytes
        for index, event in enumerate(events):
            if index % EVENTS_PER_SLICE == 0 and (
                turn := self._scheduler.acquire(min(EVENTS_PER_SLICE, len(events) - index))
            ):
                await turn
            if event.__class__ is not dict:
                reject_event(source, event, index, now, result, NOT_AN_OBJECT)
                continue
            call_type = event.get("type")
            if call_type == "track":
                map_event(
                    source, _with_shared_context(shared, event) if shared else event, index, now, result, max_bytes
                )
            elif call_type.__class__ is str and call_type in IGNORED_TYPES:
                result.ignored += 1
            else:
                reject_event(source, event, index, now, result, UNKNOWN_TYPE)
        await self._commit(source, result, len(events))
        return 200, _accepted_body(result)

    async def _commit(self, source: Source, result: RequestResult, events: int) -> None:
        """Make the result durable, then count it. Both happen even if the sender disconnects meanwhile."""
        if result.mapped or result.dead_letters:
            durable = partial(self._durable, source, result, events)
            await self._committer.commit(result.mapped, result.dead_letters, durable)
        else:
            self._count(source, result, events)

    def _durable(self, source: Source, result: RequestResult, events: int) -> None:
        for destination, keys in result.keys.items():
            source.dedup[destination].add(keys, self._clock())
        self._count(source, result, events)

    def _count(self, source: Source, result: RequestResult, events: int) -> None:
        ledger = self._ledger
        ledger.received[source.name] += events
        if result.ignored:
            ledger.ignored[source.name] += result.ignored
        for destination, count in result.mapped_by_destination.items():
            ledger.accepted[source.name, destination] += count
        for destination, count in result.consent_denied.items():
            ledger.consent_denied[source.name, destination] += count
        for destination, count in result.deduplicated.items():
            ledger.deduplicated[source.name, destination] += count
        for dead_letter in result.dead_letters:
            ledger.rejected[source.name, dead_letter.destination, dead_letter.code] += 1
            ledger.dead[dead_letter.destination, dead_letter.stage, dead_letter.code] += 1

    async def _read(self, request: web.BaseRequest) -> bytes:
        """Read the body. Raises `BadRequest`."""
        settings = self._settings
        content = request.content
        is_complete = content.is_eof()  # the usual case: a small body arrives together with the head
        length = content.total_bytes if is_complete else request.content_length or 0
        if length > settings.max_request_bytes:
            raise request_too_large(settings.max_request_bytes)
        if self._in_flight + length > settings.max_in_flight_bytes and self._in_flight:
            message = "The gateway is receiving too much data. Send the request again in a second."
            raise BadRequest(429, "overloaded", message)
        if is_complete:
            return content.read_nowait(-1) if length else b""
        read = bytearray()
        try:
            async with asyncio.timeout(settings.read_timeout):
                async for piece in content.iter_any():
                    read += piece
                    self._in_flight += len(piece)
                    if len(read) > settings.max_request_bytes:
                        raise request_too_large(settings.max_request_bytes)
        except TimeoutError:
            message = f"The body did not arrive within {settings.read_timeout:g} seconds. Send the request again."
            raise BadRequest(408, "too_slow", message) from None
        except web.RequestPayloadError:
            raise BadRequest(400, "broken_body", "The body is incomplete. Send the request again.") from None
        finally:
            self._in_flight -= len(read)
        return bytes(read)

    def _source_of(self, header: str | None) -> Source | None:
        """The source of an Authorization header; None without a header. Raises `BadRequest`."""
        if header is None:
            return None
        cache = self._by_header
        if header in cache:
            source = cache[header]
        else:
            source = self._sources.get(_user_name(header))
            if len(cache) >= MAX_CACHED_HEADERS:
                cache.clear()
            if len(header) <= 1024:
                cache[header] = source
        if source is None:
            message = "The write key in the Authorization header is unknown. Use the write key of a configured source."
            raise BadRequest(401, "unknown_write_key", message)
        return source

    def _source_of_key(self, key: Any) -> Source:
        if key.__class__ is not str or not key:
            message = (
                "The write key is missing. Send it as the user name of Basic authentication, or as `writeKey` in the "
                "body."
            )
            raise BadRequest(401, "no_write_key", message)
        source = self._sources.get(key)
        if source is None:
            message = "The `writeKey` in the body is unknown. Use the write key of a configured source."
            raise BadRequest(401, "unknown_write_key", message)
        return source

    async def _close_silent_connections(self, server: web.Server) -> None:
        """Close connections that do not complete the head of their first request within `read_timeout`."""
        first_seen: dict[int, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self._settings.read_timeout / 4))
            now = loop.time()
            silent = {
                id(connection): connection
                for connection in server.connections
                if connection._request_count == 0 and connection.transport is not None  # noqa: SLF001 (aiohttp has no public way)
            }
            first_seen = {key: first_seen.get(key, now) for key in silent}
            for key, connection in silent.items():
                if now - first_seen[key] >= self._settings.read_timeout:
                    connection.force_close()


NOT_AN_OBJECT = Rejection("not_an_object", "The event is not a JSON object. Send each event as an object.")
UNKNOWN_TYPE = Rejection(
    "unknown_type",
    "The event's `type` is missing or unknown. Set it to track, identify, page, screen, group or alias.",
)


def _accepted_body(result: RequestResult) -> bytes:
    rejected = orjson.dumps([event.as_json() for event in result.rejected]) if result.rejected else b"[]"
    return b'{"status":"ok","accepted":%d,"ignored":%d,"rejected":%b}' % (result.accepted, result.ignored, rejected)


def _error_body(code: str, message: str, **more: str) -> bytes:
    return orjson.dumps({**more, "code": code, "message": message})


def _with_shared_context(shared: Mapping[str, JsonObject], event: JsonObject) -> JsonObject:
    """A copy of the event with the `context` and `integrations` of its batch. Its own values take precedence."""
    merged = dict(event)
    for key, defaults in shared.items():
        own = event.get(key)
        if own is None:
            merged[key] = defaults
        elif own.__class__ is dict:
            merged[key] = {**defaults, **own}
    return merged


def _user_name(header: str) -> str:
    """The user name of a Basic authentication header; "" (never a write key) for any other header."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        with suppress(binascii.Error, UnicodeDecodeError, ValueError):
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[0]
    return ""
