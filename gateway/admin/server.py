"""The HTTP face for operators: whether it lives, whether it takes requests, what it counted, what it gave up."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

from gateway.admin.dead_letters import BadQuery, act_on, listed, where_of
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
OPEN = frozenset({"/healthz", "/readyz"})
"""What needs no token: orchestrators ask it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admin:
    """Listens for operators."""

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
        """Listen. Raises `GatewayError` when the address cannot be had."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._render_metrics)
        app.router.add_get("/status", self._status)
        app.router.add_post("/lanes/resume", self._resume)
        app.router.add_get("/dead-letters", self._dead_letters)
        app.router.add_post("/dead-letters/{what:replay|discard}", self._act_on_letters)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, keepalive_timeout=75.0)
        await self._runner.setup()
        host, port = self._settings.host, self._settings.port
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            raise GatewayError(f"cannot listen on admin.host {host}, admin.port {port}: {error.strerror}") from None
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        token = self._settings.token
        if token is not None and request.path not in OPEN:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), token.reveal().encode()):
                answer = _refusal(401, "unauthorized", "Give the admin token as `Authorization: Bearer ...`.")
                answer.headers["WWW-Authenticate"] = "Bearer"
                return answer
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return _refusal(404, "unknown_route", f"There are {', '.join(ROUTES)}.")
        except web.HTTPMethodNotAllowed as refusal:
            allowed = ", ".join(sorted(refusal.allowed_methods - {"HEAD"}))
            return _refusal(405, "method_not_allowed", f"Use {allowed}.")
        except BadQuery as refusal:
            return _refusal(400, "bad_query", str(refusal))
        except (SpoolFull, SpoolUnavailable) as refusal:
            return _refusal(503, "spool_unavailable", str(refusal))

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = list(await self._gateway.readiness())
        if reasons:
            return _json({"ready": False, "reasons": reasons, "code": "not_ready", "message": "; ".join(reasons)}, 503)
        return _json({"ready": True, "reasons": []})

    async def _render_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=render(await self._gateway.snapshot()), headers={"Content-Type": CONTENT_TYPE})

    async def _status(self, _: web.Request) -> web.Response:
        return _json(status_of(await self._gateway.snapshot(), self._clock()))

    async def _resume(self, request: web.Request) -> web.Response:
        if unknown := sorted(set(request.query) - {"destination", "event_set"}):
            raise BadQuery(f"`{unknown[0]}` is no key; there are destination, event_set.")
        asked = (request.query.get("destination"), request.query.get("event_set"))
        return _json({"lanes": await self._gateway.resume(*asked)})

    async def _dead_letters(self, request: web.Request) -> web.Response:
        return _json(await listed(self._gateway.dead_letters, request.query))

    async def _act_on_letters(self, request: web.Request) -> web.Response:
        return _json(await act_on(self._gateway.dead_letters, request.match_info["what"], where_of(request.query)))


def _json(body: JsonObject, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n", status=status, content_type="application/json"
    )


def _refusal(status: int, code: str, message: str) -> web.Response:
    return _json({"code": code, "message": message}, status)
