"""The sandbox's HTTP server: Meta's endpoint for events, and `/_sandbox/` routes to inspect it and to inject faults."""

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
from gateway.sandbox.quality import dataset_fields, dataset_quality
from gateway.sandbox.validate import GENERAL, Refusal, check_call, dialect_of

OLDEST_VERSION = 21
"""The oldest Graph API version that the Conversions API accepts (November 2026)."""
LAST_OFFLINE_VERSION = 16
"""The last version with the legacy format; the sandbox accepts the format with this version only."""
NEWEST_VERSION = 99
MAX_CALL_BYTES = 128 * 2**20
KEPT_CALL_KEYS = ("upload_tag", "partner_agent", "test_event_code")
"""Keys of a call that are kept with each of its events."""
_PATH = re.compile(r"/v(\d{1,3})\.\d{1,2}/([^/]+)/events", re.ASCII).fullmatch
_READ_PATH = re.compile(r"/v\d{1,3}\.\d{1,2}/(\d{1,30}|dataset_quality|me/permissions)", re.ASCII).fullmatch
PERMISSIONS = ("ads_management", "ads_read", "business_management")
"""What every valid token may do."""


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """Options of the sandbox."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = field(default=None, repr=False)
    """The only valid access token; None: all are valid."""
    app_secret: str | None = field(default=None, repr=False)
    """If set, calls need a matching `appsecret_proof`."""
    event_sets: Sequence[str] = ()
    """The only event sets that exist; empty: all IDs of digits exist."""
    validate_share: float = 1.0
    """Fraction of the events of a call that are validated, chosen at random."""
    latency: float = 0.0
    """Seconds before every response."""
    keep: int = 10_000
    """Number of the newest events that are kept for inspection."""
    seed: int = 1
    """Seed of all random choices."""


@dataclass(slots=True)
class Stats:
    """Counts of calls and events."""

    calls: int = 0
    """All calls."""
    events: int = 0
    """Accepted events."""
    refused: Counter[str] = field(default_factory=Counter)
    """Refused calls by `code/subcode`."""
    by_event_set: Counter[str] = field(default_factory=Counter)
    """Accepted events by event set."""
    sizes: Counter[int] = field(default_factory=Counter)
    """Accepted calls by their number of events."""
    faults: int = 0
    """Calls to which a fault was applied."""


class Sandbox:
    """A simulation of the Graph API."""

    def __init__(self, options: SandboxOptions, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._clock = clock
        self._random = Random(options.seed)  # noqa: S311 (not used for security)
        self._traces = Random(options.seed)  # noqa: S311 (of its own: the faults do not depend on the number of calls)
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
        """Listen. Raises `GatewayError` when the address cannot be bound."""
        server = web.Server(self.handle, access_log=None, request_factory=_make_request)
        self._runner = web.ServerRunner(server, shutdown_timeout=1.0)
        await self._runner.setup()
        options = self._options
        try:
            await web.TCPSite(self._runner, options.host, options.port, backlog=1024).start()
        except OSError as error:
            raise GatewayError(f"cannot listen on {options.host}, port {options.port}: {error.strerror}") from None
        self._port = int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Close all connections."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Handle one request."""
        path = request.path
        if path.startswith("/_sandbox/"):
            return await self._handle_control(request, path.removeprefix("/_sandbox/"))
        if request.method == "GET" and (match := _READ_PATH(path)):
            return self._read_permissions(request) if match[1] == "me/permissions" else self._read(request, match[1])
        match = _PATH(path)
        if not match or request.method != "POST":
            return _error(Refusal(400, 2500, None, "Unknown path components"))
        return await self._handle_call(request, int(match[1]), match[2])

    def _read_permissions(self, request: web.BaseRequest) -> web.Response:
        """The permissions of the token."""
        refusal = self._check_token(request, {"appsecret_proof": request.query.get("appsecret_proof")})
        if refusal is not None:
            return _error(refusal, random=self._random)
        return _json({"data": [{"permission": name, "status": "granted"} for name in PERMISSIONS]})

    def _read(self, request: web.BaseRequest, name: str) -> web.Response:
        """Meta's scores of a dataset, or its counts. They are those of the events that are kept for inspection."""
        event_set = request.query.get("dataset_id", "") if name == "dataset_quality" else name
        refusal = self._check_access(request, event_set, {"appsecret_proof": request.query.get("appsecret_proof")})
        if refusal is not None:
            return _error(refusal, random=self._random)
        events = [kept["event"] for kept_set, kept in self._kept if kept_set == event_set]
        if name == "dataset_quality":
            return _json(dataset_quality(events, self._clock()))
        return _json(dataset_fields(event_set, events))

    async def _handle_call(self, request: web.BaseRequest, version: int, event_set: str) -> web.StreamResponse:
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
                return _drop_connection(request)
            if fault.status is not None:
                return self._injected_error(fault)
        call = _decode_call(request, body)
        refusal = self._validate(request, version, event_set, call)
        if refusal is not None:
            return self._refused(refusal, call)
        assert call is not None  # noqa: S101 (a refusal otherwise)
        data = call["data"]
        self._accept(event_set, data, call)
        if fault is not None and fault.answer_delay:
            await asyncio.sleep(fault.answer_delay)
        if fault is not None and fault.drop == "after":
            return _drop_connection(request)
        count = len(data) if fault is None or fault.count is None else fault.count
        trace_id = _trace(self._traces)
        headers = {"X-FB-Trace-ID": trace_id, **(fault.headers if fault is not None else {})}
        if dialect_of(data) is Dialect.OFFLINE or "upload_tag" in call:
            # Meta's dataset endpoint responds in this form as well when a call has an upload tag.
            return _json({"id": event_set, "num_processed_entries": count}, headers=headers)
        return _json({"events_received": count, "messages": [], "fbtrace_id": trace_id}, headers=headers)

    def _validate(
        self, request: web.BaseRequest, version: int, event_set: str, call: JsonObject | None
    ) -> Refusal | None:
        """Why Meta would refuse the call; None: it is accepted."""
        options = self._options
        if call is None:
            return Refusal(400, 100, GENERAL, "The body is neither JSON nor a form with data", path="$")
        if refusal := self._check_access(request, event_set, call):
            return refusal
        data = call.get("data")
        offline = isinstance(data, list) and dialect_of(data) is Dialect.OFFLINE
        if version != LAST_OFFLINE_VERSION if offline else not OLDEST_VERSION <= version <= NEWEST_VERSION:
            return Refusal(400, 2635, None, "You are calling a deprecated version of the Ads API.")
        indices = None
        if options.validate_share < 1.0 and isinstance(data, list):
            count = max(1, round(len(data) * options.validate_share))
            indices = self._random.sample(range(len(data)), min(count, len(data)))
        return check_call(call, self._clock(), indices)

    def _check_access(self, request: web.BaseRequest, event_set: str, call: JsonObject) -> Refusal | None:
        """Why the token gives no access to the event set; None: it does. `call`: the fields of the call."""
        options = self._options
        if refusal := self._check_token(request, call):
            return refusal
        if not event_set.isdecimal() or (options.event_sets and event_set not in options.event_sets):
            return Refusal(400, 100, 33, f"Unsupported post request. Object with ID '{event_set}' does not exist")
        return None

    def _check_token(self, request: web.BaseRequest, call: JsonObject) -> Refusal | None:
        """Why the token of a call is refused; None: it is valid."""
        options = self._options
        token = _token(request, call)
        if not token:
            return Refusal(400, 104, None, "An access token is required to request this resource.")
        if options.token is not None and not hmac.compare_digest(token.encode(), options.token.encode()):
            return Refusal(401, 190, 467, "Invalid OAuth access token.")
        if options.app_secret is not None:
            proof = hmac.new(options.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
            if call.get("appsecret_proof") != proof:
                return Refusal(400, 104, None, "Invalid appsecret_proof provided in the API argument")
        return None

    def _accept(self, event_set: str, data: list[JsonObject], call: JsonObject) -> None:
        stats = self.stats
        stats.events += len(data)
        stats.by_event_set[event_set] += len(data)
        stats.sizes[len(data)] += 1
        kept_call: JsonObject = {key: call[key] for key in KEPT_CALL_KEYS if key in call}
        kept_call["at"] = self._clock()
        if self._options.keep:
            self._kept.extend((event_set, {"event": event, "call": kept_call}) for event in data[-self._options.keep :])

    def _refused(self, refusal: Refusal, call: JsonObject | None) -> web.Response:
        self.stats.refused[f"{refusal.code}/{refusal.subcode}"] += 1
        data = call.get("data") if call is not None else None
        offline = isinstance(data, list) and dialect_of(data) is Dialect.OFFLINE
        return _error(refusal, offline=offline, random=self._random)

    def _injected_error(self, fault: Fault) -> web.Response:
        """The error response of a fault."""
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
                    "Injected fault",
                    fault.event_index,
                    "" if fault.event_index is None else f"$['data'][{fault.event_index}]",
                )
                return _error(refusal, random=self._random, is_transient=fault.is_transient, headers=fault.headers)

    async def _handle_control(self, request: web.BaseRequest, route: str) -> web.Response:
        """A request to `/_sandbox/`."""
        match route, request.method:
            case "events", "GET":
                wanted = request.query.get("event_set")
                limit_text = request.query.get("limit", "100")
                limit = int(limit_text) if limit_text.isdecimal() else 100
                matching = [kept for event_set, kept in self._kept if wanted in {None, event_set}]
                newest = matching[-limit:] if limit else []
                return _json({"events": [kept["event"] for kept in newest], "calls": [kept["call"] for kept in newest]})
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
                return _json({"code": "unknown_route", "message": "Use events, stats or faults."}, 404)

    def _stats(self) -> JsonObject:
        stats = self.stats
        accepted_calls = sum(stats.sizes.values())
        return {
            "calls": stats.calls,
            "calls_taken": accepted_calls,
            "events": stats.events,
            "events_per_call": round(stats.events / accepted_calls, 1) if accepted_calls else 0.0,
            "largest_call": max(stats.sizes, default=0),
            "refused": dict(stats.refused),
            "faults": stats.faults,
            "by_event_set": dict(stats.by_event_set),
            "kept": len(self._kept),
        }


