"""Asks Meta whether uploads to a destination can succeed: its token, permissions and datasets, and one test event.

Findings are values. They contain codes, and no text of Meta, which may quote the token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

import orjson

from gateway.config import DestinationSettings
from gateway.delivery.explanations import EXPLANATIONS, format_code
from gateway.delivery.transport import HttpResponse, HttpTransport, NoResponse, Transport
from gateway.meta import (
    BatchRefused,
    BlockCause,
    Blocked,
    Delivered,
    EventsRefused,
    GraphRequest,
    Outcome,
    RequestBuilder,
    Temporary,
    Throttled,
    classify,
    dataset_request,
    is_dataset,
    permissions_request,
    read_permissions,
)
from gateway.model import Dialect, Lane, UnixSeconds

TEST_EVENT_NAME = "GatewayTest"
"""Name of the test event. It is no standard event, so that campaigns do not count it as a sale."""
TEST_CUSTOMER = "gateway-test"
UPLOAD_PERMISSIONS = ("ads_management", "business_management")
"""A token of a system user needs one of these (Meta: Conversions API, access tokens)."""
QUALITY_PERMISSION = "ads_read"
"""Needed for Meta's scores, in addition to one of `UPLOAD_PERMISSIONS`."""


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """Uploads may work all the same."""
    ERROR = "error"
    """Uploads cannot work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked."""

    destination: str
    subject: str
    """`token`, `permissions`, `dataset <ID>` or `test event to <ID>`."""
    level: Level
    message: str
    action: str = ""
    """What to do; empty if nothing has to be done."""


async def check_destination(
    name: str,
    destination: DestinationSettings,
    event_sets: Sequence[str],
    test_event_code: str | None,
    *,
    transport: Callable[[DestinationSettings], Transport] = HttpTransport,
    clock: Callable[[], UnixSeconds] = time.time,
) -> list[Finding]:
    """Check a destination and the given datasets. With `test_event_code`, one test event is sent to each of them."""
    check = _Check(name, destination, transport(destination), clock)
    try:
        return await check.run(event_sets, test_event_code)
    finally:
        await check.transport.close()


