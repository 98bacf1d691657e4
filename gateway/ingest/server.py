"""The HTTP face for senders: a drop-in data plane for the RudderStack and Segment SDKs.

A request is read within bounds, its events are mapped, and the answer is 200 once everything of it is durable. It takes
all of a request or nothing, but for events that cannot be mapped: those are named in the answer and kept with their
reason.
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
"""Path to the type of its single call; None: a batch."""

ACCEPT_BACKLOG = 1024
"""Connections that wait to be accepted."""
EVENTS_PER_SLICE = 128
"""Events that are mapped before others get a turn on the loop."""
EVENTS_PER_ROUND = 128
"""Events that are mapped in one round of the loop: with one slice more, some 7 ms."""
BYTES_PER_EVENT = 6000
"""Bytes of a body that are decoded in the time in which an event is mapped."""
RETRY_AFTER = "Retry-After: 1\r\n"
KEEP_ALIVE_SECONDS = 75.0
"""Seconds that an idle connection is kept: above what load balancers keep theirs (60 s, mostly)."""
STOPPING = BadRequest(503, "stopping", "The gateway is stopping. Send again to its successor.")
MAX_CACHED_HEADERS = 4096
"""Authorization headers whose source is remembered."""


class GroupCommitter(Protocol):
    """What makes events durable."""

    def commit(
        self, mapped: Sequence[MappedEvent], letters: Sequence[DeadLetter], durable: Callable[[], None], /
    ) -> Awaitable[None]:
        """See `gateway.spool.GroupCommitter`."""
        ...


class Ingest:
    """Listens for senders."""

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
        self._in_flight = 0  # bytes of bodies that are being read or handled
        self._closing = False  # set once, when the gateway leaves
        self._runner: web.ServerRunner | None = None
        self._silent_check: asyncio.Task[None] | None = None
        self._sockets: ListenSockets | None = None  # the sockets that are our own
        self._servers: list[asyncio.Server] = []
        self._port = 0

    @property
    def port(self) -> int:
        """The TCP port, once started on sockets of its own."""
        return self._port

    def reload(self, sources: Mapping[str, Source]) -> None:
        """Take other write keys, and other ways from them, from the next request on."""
        self._sources = sources
        self._by_header.clear()

    async def start(self, listening: Sequence[socket.socket] | None = None) -> None:
        """Listen, on these sockets where they are given. Raises `GatewayError` when an address cannot be had."""
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
        for one in listening:
            if one.family == socket.AF_UNIX:
                self._servers.append(await loop.create_unix_server(server, sock=one, backlog=ACCEPT_BACKLOG))
            else:
                self._servers.append(await loop.create_server(server, sock=one, backlog=ACCEPT_BACKLOG))
        self._silent_check = asyncio.create_task(self._close_silent_connections(server), name="slow senders")

    def stop_accepting(self) -> None:
        """From now on every request gets 503."""
        self._closing = True

    async def stop(self) -> None:
        """Finish requests that are under way, within a few seconds, and close every connection."""
        self._closing = True
        if self._silent_check is not None:
            self._silent_check.cancel()
        for one in self._servers:
            one.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._sockets is not None:
            self._sockets.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, whatever it is. Runs once a request."""
        route = request.raw_path
        if route not in ROUTES:
            route = request.path  # without the query, and unquoted
        try:
            status, content = await self._answer(request, route)
        except BadRequest as refusal:
            status, content = refusal.status, _error_body(refusal.code, str(refusal))
        except CommitQueueFull as refusal:
            status, content = 429, _error_body("overloaded", str(refusal))
        except SpoolFull as refusal:
            status, content = 503, _error_body("spool_full", str(refusal))
        except SpoolUnavailable as refusal:
            status, content = 503, _error_body("spool_unavailable", str(refusal))
        except Exception:
            # A defect of this process; the sender keeps its events and comes again.
            log.exception("a request could not be answered", extra={"route": route})
            status, content = 500, _error_body("internal_error", "A defect of the gateway; its log says more.")
        self._ledger.requests[route if route in ROUTES else "other", status] += 1
        if status == 200:
            return JsonResponse(200, content)
        close = status >= 400 and (self._closing or status in {408, 413})
        headers = RETRY_AFTER if status in {429, 503} else ""
        return JsonResponse(status, content, close=close, headers=headers)

    async def _answer(self, request: web.BaseRequest, route: str) -> tuple[int, bytes]:
        if route not in ROUTES:
            raise BadRequest(404, "unknown_route", f"There are {', '.join(ROUTES)}.")
        if request.method != "POST":
            raise BadRequest(405, "method_not_allowed", "Send events with POST.")
        if self._closing:
            raise STOPPING
        body = await self._read(request)
        self._in_flight += len(body)
        try:
            return await self._handle_body(request, ROUTES[route], body)
        finally:
            self._in_flight -= len(body)

    async def _handle_body(self, request: web.BaseRequest, kind: str | None, body: bytes) -> tuple[int, bytes]:
        settings = self._settings
        if turn := self._scheduler.acquire(1 + len(body) // BYTES_PER_EVENT):
            await turn
        headers = request.headers
        encoding = headers.get("Content-Encoding")
        if encoding is not None and encoding.lower() not in {"", "identity"}:
            if encoding.lower() not in {"gzip", "x-gzip"}:
                raise BadRequest(415, "unknown_encoding", "Content-Encoding may be gzip.")
            body = unzip(body, settings.max_request_bytes)
        source = self._source_of(headers.get("Authorization"))
        tree = decode(body)
        if tree.__class__ is not dict:
            raise BadRequest(400, "not_an_object", "The body is JSON, but not an object.")
        if source is None:
            source = self._source_of_key(tree.get("writeKey"))
        now = int(self._clock())
        if kind is None:
            return await self._handle_batch(source, tree, now)
        if len(body) > settings.max_event_bytes:
            raise BadRequest(413, "event_too_large", f"An event may have {settings.max_event_bytes} bytes.")
        return await self._handle_single(source, kind, tree, now)

    async def _handle_single(self, source: Source, kind: str, event: JsonObject, now: int) -> tuple[int, bytes]:
        result = RequestResult()
        if kind in IGNORED_TYPES:
            result.ignored = 1
        else:
            map_event(source, event, 0, now, result, self._settings.max_event_bytes)
        await self._commit(source, result, 1)
        if result.rejected:
            (one,) = result.rejected
            return 400, _error_body(one.rejection.code, one.rejection.message, status="rejected")
        return 200, _accepted_body(result)

    async def _handle_batch(self, source: Source, envelope: JsonObject, now: int) -> tuple[int, bytes]:
        events = envelope.get("batch")
        if events.__class__ is not list:
            raise BadRequest(400, "no_batch", "`batch` is not there, or not a list of events.")
        if not events:
            raise BadRequest(400, "empty_batch", "`batch` has no events.")
        shared = {key: found for key in ("context", "integrations") if (found := envelope.get(key)).__class__ is dict}
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
            kind = event.get("type")
            if kind == "track":
                map_event(
                    source, _with_shared_context(shared, event) if shared else event, index, now, result, max_bytes
                )
            elif kind.__class__ is str and kind in IGNORED_TYPES:
                result.ignored += 1
            else:
                reject_event(source, event, index, now, result, UNKNOWN_TYPE)
        await self._commit(source, result, len(events))
        return 200, _accepted_body(result)

    async def _commit(self, source: Source, result: RequestResult, events: int) -> None:
        """Make it durable, then count it. A sender that goes away meanwhile does not undo either."""
        if result.mapped or result.letters:
            await self._committer.commit(result.mapped, result.letters, partial(self._durable, source, result, events))
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
        for destination, count in result.deduplicated.items():
            ledger.deduplicated[source.name, destination] += count
        for letter in result.letters:
            ledger.rejected[source.name, letter.destination, letter.code] += 1
            ledger.dead[letter.destination, letter.stage, letter.code] += 1

    async def _read(self, request: web.BaseRequest) -> bytes:
        """The body as it was sent, or a refusal."""
        settings = self._settings
        content = request.content
        is_here = content.is_eof()  # mostly: a request that is not large comes with its head
        length = content.total_bytes if is_here else request.content_length or 0
        if length > settings.max_request_bytes:
            raise request_too_large(settings.max_request_bytes)
        if self._in_flight + length > settings.max_in_flight_bytes and self._in_flight:
            raise BadRequest(429, "overloaded", "Too much is being received at once. Send again soon.")
        if is_here:
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
            message = f"The request did not arrive within {settings.read_timeout:g} seconds."
            raise BadRequest(408, "too_slow", message) from None
        except web.RequestPayloadError:
            raise BadRequest(400, "broken_body", "The body could not be read to its end.") from None
        finally:
            self._in_flight -= len(read)
        return bytes(read)

    def _source_of(self, header: str | None) -> Source | None:
        """The source of an Authorization header; None: the body may name it. Raises `BadRequest`."""
        if header is None:
            return None
        known = self._by_header
        if header in known:
            found = known[header]
        else:
            found = self._sources.get(_user_name(header))
            if len(known) >= MAX_CACHED_HEADERS:
                known.clear()
            if len(header) <= 1024:
                known[header] = found
        if found is None:
            raise BadRequest(401, "unknown_write_key", "The write key in the Authorization header is not known.")
        return found

    def _source_of_key(self, key: Any) -> Source:
        if key.__class__ is not str or not key:
            message = "Give the write key as the user name of Basic authentication, or as writeKey in the body."
            raise BadRequest(401, "no_write_key", message)
        found = self._sources.get(key)
        if found is None:
            raise BadRequest(401, "unknown_write_key", "The writeKey in the body is not known.")
        return found

    async def _close_silent_connections(self, server: web.Server) -> None:
        """Close connections whose sender never finished the head of a first request."""
        first_seen: dict[int, float] = {}
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(1.0, self._settings.read_timeout / 4))
            now = loop.time()
            silent = {
                id(connection): connection
                for connection in server.connections
                if connection._request_count == 0 and connection.transport is not None  # noqa: SLF001 (no other way)
            }
            first_seen = {key: first_seen.get(key, now) for key in silent}
            for key, connection in silent.items():
                if now - first_seen[key] >= self._settings.read_timeout:
                    connection.force_close()


NOT_AN_OBJECT = Rejection("not_an_object", "The event is not a JSON object. Send each event as an object.")
UNKNOWN_TYPE = Rejection(
    "unknown_type", "The event's type is none of track, identify, page, screen, group and alias. Set one of them."
)


def _accepted_body(result: RequestResult) -> bytes:
    rejected = orjson.dumps([one.as_json() for one in result.rejected]) if result.rejected else b"[]"
    return b'{"status":"ok","accepted":%d,"ignored":%d,"rejected":%b}' % (result.accepted, result.ignored, rejected)


def _error_body(code: str, message: str, **more: str) -> bytes:
    return orjson.dumps({**more, "code": code, "message": message})


def _with_shared_context(shared: Mapping[str, JsonObject], event: JsonObject) -> JsonObject:
    """An event with what its batch says for all; what it says itself wins."""
    merged = dict(event)
    for key, common in shared.items():
        own = event.get(key)
        if own is None:
            merged[key] = common
        elif own.__class__ is dict:
            merged[key] = {**common, **own}
    return merged


def _user_name(header: str) -> str:
    """The user name of a Basic header; "" for anything else, which is no write key."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        with suppress(binascii.Error, UnicodeDecodeError, ValueError):
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[0]
    return ""
