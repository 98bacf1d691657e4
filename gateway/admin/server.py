"""The HTTP server for operators: health, readiness, metrics, status, dead letters, probing of blocked lanes."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from gateway.admin.dead_letters import BadQuery, list_page, parse_filter, run_action
from gateway.admin.gateway import Gateway
from gateway.admin.status import status_of
from gateway.config import AdminSettings
from gateway.model import GatewayError, JsonObject
from gateway.spool import SpoolFull, SpoolUnavailable
from gateway.telemetry.metrics import CONTENT_TYPE, render

ROUTES = (
    *("/healthz", "/readyz", "/metrics", "/status", "/lanes/resume"),
    *("/dead-letters", "/dead-letters/replay", "/dead-letters/discard"),
)
PUBLIC_ROUTES = frozenset({"/healthz", "/readyz"})
"""Routes that need no token, since orchestrators probe them without one."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminServer:
    """Serves the admin port."""

    def __init__(self, settings: AdminSettings, gateway: Gateway, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._gateway = gateway
        self._clock = clock
        self._runner: web.AppRunner | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The TCP port, once started."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises `GatewayError` when the address cannot be bound."""
        app = web.Application(middlewares=[self._check_token_and_errors])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        app.router.add_post("/lanes/resume", self._resume)
        app.router.add_get("/dead-letters", self._list_dead_letters)
        app.router.add_post("/dead-letters/{action:replay|discard}", self._run_dead_letter_action)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=75.0)
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

    @web.middleware
    async def _check_token_and_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check the token, run the handler, and turn its errors into JSON responses."""
        token = self._settings.token
        if token is not None and request.path not in PUBLIC_ROUTES:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), token.reveal().encode()):
                response = _error(401, "unauthorized", "Send the admin token as `Authorization: Bearer ...`.")
                response.headers["WWW-Authenticate"] = "Bearer"
                return response
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return _error(404, "unknown_route", f"There is no such route; use one of {', '.join(ROUTES)}.")
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods - {"HEAD"}))
            return _error(405, "method_not_allowed", f"Use {allowed}.")
        except BadQuery as error:
            return _error(400, "bad_query", str(error))
        except (SpoolFull, SpoolUnavailable) as error:
            return _error(503, "spool_unavailable", str(error))

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = list(await self._gateway.readiness())
        if reasons:
            return _json({"ready": False, "reasons": reasons, "code": "not_ready", "message": "; ".join(reasons)}, 503)
        return _json({"ready": True, "reasons": []})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=render(await self._gateway.snapshot()), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        return _json(status_of(await self._gateway.snapshot(), self._clock()))

    async def _resume(self, request: web.Request) -> web.Response:
        if unknown := sorted(set(request.query) - {"destination", "event_set"}):
            raise BadQuery(f"`{unknown[0]}` is not a parameter; use destination, event_set.")
        destination, event_set = request.query.get("destination"), request.query.get("event_set")
        return _json({"lanes": await self._gateway.resume(destination, event_set)})

    async def _list_dead_letters(self, request: web.Request) -> web.Response:
        return _json(await list_page(self._gateway.dead_letters, request.query))

    async def _run_dead_letter_action(self, request: web.Request) -> web.Response:
        action, where = request.match_info["action"], parse_filter(request.query)
        return _json(await run_action(self._gateway.dead_letters, action, where))


def _json(body: JsonObject, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n", status=status, content_type="application/json"
    )


def _error(status: int, code: str, message: str) -> web.Response:
    return _json({"code": code, "message": message}, status)
