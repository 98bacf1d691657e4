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
from gateway.ingest.answer import Answer
from gateway.ingest.calls import IGNORED_TYPES, Source, Taken, refuse, take
from gateway.ingest.decode import BadRequest, decode, too_large, unzip
from gateway.ingest.sockets import Bound, bind
from gateway.ingest.turns import Turns
from gateway.model import DeadLetter, JsonObject, MappedEvent, Rejection
from gateway.spool import CommitQueueFull, SpoolFull, SpoolUnavailable
from gateway.telemetry import Ledger

log = logging.getLogger("gateway.ingest")

SINGLE = ("track", "identify", "page", "screen", "group", "alias")
ROUTES: Mapping[str, str | None] = {
    **{f"/v1/{kind}": kind for kind in SINGLE},
    "/v1/batch": None,
    "/v1/import": None,
}
"""Path to the type of its single call; None: a batch."""

BACKLOG = 1024
"""Connections that wait to be accepted."""
SLICE = 128
"""Events that are mapped before others get a turn on the loop."""
ROUND = 128
"""Events that are mapped in one round of the loop: with one slice more, some 7 ms."""
DECODED = 6000
"""Bytes of a body that are decoded in the time in which an event is mapped."""
RETRY_AFTER = "Retry-After: 1\r\n"
KEEP_ALIVE = 75.0
"""Seconds that an idle connection is kept: above what load balancers keep theirs (60 s, mostly)."""
STOPPING = BadRequest(503, "stopping", "The gateway is stopping. Send again to its successor.")
REMEMBERED = 4096
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
        self._turns = Turns(ROUND)
        self._in_flight = 0  # bytes of bodies that are being read or handled
        self._refusing = False  # set once, when the gateway leaves
        self._runner: web.ServerRunner | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._bound: Bound | None = None  # the sockets that are our own
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
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=2.0,
            auto_decompress=False,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=5.0)
        await self._runner.setup()
        if listening is None:
            self._bound = bind(settings, 1)
            self._port = self._bound.port
            listening = self._bound.of(0)
        for one in listening:
            if one.family == socket.AF_UNIX:
                self._servers.append(await loop.create_unix_server(server, sock=one, backlog=BACKLOG))
            else:
                self._servers.append(await loop.create_server(server, sock=one, backlog=BACKLOG))
        self._sweeper = asyncio.create_task(self._sweep(server), name="slow senders")

    def refuse(self) -> None:
        """From now on every request gets 503."""
        self._refusing = True

    async def stop(self) -> None:
        """Finish requests that are under way, within a few seconds, and close every connection."""
        self._refusing = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for one in self._servers:
            one.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        if self._bound is not None:
            self._bound.close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request, whatever it is. Runs once a request."""
        route = request.raw_path
        if route not in ROUTES:
            route = request.path  # without the query, and unquoted
        try:
            status, content = await self._answer(request, route)
        except BadRequest as refusal:
            status, content = refusal.status, _refused(refusal.code, str(refusal))
        except CommitQueueFull as refusal:
            status, content = 429, _refused("overloaded", str(refusal))
        except SpoolFull as refusal:
            status, content = 503, _refused("spool_full", str(refusal))
        except SpoolUnavailable as refusal:
            status, content = 503, _refused("spool_unavailable", str(refusal))
        except Exception:
            # A defect of this process; the sender keeps its events and comes again.
            log.exception("a request could not be answered", extra={"route": route})
            status, content = 500, _refused("internal_error", "A defect of the gateway; its log says more.")
        self._ledger.requests[route if route in ROUTES else "other", status] += 1
        if status == 200:
            return Answer(200, content)
        close = status >= 400 and (self._refusing or status in {408, 413})
        headers = RETRY_AFTER if status in {429, 503} else ""
        return Answer(status, content, close=close, headers=headers)

    async def _answer(self, request: web.BaseRequest, route: str) -> tuple[int, bytes]:
        if route not in ROUTES:
            raise BadRequest(404, "unknown_route", f"There are {', '.join(ROUTES)}.")
        if request.method != "POST":
            raise BadRequest(405, "method_not_allowed", "Send events with POST.")
        if self._refusing:
            raise STOPPING
        body = await self._read(request)
        self._in_flight += len(body)
        try:
            return await self._take_body(request, ROUTES[route], body)
        finally:
            self._in_flight -= len(body)

    async def _take_body(self, request: web.BaseRequest, kind: str | None, body: bytes) -> tuple[int, bytes]:
        settings = self._settings
        if turn := self._turns.take(1 + len(body) // DECODED):
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
            return await self._take_batch(source, tree, now)
        if len(body) > settings.max_event_bytes:
            raise BadRequest(413, "event_too_large", f"An event may have {settings.max_event_bytes} bytes.")
        return await self._take_single(source, kind, tree, now)

    async def _take_single(self, source: Source, kind: str, event: JsonObject, now: int) -> tuple[int, bytes]:
        taken = Taken()
        if kind in IGNORED_TYPES:
            taken.ignored = 1
        else:
            take(source, event, 0, now, taken, self._settings.max_event_bytes)
        await self._commit(source, taken, 1)
        if taken.refused:
            (one,) = taken.refused
            return 400, _refused(one.rejection.code, one.rejection.message, status="rejected")
        return 200, _accepted(taken)

    async def _take_batch(self, source: Source, envelope: JsonObject, now: int) -> tuple[int, bytes]:
        events = envelope.get("batch")
        if events.__class__ is not list:
            raise BadRequest(400, "no_batch", "`batch` is not there, or not a list of events.")
        if not events:
            raise BadRequest(400, "empty_batch", "`batch` has no events.")
        shared = {key: found for key in ("context", "integrations") if (found := envelope.get(key)).__class__ is dict}
        taken = Taken()
        longest = self._settings.max_event_bytes
        for index, event in enumerate(events):
            if index % SLICE == 0 and (turn := self._turns.take(min(SLICE, len(events) - index))):
                await turn
            if event.__class__ is not dict:
                refuse(source, event, index, now, taken, NOT_AN_OBJECT)
                continue
            kind = event.get("type")
            if kind == "track":
                take(source, _merged(shared, event) if shared else event, index, now, taken, longest)
            elif kind.__class__ is str and kind in IGNORED_TYPES:
                taken.ignored += 1
            else:
                refuse(source, event, index, now, taken, UNKNOWN_TYPE)
        await self._commit(source, taken, len(events))
        return 200, _accepted(taken)

    async def _commit(self, source: Source, taken: Taken, events: int) -> None:
        """Make it durable, then count it. A sender that goes away meanwhile does not undo either."""
        if taken.mapped or taken.letters:
            await self._committer.commit(taken.mapped, taken.letters, partial(self._durable, source, taken, events))
        else:
            self._count(source, taken, events)

    def _durable(self, source: Source, taken: Taken, events: int) -> None:
        for destination, keys in taken.keys.items():
            source.repeats[destination].add(keys, self._clock())
        self._count(source, taken, events)

    def _count(self, source: Source, taken: Taken, events: int) -> None:
        ledger = self._ledger
        ledger.received[source.name] += events
        if taken.ignored:
            ledger.ignored[source.name] += taken.ignored
        for destination, count in taken.mapped_by_destination.items():
            ledger.accepted[source.name, destination] += count
        for destination, count in taken.repeated.items():
            ledger.repeated[source.name, destination] += count
        for letter in taken.letters:
            ledger.rejected[source.name, letter.destination, letter.code] += 1
            ledger.dead[letter.destination, letter.stage, letter.code] += 1

    async def _read(self, request: web.BaseRequest) -> bytes:
        """The body as it was sent, or a refusal."""
        settings = self._settings
        content = request.content
        is_here = content.is_eof()  # mostly: a request that is not large comes with its head
        length = content.total_bytes if is_here else request.content_length or 0
        if length > settings.max_request_bytes:
            raise too_large(settings.max_request_bytes)
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
                        raise too_large(settings.max_request_bytes)
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
            if len(known) >= REMEMBERED:
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

    async def _sweep(self, server: web.Server) -> None:
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


def _accepted(taken: Taken) -> bytes:
    rejected = orjson.dumps([one.as_json() for one in taken.refused]) if taken.refused else b"[]"
    return b'{"status":"ok","accepted":%d,"ignored":%d,"rejected":%b}' % (taken.accepted, taken.ignored, rejected)


def _refused(code: str, message: str, **more: str) -> bytes:
    return orjson.dumps({**more, "code": code, "message": message})


def _merged(shared: Mapping[str, JsonObject], event: JsonObject) -> JsonObject:
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