def run(options: SandboxOptions) -> None:
    """Serve until SIGTERM or SIGINT. Raises `GatewayError` when the address cannot be bound."""
    import uvloop  # noqa: PLC0415 (only for serving)

    uvloop.run(_serve_until_stopped(options))


async def _serve_until_stopped(options: SandboxOptions) -> None:
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
            print(f"sandbox listening on {url}; counts of received calls and events: {url}/_sandbox/stats")  # noqa: T201
        await stop.wait()
    finally:
        await sandbox.stop()


def _make_request(*arguments: Any) -> web.BaseRequest:
    """A request whose body may be as large as a call; aiohttp's default limit is 1 MiB."""
    request_type: Callable[..., web.BaseRequest] = web.BaseRequest
    return request_type(*arguments, asyncio.get_running_loop(), client_max_size=MAX_CALL_BYTES)


def _decode_call(request: web.BaseRequest, body: bytes) -> JsonObject | None:
    """Decode a JSON object, or a form whose `data` is JSON; None when it is neither."""
    try:
        if request.content_type == "application/x-www-form-urlencoded":
            form = {key: values[-1] for key, values in parse_qs(body.decode()).items()}
            data = orjson.loads(form.get("data", "null"))
            if isinstance(data, list):
                data = [orjson.loads(event) if isinstance(event, str) else event for event in data]
            return {**form, "data": data}
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


def _drop_connection(request: web.BaseRequest) -> web.Response:
    """Close the connection without a response; the returned one is not sent."""
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
    """An error in the format of the Graph API."""
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
