"""The stand-in's HTTP face: Meta's edge for events, and a side door to what arrived and to what shall go wrong."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import re
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs

import orjson
from aiohttp import web
from pydantic import ValidationError

from gateway.model import Dialect, GatewayError, JsonObject
from gateway.sandbox.faults import Fault, Faults
from gateway.sandbox.validate import GENERAL, Refusal, check_call, dialect_of

OLDEST_VERSION = 21
"""The oldest Graph version that the Conversions API still serves (November 2026)."""
LAST_OFFLINE_VERSION = 16
"""The last version that took the legacy format; the stand-in takes it there and nowhere else."""
NEWEST_VERSION = 99
LARGEST_CALL = 128 * 2**20
ENVELOPE = ("upload_tag", "partner_agent", "test_event_code")
"""What is kept of a call beside its events."""
_PATH = re.compile(r"/v(\d{1,3})\.\d{1,2}/([^/]+)/events", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """How the stand-in behaves."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)
    """The only access token that is taken; None: any."""
    app_secret: str | None = field(default=None, repr=False)
    """Demands `appsecret_proof` when set."""
    event_sets: Sequence[str] = ()
    """The only event sets that exist; empty: any of digits."""
    validate_share: float = 1.0
    """Of the events, looked at closely. 1: all of them."""
    latency: float = 0.0
    """Seconds before every answer."""
    keep: int = 10_000
    """Events that are kept to be looked at, the newest."""
    seed: int = 1