class _Check:
    """The check of one destination."""

    def __init__(
        self, name: str, destination: DestinationSettings, transport: Transport, clock: Callable[[], UnixSeconds]
    ) -> None:
        self._name = name
        self._destination = destination
        self._token = destination.access_token.reveal()
        self._clock = clock
        self.transport = transport

    async def run(self, event_sets: Sequence[str], test_event_code: str | None) -> list[Finding]:
        findings = await self._check_token()
        if any(finding.level is Level.ERROR for finding in findings):
            return findings  # the datasets would be refused for the same reason
        for event_set in event_sets:
            findings.append(await self._check_dataset(event_set))
            if test_event_code is not None:
                findings.append(await self._send_test_event(event_set, test_event_code))
        return findings

    async def _check_token(self) -> list[Finding]:
        outcome, response = await self._ask(permissions_request(self._destination, self._token))
        permissions = read_permissions(response.body) if response is not None else None
        if permissions is not None:
            return [self._finding("token", Level.OK, "Meta accepts it"), self._judge_permissions(permissions)]
        match outcome:
            case Blocked(BlockCause.TOKEN | BlockCause.VERSION | BlockCause.POLICY) | Temporary() | Throttled() | None:
                return [self._failure("token", Level.ERROR, outcome)]
            case _:
                # A token that was made in Events Manager may send events to its dataset and read nothing.
                action = "Send a test event with --test-event-code to see whether uploads work."
                code = _code_of(outcome)
                message = f"Meta does not say what the token may do{code}"
                return [self._finding("permissions", Level.WARNING, message, action)]

    def _judge_permissions(self, permissions: Sequence[str]) -> Finding:
        if not set(UPLOAD_PERMISSIONS) & set(permissions):
            message = f"neither {' nor '.join(UPLOAD_PERMISSIONS)} is granted"
            action = (
                "Grant one of them to the token's app, and make a new token. Tokens of Events Manager need neither."
            )
            return self._finding("permissions", Level.WARNING, message, action)
        if QUALITY_PERMISSION not in permissions:
            message = f"{QUALITY_PERMISSION} is not granted; uploads do not need it, Meta's scores do"
            action = "Grant it, or set console.quality = false."
            return self._finding("permissions", Level.WARNING, message, action)
        return self._finding("permissions", Level.OK, "enough for uploads and for Meta's scores")

    async def _check_dataset(self, event_set: str) -> Finding:
        subject = f"dataset {event_set}"
        outcome, response = await self._ask(dataset_request(self._destination, event_set, self._token))
        if response is not None and is_dataset(response.body, event_set):
            return self._finding(subject, Level.OK, "the token can see it")
        if isinstance(outcome, Blocked) and outcome.kind is BlockCause.PERMISSION:
            message = f"the token may not read it{_code_of(outcome)}; it may be allowed to send events all the same"
            action = "Send a test event with --test-event-code, or give the token's user access to the dataset."
            return self._finding(subject, Level.WARNING, message, action)
        return self._failure(subject, Level.ERROR, outcome)

    async def _send_test_event(self, event_set: str, code: str) -> Finding:
        subject = f"test event to {event_set}"
        destination = self._destination
        if destination.api is Dialect.OFFLINE:
            action = 'Use a destination with api = "conversions".'
            return self._finding(subject, Level.ERROR, "the format `offline` has no test events", action)
        builder = RequestBuilder(destination.model_copy(update={"test_event_code": code}))
        lane = Lane(self._name, event_set, destination.upload_tag)
        outcome, _ = await self._ask(builder.build(lane, _test_event(int(self._clock())), self._token))
        match outcome:
            case Delivered():
                message = f"Meta received it as {TEST_EVENT_NAME!r}; it is shown under Test Events in Events Manager"
                return self._finding(subject, Level.OK, message)
            case EventsRefused(_, code_of_meta) | BatchRefused(code_of_meta):
                message = f"Meta refused it ({format_code(code_of_meta)})"
                action = "Check the test code: it belongs to one dataset and changes; copy it from Events Manager."
                return self._finding(subject, Level.ERROR, message, action)
            case _:
                return self._failure(subject, Level.ERROR, outcome)

    async def _ask(self, request: GraphRequest) -> tuple[Outcome | None, HttpResponse | None]:
        """The outcome of a request and its response; without a response, only `Temporary` with the reason."""
        try:
            response = await self.transport.send(request)
        except NoResponse as error:
            return Temporary(error.code), None
        return classify(response.status, response.headers, response.body, 1), response

    def _failure(self, subject: str, level: Level, outcome: Outcome | None) -> Finding:
        """The finding for a request that failed."""
        code = _code_of(outcome)
        match outcome:
            case Blocked(kind):
                explanation = EXPLANATIONS[kind]
                return self._finding(subject, level, f"{explanation.reason}{code}", explanation.remedy)
            case Throttled():
                return self._finding(subject, level, f"Meta limits the rate of calls{code}", "Try again later.")
            case Temporary():
                action = "Check upload.graph_url, the network and the proxy (HTTPS_PROXY), then try again."
                return self._finding(subject, level, f"Meta cannot be reached, or has a fault{code}", action)
            case _:
                return self._finding(subject, level, f"Meta gave no usable answer{code}", "Check the ID and the token.")

    def _finding(self, subject: str, level: Level, message: str, action: str = "") -> Finding:
        return Finding(self._name, subject, level, message, action)


def _code_of(outcome: Outcome | None) -> str:
    """The code of an outcome in brackets; empty without one."""
    code = getattr(outcome, "code", None)
    if code is None:
        return ""
    return f" ({format_code(code) if '_' in code and code.startswith(('meta_', 'http_')) else code})"


def _test_event(now: int) -> bytes:
    """An event of nobody, without a value."""
    return orjson.dumps(
        {
            "event_name": TEST_EVENT_NAME,
            "event_time": now,
            "event_id": f"{TEST_CUSTOMER}-{now}",
            "action_source": "system_generated",
            "user_data": {"external_id": [sha256(TEST_CUSTOMER.encode()).hexdigest()]},
        }
    )
