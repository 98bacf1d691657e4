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
from typing import Protocol, cast

import orjson
from aiohttp import web

from gateway.config import ServerSettings
from gateway.ingest.authentication import Authenticator
from gateway.ingest.body import BodyReader, Reservation
from gateway.ingest.connections import Connection, ConnectionServer, max_connections
from gateway.ingest.decode import BadRequest
from gateway.ingest.documents import DocumentReader, RequestDocument
from gateway.ingest.events import RequestResult, Source
from gateway.ingest.fair_scheduler import FairScheduler
from gateway.ingest.listeners import ListenSockets, bind
from gateway.ingest.request_mapper import MappedRequest, RequestMapper
from gateway.ingest.response import JsonResponse, error_body
from gateway.ingest.tap_entries import tap_entries
from gateway.memory_budget import MemoryBudget
from gateway.model import DeadLetter, MappedRun
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
        self, runs: Sequence[MappedRun], dead_letters: Sequence[DeadLetter], durable: Callable[[], None], /
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
        scheduler = FairScheduler()
        self._bodies = BodyReader(settings, budget, scheduler, self._authenticator)
        self._documents = DocumentReader(settings, scheduler)
        self._mapper = RequestMapper(settings, scheduler, clock)
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
            expanded = await self._bodies.expand(body, reservation)
            del body
            call_type = ROUTES[route]
            document = await self._documents.read(expanded, reservation, is_batch=call_type is None)
            del expanded
            if source is None:
                source = self._authenticator.by_body(document.write_key)
                connection.authenticate()
            if call_type is None:
                mapped = await self._mapper.map_batch(source, document, reservation)
            else:
                mapped = await self._mapper.map_single(source, document, call_type)
            tapped = self._describe(mapped, document) if self._tap.is_active else None
            del document
            reservation.resize(mapped.result.size)
            await self._commit(mapped)
        if tapped is not None:
            self._tap.publish(tapped, mapped.events)
        if call_type is not None and mapped.result.rejected:
            rejection = mapped.result.rejected[0].rejection
            return 400, error_body(rejection.code, rejection.message, status="rejected")
        return 200, _accepted_body(mapped.result)

    def _describe(self, mapped: MappedRequest, document: RequestDocument) -> Sequence[TapEntry]:
        """The entries of a request for the live view."""
        return tap_entries(mapped.source.name, document, mapped.result, self._tap.allowance(), self._clock())

    async def _commit(self, mapped: MappedRequest) -> None:
        """Make the result durable, then count it. Both happen even if the sender disconnects meanwhile."""
        result = mapped.result
        runs = result.all_runs()
        if runs or result.dead_letters:
            await self._committer.commit(runs, result.dead_letters, partial(self._durable, mapped))
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


def _accepted_body(result: RequestResult) -> bytes:
    body = b'{"status":"ok","accepted":%d,"ignored":%d,"rejected":' % (result.accepted, result.ignored)
    if not result.rejected:
        return body + b"[]}"
    named = orjson.dumps([event.as_json() for event in result.rejected[:MAX_NAMED_REJECTIONS]])
    if len(result.rejected) <= MAX_NAMED_REJECTIONS:
        return body + named + b"}"
    counts = Counter(event.rejection.code for event in result.rejected)
    return body + named + b',"rejected_by_code":' + orjson.dumps(counts) + b"}"
