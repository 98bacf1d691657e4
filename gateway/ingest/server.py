"""HTTP server for senders: a drop-in data plane for the RudderStack and Segment SDKs.

A request is read within limits, its events are mapped, and the response is 200 once they are durable. A request is
stored as a whole or not at all. Events that cannot be mapped do not fail a batch: the response lists them, and each is
stored as a dead letter with its reason.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, cast

import orjson
from aiohttp import web

from gateway.config import ServerSettings
from gateway.ingest.authentication import Authenticator
from gateway.ingest.body import BYTES_PER_EVENT, BodyReader, Reservation
from gateway.ingest.connections import Connection, ConnectionServer, max_connections
from gateway.ingest.decode import MAX_VALUES, UNZIP_BYTES, BadRequest, Complexity, decode_leniently, decode_strictly
from gateway.ingest.events import IGNORED_TYPES, RequestResult, Source, map_event, reject_event
from gateway.ingest.fair_scheduler import FairScheduler
from gateway.ingest.listeners import ListenSockets, bind
from gateway.ingest.response import JsonResponse, error_body
from gateway.ingest.tap_entries import tap_entries
from gateway.memory_budget import MemoryBudget
from gateway.model import DeadLetter, JsonObject, MappedEvent, Rejection
from gateway.spool import CommitQueueFull, SpoolFull, SpoolUnavailable
from gateway.tap import Tap, TapEntry
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
SLICE_SECONDS = 0.005
"""Time after which they get one earlier: some events take longer to map than others."""
EVENTS_PER_ROUND = 128
"""Events that are mapped in one iteration of the event loop. With one more slice this takes about 7 ms."""
DECODED_VALUES_PER_EVENT = 1000
"""Values that are decoded in that time. A container takes as long as three others."""
MAPPED_VALUES_PER_EVENT = 128
"""Values of events that are mapped in that time. A usual event has fewer."""
SOURCE_FACTOR = 4
"""An event of a batch may have this many times `max_event_bytes` before it is mapped, and `max_event_bytes` after."""
MAX_EVENT_VALUES = 16_000
"""Values of an event. Mapping and redacting it takes up to 15 ms for each destination, in one piece."""
MAX_NAMED_REJECTIONS = 100
"""Rejected events that a response lists; of more than that it gives the counts by code."""
RETRY_AFTER = "Retry-After: 1\r\n"
KEEP_ALIVE_SECONDS = 75.0
"""Seconds until an idle connection is closed: longer than most load balancers keep theirs open (60 s)."""
STOPPING = BadRequest(503, "stopping", "The gateway is stopping. Send the request again in a few seconds.")
CLIENT_CLOSED_REQUEST = 499
"""Status under which requests are counted whose sender disconnected before it had sent them completely."""


class GroupCommitter(Protocol):
    """The part of `gateway.spool.GroupCommitter` that ingest uses."""

    def commit(
        self, mapped: list[MappedEvent], dead_letters: Sequence[DeadLetter], durable: Callable[[], None], /
    ) -> Awaitable[None]:
        """See `gateway.spool.GroupCommitter`."""
        ...


class MappedRequest(NamedTuple):
    """A request whose events are mapped."""

    source: Source
    result: RequestResult
    events: int
    """Source events in the request."""


class DecodedBody(NamedTuple):
    """The body of a request."""

    document: JsonObject
    complexity: Complexity


class Ingest:
    """The HTTP server for senders."""

    def __init__(
        self,
        settings: ServerSettings,
        sources: Mapping[str, Source],
        committer: GroupCommitter,
        ledger: Ledger,
        budget: MemoryBudget,
        clock: Callable[[], float] = time.time,
        tap: Tap | None = None,
    ) -> None:
        """`sources` by write key. `tap`: the live view."""
        self._settings = settings
        self._committer = committer
        self._ledger = ledger
        self._budget = budget
        self._clock = clock
        self._tap = tap or Tap()
        self._authenticator = Authenticator(sources)
        # Only the loop's thread changes these.
        self._scheduler = FairScheduler(EVENTS_PER_ROUND)
        self._bodies = BodyReader(settings, budget, self._scheduler, self._authenticator)
        self._closing = False  # set once, when the gateway stops
        self._runner: web.ServerRunner | None = None
        self._late_check: asyncio.Task[None] | None = None
        self._sockets: ListenSockets | None = None  # those that were bound here
        self._servers: list[asyncio.Server] = []
        self._port = 0

    @property
    def port(self) -> int:
        """The TCP port. Valid after `start` without sockets."""
        return self._port

    def reload(self, sources: Mapping[str, Source]) -> None:
        """Use other sources (by write key) from the next request on."""
        self._authenticator.reload(sources)

    async def start(self, listening: Sequence[socket.socket] | None = None) -> None:
        """Listen on these bound sockets, or bind those of the settings.

        Raises `GatewayError` when an address cannot be bound.
        """
        settings = self._settings
        loop = asyncio.get_running_loop()
        server = ConnectionServer(
            self.handle,
            limit=max_connections(settings.max_connections),
            head_timeout=settings.read_timeout,
            budget=self._budget,
            on_malformed=partial(self._count_request, "malformed"),
            on_overload=partial(self._count_request, "memory_limit", 429),
            on_closed=partial(self._count_request, "connection_limit", 503),
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
        self._late_check = asyncio.create_task(server.close_late(), name="close late connections")

    def stop_accepting(self) -> None:
        """Answer every request with 503 from now on."""
        self._closing = True

    async def stop(self) -> None:
        """Finish the requests in progress, within a few seconds, and close every connection."""
        self._closing = True
        if self._late_check is not None:
            self._late_check.cancel()
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
            status, content = error.status, error_body(error.code, str(error))
        except CommitQueueFull as error:
            status, content = 429, error_body("overloaded", str(error))
        except SpoolFull as error:
            status, content = 503, error_body("spool_full", str(error))
        except SpoolUnavailable as error:
            status, content = 503, error_body("spool_unavailable", str(error))
        except ConnectionError:
            self._count_request(route, CLIENT_CLOSED_REQUEST)
            return JsonResponse(400, b"", close=True)  # to nobody
        except Exception:
            # A bug. The sender keeps its events and retries.
            log.exception(
                "a request failed with an internal error; its sender got status 500",
                extra={"route": route if route in ROUTES else "other"},
            )
            message = "Internal error of the gateway; its log has the details. Send the request again later."
            status, content = 500, error_body("internal_error", message)
        self._count_request(route, status)
        if status == 200:
            return JsonResponse(200, content)
        close = status >= 400 and (self._closing or status in {401, 408, 413, 417})
        headers = RETRY_AFTER if status in {429, 503} else ""
        return JsonResponse(status, content, close=close, headers=headers)

    def _count_request(self, route: str, status: int) -> None:
        known = route in ROUTES or route in {"malformed", "memory_limit", "connection_limit"}
        self._ledger.requests[route if known else "other", status] += 1

    async def _respond(self, request: web.BaseRequest, route: str) -> tuple[int, bytes]:
        if route not in ROUTES:
            raise BadRequest(404, "unknown_route", f"The path is unknown. Send events to {', '.join(ROUTES)}.")
        if request.method != "POST":
            raise BadRequest(405, "method_not_allowed", "The method is not allowed. Send events with POST.")
        if self._closing:
            raise STOPPING
        source = self._authenticator.by_header(request.headers.get("Authorization"))
        connection = cast("Connection", request.protocol)
        if source is not None:
            connection.authenticate()
        with Reservation(self._budget) as reservation:
            body = await self._bodies.receive(request, reservation, is_authenticated=source is not None)
            content, complexity = await self._bodies.expand(body, reservation)
            del body
            document = await self._decode(content, complexity)
            if source is None:
                source = self._authenticator.by_body(document.get("writeKey"))
                connection.authenticate()
            decoded = DecodedBody(document, complexity)
            del content, document
            call_type = ROUTES[route]
            if call_type is None:
                mapped = await self._map_batch(source, decoded, reservation)
            else:
                mapped = await self._map_single(source, decoded, call_type)
            tapped = self._describe(mapped, decoded.document) if self._tap.is_active else None
            del decoded
            reservation.resize(mapped.result.size)
            await self._commit(mapped)
        if tapped is not None:
            self._tap.publish(tapped, mapped.events)
        if call_type is not None and mapped.result.rejected:
            rejection = mapped.result.rejected[0].rejection
            return 400, error_body(rejection.code, rejection.message, status="rejected")
        return 200, _accepted_body(mapped.result)

    def _describe(self, mapped: MappedRequest, document: JsonObject) -> Sequence[TapEntry]:
        """The entries of a request for the live view."""
        return tap_entries(mapped.source.name, document, mapped.result, self._tap.allowance(), self._clock())

    async def _turn(self, events: int) -> None:
        """Wait for the turn to process this many events, or something that takes as long."""
        if turn := self._scheduler.acquire(events):
            await turn

    async def _decode(self, body: bytes, complexity: Complexity) -> JsonObject:
        """Decode a body. Raises `BadRequest`."""
        turns = (complexity.values + 2 * complexity.containers) // DECODED_VALUES_PER_EVENT
        if turns > 1 + complexity.size // BYTES_PER_EVENT or complexity.size > UNZIP_BYTES:
            await self._turn(max(turns, complexity.size // BYTES_PER_EVENT))
        try:
            document = decode_strictly(body)
        except orjson.JSONDecodeError as error:
            await self._turn(EVENTS_PER_ROUND)
            document = decode_leniently(body, error)
        if document.__class__ is not dict:
            raise BadRequest(
                400, "not_an_object", "The body is not a JSON object. Send an event or a batch as an object."
            )
        return cast("JsonObject", document)

    async def _map_single(self, source: Source, body: DecodedBody, call_type: str) -> MappedRequest:
        """Map the event that is the body of a request. Raises `BadRequest`."""
        max_bytes = self._settings.max_event_bytes
        if body.complexity.size > max_bytes or body.complexity.values > MAX_EVENT_VALUES:
            message = f"The event is larger than {max_bytes} bytes or has more than {MAX_EVENT_VALUES} values."
            raise BadRequest(413, "event_too_large", f"{message} Send fewer or shorter properties.")
        result = RequestResult()
        if call_type in IGNORED_TYPES:
            result.ignored = 1
        else:
            if body.complexity.values > MAPPED_VALUES_PER_EVENT:
                await self._turn(body.complexity.values // MAPPED_VALUES_PER_EVENT)
            map_event(source, body.document, 0, int(self._clock()), result, max_bytes)
        return MappedRequest(source, result, 1)

    async def _map_batch(self, source: Source, body: DecodedBody, reservation: Reservation) -> MappedRequest:
        """Map the events of a batch. Raises `BadRequest`."""
        settings, envelope, now = self._settings, body.document, int(self._clock())
        max_bytes = settings.max_event_bytes
        events = _events_of(envelope, settings.max_batch_events)
        shared, shared_values = _shared_context(envelope, len(events), settings)
        turns = max(1.0, (body.complexity.values / len(events) + shared_values) / MAPPED_VALUES_PER_EVENT)
        has_large_events = body.complexity.size > max_bytes * SOURCE_FACTOR or body.complexity.values > MAX_EVENT_VALUES
        result = RequestResult()
        reserved = 0  # for the result
        slice_ends_at, slice_end = 0, 0.0  # index, and time by the monotonic clock
        for index, event in enumerate(events):
            if index == slice_ends_at or time.monotonic() > slice_end:
                reservation.grow(result.size - reserved)
                reserved = result.size
                await self._next_slice(min(EVENTS_PER_SLICE, len(events) - index), turns, is_first=index == 0)
                slice_ends_at, slice_end = index + EVENTS_PER_SLICE, time.monotonic() + SLICE_SECONDS
            if event.__class__ is not dict:
                reject_event(source, event, index, now, result, NOT_AN_OBJECT)
                continue
            call_type = event.get("type")
            if call_type == "track":
                if has_large_events and _is_large(event, max_bytes * SOURCE_FACTOR):
                    reject_event(source, event, index, now, result, EVENT_TOO_LARGE)
                    continue
                if shared:
                    event = _with_shared_context(shared, event)  # noqa: PLW2901
                map_event(source, event, index, now, result, max_bytes)
            elif call_type.__class__ is str and call_type in IGNORED_TYPES:
                result.ignored += 1
            else:
                reject_event(source, event, index, now, result, UNKNOWN_TYPE)
        return MappedRequest(source, result, len(events))

    async def _next_slice(self, events: int, turns: float, *, is_first: bool) -> None:
        """Wait for the turn to map more events, each of which takes as long as `turns` usual ones.

        Between two slices, other tasks run at least once.
        """
        if turn := self._scheduler.acquire(int(events * turns)):
            await turn
        elif not is_first:
            await asyncio.sleep(0)

    async def _commit(self, mapped: MappedRequest) -> None:
        """Make the result durable, then count it. Both happen even if the sender disconnects meanwhile."""
        result = mapped.result
        if result.mapped or result.dead_letters:
            await self._committer.commit(result.mapped, result.dead_letters, partial(self._durable, mapped))
        else:
            self._count(mapped)

    def _durable(self, mapped: MappedRequest) -> None:
        for destination, keys in mapped.result.keys.items():
            mapped.source.dedup[destination].add(keys, self._clock())
        self._count(mapped)

    def _count(self, mapped: MappedRequest) -> None:
        ledger, result, source = self._ledger, mapped.result, mapped.source.name
        ledger.received[source] += mapped.events
        if result.ignored:
            ledger.ignored[source] += result.ignored
        for destination, count in result.mapped_by_destination.items():
            ledger.accepted[source, destination] += count
        for destination, count in result.consent_denied.items():
            ledger.consent_denied[source, destination] += count
        for destination, count in result.deduplicated.items():
            ledger.deduplicated[source, destination] += count
        for (destination, code), count in result.rejections.items():
            ledger.rejected[source, destination, code] += count
        for dead_letter in result.dead_letters:
            ledger.dead[dead_letter.destination, dead_letter.stage, dead_letter.code] += 1


NOT_AN_OBJECT = Rejection("not_an_object", "The event is not a JSON object. Send each event as an object.")
UNKNOWN_TYPE = Rejection(
    "unknown_type",
    "The event's `type` is missing or unknown. Set it to track, identify, page, screen, group or alias.",
)
EVENT_TOO_LARGE = Rejection(
    "event_too_large",
    f"The event is larger than {SOURCE_FACTOR} times `server.max_event_bytes`, has more than {MAX_EVENT_VALUES} values "
    "or more than 250 levels. Send fewer or shorter properties.",
)


def _events_of(envelope: JsonObject, max_events: int) -> list[Any]:
    """The events of a batch. Raises `BadRequest`."""
    events = envelope.get("batch")
    if not isinstance(events, list):
        raise BadRequest(400, "no_batch", "`batch` is missing or not a list. Send the events as a list in `batch`.")
    if not events:
        raise BadRequest(400, "empty_batch", "`batch` is empty. Send at least one event.")
    if len(events) > max_events:
        message = f"The batch has {len(events)} events; at most {max_events} are allowed. Send smaller batches."
        raise BadRequest(413, "too_many_events", message)
    return events


def _shared_context(envelope: JsonObject, events: int, settings: ServerSettings) -> tuple[JsonObject, int]:
    """What a batch says for all of its events, and the number of its values.

    Raises `BadRequest` when it is large: it costs as much as if each event contained it.
    """
    shared = {key: value for key in ("context", "integrations") if (value := envelope.get(key)).__class__ is dict}
    if not shared:
        return {}, 0
    encoded = _encoded(shared)
    values = _count_values(encoded)
    limit = min(settings.max_event_bytes, settings.max_request_bytes // events)
    if not encoded or len(encoded) > limit or values * events > MAX_VALUES:
        message = f"The batch's `context` and `integrations` are too large for {events} events: {limit} bytes and"
        message = f"{message} {MAX_VALUES // events} values are allowed, and 250 levels. Send less in them."
        raise BadRequest(413, "shared_context_too_large", message)
    return shared, values


def _is_large(event: JsonObject, max_bytes: int) -> bool:
    encoded = _encoded(event)
    return not encoded or len(encoded) > max_bytes or _count_values(encoded) > MAX_EVENT_VALUES


def _encoded(value: JsonObject) -> bytes:
    """A decoded object as JSON; empty when it cannot be encoded, because it has too many levels."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return b""


def _count_values(encoded: bytes) -> int:
    """An upper bound of the number of values in a JSON text."""
    return 1 + encoded.count(b",") + encoded.count(b"{") + encoded.count(b"[")


def _accepted_body(result: RequestResult) -> bytes:
    body = b'{"status":"ok","accepted":%d,"ignored":%d,"rejected":' % (result.accepted, result.ignored)
    if not result.rejected:
        return body + b"[]}"
    named = orjson.dumps([event.as_json() for event in result.rejected[:MAX_NAMED_REJECTIONS]])
    if len(result.rejected) <= MAX_NAMED_REJECTIONS:
        return body + named + b"}"
    counts = Counter(event.rejection.code for event in result.rejected)
    return body + named + b',"rejected_by_code":' + orjson.dumps(counts) + b"}"


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
