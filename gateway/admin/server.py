"""The HTTP server for operators: health, readiness, metrics, status, dead letters, probing of blocked lanes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import NamedTuple

from aiohttp import web

from gateway.admin import audit
from gateway.admin.access import AccessPolicy, Identity
from gateway.admin.connections import (
    HEADERS,
    KEEP_ALIVE_SECONDS,
    LINGERING_SECONDS,
    ConnectionServer,
    error_response,
    json_response,
)
from gateway.admin.console_data import history_page, quality_page, tap_page, trace_page
from gateway.admin.dead_letters import BadQuery, check_parameters, count_codes, list_page, parse_filter, run_action
from gateway.admin.gateway import Gateway
from gateway.admin.site import Site
from gateway.admin.status import status_of
from gateway.config import AdminSettings
from gateway.model import GatewayError
from gateway.spool import SpoolFull, SpoolUnavailable
from gateway.telemetry.metrics import CONTENT_TYPE, render

log = logging.getLogger("gateway.admin")

MAX_BODY_BYTES = 1024
"""A request has no parameters in its body. A short one is ignored, since some clients always send one."""
SEND_TIMEOUT = 30.0
"""Seconds in which the client has to read a response, but for the part that the kernel holds."""
MAX_LISTINGS = 2
"""Lists of dead letters that are read and sent at a time: each takes some ten megabytes. Further ones wait."""

Handler = Callable[[web.BaseRequest], Awaitable[web.Response]]


class Route(NamedTuple):
    """What a path is for."""

    method: str
    handler: Handler
    is_public: bool = False
    """Whether it needs no token and accepts any `Host`, since orchestrators probe it by the address of a container."""


class AdminServer:
    """Serves the admin port."""

    def __init__(
        self,
        settings: AdminSettings,
        gateway: Gateway,
        clock: Callable[[], float] = time.time,
        site: Site | None = None,
    ) -> None:
        """`site`: web pages for all paths but those of the JSON routes; None: there are none."""
        self._site = site
        self._settings = settings
        self._gateway = gateway
        self._clock = clock
        self._policy = AccessPolicy(settings)
        self._routes = {
            "/healthz": Route("GET", self._healthz, is_public=True),
            "/readyz": Route("GET", self._readyz, is_public=True),
            "/metrics": Route("GET", self._metrics),
            "/status": Route("GET", self._status),
            "/lanes/resume": Route("POST", self._resume),
            "/dead-letters": Route("GET", self._list_dead_letters),
            "/dead-letters/codes": Route("GET", self._count_codes),
            "/dead-letters/replay": Route("POST", self._replay),
            "/dead-letters/discard": Route("POST", self._discard),
            "/history": Route("GET", self._history),
            "/trace": Route("GET", self._trace),
            "/tap": Route("GET", self._tap),
            "/quality": Route("GET", self._quality),
        }
        # By path, what a request waits for before it is served.
        listings, actions = asyncio.Semaphore(MAX_LISTINGS), asyncio.Semaphore(1)
        self._turns: dict[str, AbstractAsyncContextManager[None]] = {
            "/dead-letters": listings,
            "/dead-letters/codes": listings,
            "/dead-letters/replay": actions,
            "/dead-letters/discard": actions,
            "/history": listings,
            "/trace": listings,
        }
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The TCP port, once started."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises `GatewayError` when the address cannot be bound."""
        server = ConnectionServer(
            self._handle, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS, lingering_time=LINGERING_SECONDS
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise GatewayError(f"cannot listen on admin.host {host}, admin.port {port}: {error.strerror}") from None
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        async with self._turns.get(request.path, nullcontext()):
            response = await self._respond(request)
            try:
                async with asyncio.timeout(SEND_TIMEOUT):
                    await response.prepare(request)
                    await response.write_eof()
            except TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
                raise ConnectionResetError("the client does not read the response") from None
        return response

    async def _respond(self, request: web.BaseRequest) -> web.StreamResponse:
        """Check the request, run its handler, and turn errors into JSON responses."""
        route = self._routes.get(request.path)
        address = (request.get_extra_info("sockname") or ("",))[0]
        site = self._site if route is None and self._site is not None and self._site.serves(request.path) else None
        if site is not None:
            refusal = self._policy.site_refusal(request.method, request.headers, address)
        else:
            refusal = self._policy.refusal(
                request.method, request.headers, address, is_public=route is not None and route.is_public
            )
        response: web.StreamResponse
        if refusal is not None:
            response = error_response(refusal.status, refusal.code, refusal.message)
            if refusal.status == 401:
                response.headers["WWW-Authenticate"] = "Bearer"
        elif site is not None:
            response = await site.respond(request, self._policy)
        elif route is None:
            message = f"There is no such route; use one of {', '.join(self._routes)}."
            response = error_response(404, "unknown_route", message)
        elif request.method not in {route.method, "HEAD" if route.method == "GET" else route.method}:
            response = error_response(405, "method_not_allowed", f"Use {route.method}.")
            response.headers["Allow"] = route.method
        elif request.body_exists and (request.content_length is None or request.content_length > MAX_BODY_BYTES):
            response = error_response(413, "body_too_large", "Send parameters in the query string, and no body.")
            response.force_close()
        else:
            response = await self._run(route.handler, request)
        return response

    @staticmethod
    async def _run(handler: Handler, request: web.BaseRequest) -> web.Response:
        try:
            return await handler(request)
        except BadQuery as error:
            return error_response(400, "bad_query", str(error))
        except (SpoolFull, SpoolUnavailable) as error:
            return error_response(503, "spool_unavailable", str(error))
        except GatewayError as error:
            return error_response(503, "unavailable", str(error))
        except Exception:
            log.exception("a request to the admin port failed with an internal error", extra={"route": request.path})
            return error_response(500, "internal_error", "The gateway failed; its log has the details.")

    async def _healthz(self, _: web.BaseRequest) -> web.Response:
        return web.Response(text="ok\n", headers=HEADERS)

    async def _readyz(self, _: web.BaseRequest) -> web.Response:
        reasons = list(await self._gateway.readiness())
        if reasons:
            message = "; ".join(reasons)
            return json_response({"ready": False, "reasons": reasons, "code": "not_ready", "message": message}, 503)
        return json_response({"ready": True, "reasons": []})

    async def _metrics(self, _: web.BaseRequest) -> web.Response:
        body = render(await self._gateway.snapshot())
        return web.Response(body=body, headers={**HEADERS, "Content-Type": CONTENT_TYPE})

    async def _status(self, _: web.BaseRequest) -> web.Response:
        return json_response(status_of(await self._gateway.snapshot(), self._clock()))

    async def _resume(self, request: web.BaseRequest) -> web.Response:
        check_parameters(request.query, ("destination", "event_set"))
        destination, event_set = request.query.get("destination"), request.query.get("event_set")
        lanes = await self._gateway.resume(destination, event_set)
        audit.record(self._identity(request), "resume", count=lanes, destination=destination, event_set=event_set)
        return json_response({"lanes": lanes})

    async def _history(self, request: web.BaseRequest) -> web.Response:
        return json_response(await history_page(self._gateway, request.query, self._clock()))

    async def _trace(self, request: web.BaseRequest) -> web.Response:
        return json_response(await trace_page(self._gateway, request.query))

    async def _tap(self, request: web.BaseRequest) -> web.Response:
        return json_response(await tap_page(self._gateway, request.query))

    async def _quality(self, request: web.BaseRequest) -> web.Response:
        return json_response(await quality_page(self._gateway, request.query))

    async def _list_dead_letters(self, request: web.BaseRequest) -> web.Response:
        return json_response(await list_page(self._gateway.dead_letters, request.query))

    async def _count_codes(self, request: web.BaseRequest) -> web.Response:
        return json_response(await count_codes(self._gateway.dead_letters, request.query))

    async def _replay(self, request: web.BaseRequest) -> web.Response:
        return await self._act("replay", request)

    async def _discard(self, request: web.BaseRequest) -> web.Response:
        return await self._act("discard", request)

    async def _act(self, action: str, request: web.BaseRequest) -> web.Response:
        where = parse_filter(request.query)
        result = await run_action(self._gateway.dead_letters, action, where)
        audit.record(self._identity(request), action, count=result["letters"], **audit.describe_filter(where))
        return json_response(result)

    def _identity(self, request: web.BaseRequest) -> Identity:
        """Who sends a request that was not refused."""
        identity = self._policy.identify(request.headers)
        assert identity is not None  # noqa: S101 (see the docstring)
        return identity