@dataclass(slots=True)
class Stats:
    """What arrived."""

    calls: int = 0
    events: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Calls, by code and subcode."""
    by_event_set: Counter[str] = field(default_factory=Counter)
    sizes: Counter[int] = field(default_factory=Counter)
    """Calls that were taken, by their number of events."""
    faults: int = 0
    """Calls to which a fault was done."""


class Sandbox:
    """A stand-in for the Graph API."""

    def __init__(self, options: SandboxOptions, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._random = Random(options.seed)  # noqa: S311 (which calls go wrong is no secret)
        # Only the loop's thread touches these.
        self.stats = Stats()
        self.faults = Faults(self._random)
        self._kept: deque[tuple[str, JsonObject]] = deque(maxlen=options.keep)
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def port(self) -> int:
        """The TCP port, once started."""
        return self._port

    async def start(self) -> None:
        """Listen. Raises `GatewayError` when the address cannot be had."""
        server = web.Server(self.handle, access_log=None, request_factory=_request)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        options = self._options
        try:
            await web.TCPSite(self._runner, options.host, options.port, backlog=1024).start()
        except OSError as error:
            raise GatewayError(f"cannot listen on {options.host}, port {options.port}: {error.strerror}") from None
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request: Meta's edge, or the side door."""
        path = request.path
        if path.startswith("/_sandbox/"):
            return await self._side_door(request, path.removeprefix("/_sandbox/"))
        match = _PATH(path)
        if not match or request.method != "POST":
            return _error(Refusal(400, 2500, None, "Unknown path components"))
        return await self._events(request, int(match[1]), match[2])

    async def _events(self, request: web.BaseRequest, version: int, event_set: str) -> web.StreamResponse:
        self.stats.calls += 1
        fault = self.faults.next(event_set)
        if self._options.latency:
            await asyncio.sleep(self._options.latency)
        body = await request.read()
        if fault is not None:
            self.stats.faults += 1
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.drop == "before":
                return _cut(request)
            if fault.status is not None:
                return self._refuse_as(fault)
        call = _decoded(request, body)
        refusal = self._judge(request, version, event_set, call)
        if refusal is not None:
            return self._refused(refusal, call)
        assert call is not None  # noqa: S101 (judged)
        data = call["data"]
        self._take(event_set, data, call)
        if fault is not None and fault.answer_delay:
            await asyncio.sleep(fault.answer_delay)
        if fault is not None and fault.drop == "after":
            return _cut(request)
        count = len(data) if fault is None or fault.count is None else fault.count
        headers = fault.headers if fault is not None else {}
        if dialect_of(data) is Dialect.OFFLINE or "upload_tag" in call:
            # Seen at Meta's dataset edge too when a call carries an upload tag.
            return _json({"id": event_set, "num_processed_entries": count}, headers=headers)
        return _json({"events_received": count, "messages": [], "fbtrace_id": _trace(self._random)}, headers=headers)

    def _judge(self, request: web.BaseRequest, version: int, event_set: str, call: JsonObject | None) -> Refusal | None:
        options = self._options
        if call is None:
            return Refusal(400, 100, GENERAL, "The body is neither JSON nor a form with data", path="$")
        token = _token(request, call)
        if not token:
            return Refusal(400, 104, None, "An access token is required to request this resource.")
        if options.token is not None and not hmac.compare_digest(token.encode(), options.token.encode()):
            return Refusal(401, 190, 467, "Invalid OAuth access token.")
        if options.app_secret is not None:
            proof = hmac.new(options.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
            if call.get("appsecret_proof") != proof:
                return Refusal(400, 104, None, "Invalid appsecret_proof provided in the API argument")
        if not event_set.isdecimal() or (options.event_sets and event_set not in options.event_sets):
            return Refusal(400, 100, 33, f"Unsupported post request. Object with ID '{event_set}' does not exist")
        data = call.get("data")
        offline = isinstance(data, list) and dialect_of(data) is Dialect.OFFLINE
        if version != LAST_OFFLINE_VERSION if offline else not OLDEST_VERSION <= version <= NEWEST_VERSION:
            return Refusal(400, 2635, None, "You are calling a deprecated version of the Ads API.")
        indices = None
        if options.validate_share < 1.0 and isinstance(data, list):
            most = max(1, round(len(data) * options.validate_share))
            indices = self._random.sample(range(len(data)), min(most, len(data)))
        return check_call(call, self._clock(), indices)

    def _take(self, event_set: str, data: list[JsonObject], call: JsonObject) -> None:
        stats = self.stats
        stats.events += len(data)
        stats.by_event_set[event_set] += len(data)
        stats.sizes[len(data)] += 1
        envelope: JsonObject = {key: call[key] for key in ENVELOPE if key in call}
        envelope["at"] = self._clock()
        if self._options.keep:
            self._kept.extend((event_set, {"event": event, "call": envelope}) for event in data[-self._options.keep :])

    def _refused(self, refusal: Refusal, call: JsonObject | None) -> web.Response:
        self.stats.refused[f"{refusal.code}/{refusal.subcode}"] += 1
        data = call.get("data") if call is not None else None
        offline = isinstance(data, list) and dialect_of(data) is Dialect.OFFLINE
        return _error(refusal, offline=offline, random=self._random)

    def _refuse_as(self, fault: Fault) -> web.Response:
        """The refusal that a fault asks for."""
        status = fault.status or 500
        self.stats.refused[f"{fault.code}/{fault.subcode}"] += 1
        match fault.body:
            case "html":
                return web.Response(
                    status=status,
                    text="<html><body>Sorry</body></html>",
                    content_type="text/html",
                    headers=fault.headers,
                )
            case "empty":
                return web.Response(status=status, headers=fault.headers)
            case "truncated":
                return web.Response(
                    status=status, body=b'{"error":{"mess', content_type="application/json", headers=fault.headers
                )
            case _:
                refusal = Refusal(
                    status,
                    fault.code or 1,
                    fault.subcode,
                    "A rehearsed fault",
                    fault.event_index,
                    "" if fault.event_index is None else f"$['data'][{fault.event_index}]",
                )
                return _error(refusal, random=self._random, is_transient=fault.is_transient, headers=fault.headers)

    async def _side_door(self, request: web.BaseRequest, door: str) -> web.Response:
        match door, request.method:
            case "events", "GET":
                wanted = request.query.get("event_set")
                limit = request.query.get("limit", "100")
                most = int(limit) if limit.isdecimal() else 100
                found = [kept for event_set, kept in self._kept if wanted in {None, event_set}]
                newest = found[-most:] if most else []
                return _json({"events": [one["event"] for one in newest], "calls": [one["call"] for one in newest]})
            case "stats", "GET":
                return _json(self._stats())
            case "faults", "GET":
                return _json({"faults": self.faults.as_json()})
            case "faults", "POST":
                try:
                    fault = self.faults.add(orjson.loads(await request.read()))
                except (ValidationError, orjson.JSONDecodeError) as error:
                    return _json({"code": "bad_fault", "message": str(error)}, 400)
                return _json({"fault": fault.model_dump(exclude_defaults=True)})
            case "faults", "DELETE":
                self.faults.clear()
                return _json({"faults": []})
            case _:
                return _json({"code": "unknown_route", "message": "There are events, stats and faults."}, 404)

    def _stats(self) -> JsonObject:
        stats = self.stats
        taken = sum(stats.sizes.values())
        return {
            "calls": stats.calls,
            "calls_taken": taken,
            "events": stats.events,
            "events_per_call": round(stats.events / taken, 1) if taken else 0.0,
            "largest_call": max(stats.sizes, default=0),
            "refused": dict(stats.refused),
            "faults": stats.faults,
            "by_event_set": dict(stats.by_event_set),
            "kept": len(self._kept),
        }


def run(options: SandboxOptions) -> None:
    """Serve until a signal comes. Raises `GatewayError` when the address cannot be had."""
    import uvloop  # noqa: PLC0415 (only for serving)

    uvloop.run(_until_signalled(options))


async def _until_signalled(options: SandboxOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    sandbox = Sandbox(options)
    await sandbox.start()
    try:
        url = f"http://{options.host}:{sandbox.port}"
        if path := os.environ.get("GATEWAY_ADDRESS_FILE"):
            Path(path).write_bytes(orjson.dumps({"event": "listening", "server": url}) + b"\n")
        else:
            print(f"A stand-in for the Graph API listens on {url}; what arrived: {url}/_sandbox/stats")  # noqa: T201
        await stop.wait()
    finally:
        await sandbox.stop()


def _request(*arguments: Any) -> web.BaseRequest:
    make: Callable[..., web.BaseRequest] = web.BaseRequest
    return make(*arguments, asyncio.get_running_loop(), client_max_size=LARGEST_CALL)


def _decoded(request: web.BaseRequest, body: bytes) -> JsonObject | None:
    """A JSON document, or a form whose `data` is JSON."""
    try:
        if request.content_type == "application/x-www-form-urlencoded":
            form = {key: values[-1] for key, values in parse_qs(body.decode()).items()}
            found: JsonObject = {**form, "data": orjson.loads(form.get("data", "null"))}
            data = found["data"]
            if isinstance(data, list):
                found["data"] = [orjson.loads(one) if isinstance(one, str) else one for one in data]
            return found
        call = orjson.loads(body)
    except (orjson.JSONDecodeError, UnicodeDecodeError):
        return None
    return call if isinstance(call, dict) else None


def _token(request: web.BaseRequest, call: JsonObject) -> str:
    header = request.headers.get("Authorization", "")
    if header.startswith("Bearer "):
        return header.removeprefix("Bearer ")
    token = call.get("access_token") or request.query.get("access_token") or ""
    return token if isinstance(token, str) else ""


def _cut(request: web.BaseRequest) -> web.Response:
    """End the connection; what is returned never arrives."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


def _trace(random: Random) -> str:
    return f"A{random.getrandbits(64):016x}"


def _error(
    refusal: Refusal,
    *,
    offline: bool = False,
    random: Random | None = None,
    is_transient: bool = False,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """An error as the Graph API words it."""
    error: JsonObject = {
        "message": refusal.message,
        "type": "OAuthException",
        "code": refusal.code,
        "is_transient": is_transient,
        "fbtrace_id": _trace(random or Random(0)),  # noqa: S311
    }
    if refusal.subcode is not None:
        error["error_subcode"] = refusal.subcode
    if refusal.path:
        error["error_user_title"] = "Invalid parameter"
        error["error_user_msg"] = f"{refusal.message} ({refusal.path})"
        error["error_data"] = {"blame_field_specs": [[refusal.path]]}
    if offline and refusal.index is not None:
        error["error_subcode"] = 1815356
        error["error_data"] = {
            "event_index": refusal.index,
            "message": refusal.message,
            "type": "CodedException",
            "code": refusal.subcode,
        }
    return _json({"error": error}, refusal.status, headers)


def _json(body: JsonObject, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)
