"""Sends the calls of a lane: waits for the limits, sends, and records each outcome in the limits, ledger and log.

It does not decide what is done with the events; `gateway.delivery.lane` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from aiolimiter import AsyncLimiter

from gateway.config import DestinationSettings
from gateway.delivery.batch_splitter import BatchSplitter
from gateway.delivery.concurrency import AdaptiveConcurrencyLimit, FairCallLimit
from gateway.delivery.explanations import format_code
from gateway.delivery.rate_limit import TokenRateLimiter
from gateway.delivery.transport import NoResponse, Transport
from gateway.meta import (
    AccessToken,
    BatchRefused,
    BlockCause,
    Blocked,
    CountMismatch,
    Delivered,
    EventsRefused,
    Outcome,
    RequestBuilder,
    Temporary,
    Throttled,
    classify,
    usage_share,
    version_warning,
)
from gateway.model import Lane, UnixSeconds
from gateway.spool import Spool
from gateway.telemetry import Ledger
from gateway.telemetry.alerts import Alert
from gateway.trace import NoTrace, Tracer

log = logging.getLogger("gateway.delivery")

OUTCOME_NAMES: Mapping[type[Outcome], str] = {
    Delivered: "delivered",
    CountMismatch: CountMismatch.code,
    Temporary: "temporary",
    Throttled: "throttled",
    Blocked: "blocked",
    EventsRefused: "events_refused",
    BatchRefused: "batch_refused",
}
IN_DOUBT = "in_doubt"
COUNT_DIFFERS = "delivered_count_differs"


@dataclass(slots=True)
class DestinationContext:
    """The objects that the lanes of a destination share."""

    destination: DestinationSettings
    request_builder: RequestBuilder
    transport: Transport
    token: AccessToken
    rate_limiter: TokenRateLimiter
    """Shared by all lanes with the same token, since Meta counts calls by app and account."""
    call_limit: FairCallLimit
    """Limits the calls of the destination that are in flight."""
    spool: Spool
    ledger: Ledger
    clock: Callable[[], UnixSeconds]
    random: Random
    warnings: dict[str, str] = field(default_factory=dict)
    """By destination, Meta's last warning about the API version."""
    notify: Callable[[Alert], None] = lambda _: None
    """Receives an alert when a circuit breaker opens or closes."""
    trace: Tracer = field(default_factory=NoTrace)
    """Receives what became of events."""
    rate_share: float = 1.0
    """This process's share of `upload.requests_per_second`."""

    @property
    def calls_per_second(self) -> float:
        """Calls a second that each lane may make in this process."""
        return self.destination.upload.requests_per_second * self.rate_share


class BatchSender:
    """Sends the calls of one lane."""

    def __init__(self, lane: Lane, context: DestinationContext) -> None:
        self._lane = lane
        self._context = context
        self._rate = context.calls_per_second
        self._limiter = _limiter(self._rate)
        # Held while a call waits for the rate limits and a slot. So a lane has one call in the queue of the token's
        # limiter, and the lanes of a token take turns however many batches each of them has.
        self._acquire_lock = asyncio.Lock()
        self._concurrency = AdaptiveConcurrencyLimit(context.destination.upload.concurrency)
        # Only the loop's thread changes these.
        self.in_flight = 0
        """Calls that were sent and have no response yet."""
        self.last_outcome: str | None = None
        self.last_call_at: float | None = None
        """Unix seconds."""

    @property
    def calls_per_second(self) -> float:
        """The rate that is allowed now."""
        return min(self._rate, self._context.rate_limiter.calls_per_second)

    @property
    def concurrency(self) -> int:
        """Calls that may be in flight now."""
        return self._concurrency.limit

    @property
    def throttled_seconds(self) -> float | None:
        """Seconds until Meta's rate limits allow the next call; None if they allow one now, or very soon."""
        return self._context.rate_limiter.throttled_seconds

    def end_throttle(self) -> None:
        """Do not wait any longer for Meta's rate limits, also for the other lanes of the token."""
        self._context.rate_limiter.end_wait()

    def apply_settings(self) -> None:
        """Apply the present settings of the destination from the next call on."""
        if self._rate != self._context.calls_per_second:
            self._rate = self._context.calls_per_second
            self._limiter = _limiter(self._rate)
        self._concurrency.maximum = self._context.destination.upload.concurrency

    async def call(self, splitter: BatchSplitter, is_still_due: Callable[[], bool]) -> Outcome | None:
        """Wait for the limits and send the current sub-batch.

        Returns None if `is_still_due`, called after the wait, returned False, so that nothing was sent; or if Meta
        refused the token and another one has replaced it meanwhile, so that the call is to be repeated.
        """
        async with self._concurrency, self._admitted_call() as rate_limiter:
            sub_batch = splitter.current
            if sub_batch is None or not is_still_due():
                return None
            context = self._context
            token = context.token.current
            request = context.request_builder.build(self._lane, sub_batch.payload, token)
            splitter.record_call()
            usage: float | None = None
            loop = asyncio.get_running_loop()
            started_at = loop.time()
            self.in_flight += 1
            try:
                response = await context.transport.send(request)
            except NoResponse as error:
                outcome: Outcome = Temporary(error.code, in_doubt=error.in_doubt)
            else:
                outcome = classify(response.status, response.headers, response.body, sub_batch.count)
                usage = usage_share(response.headers)
                self._report_version_warning(version_warning(response.headers))
            finally:
                rate_limiter.call_finished(usage)
                self.in_flight -= 1
            seconds = loop.time() - started_at
            context.ledger.call_seconds[self._lane.destination].observe(seconds)
        self._record(outcome, sub_batch.count, seconds, rate_limiter)
        if isinstance(outcome, Blocked) and outcome.kind is BlockCause.TOKEN and await context.token.refresh(token):
            log.warning("Meta refused the access token; retrying with the one that replaced it", extra=self._extra)
            return None
        return outcome

    @asynccontextmanager
    async def _admitted_call(self) -> AsyncIterator[TokenRateLimiter]:
        """Wait for the rate limits of the token and the lane, then for a slot of the destination.

        No slot is held while a call waits for the rate limits. The call counts as in flight for the token's limiter
        while it waits for a slot, so the limiter does not admit more calls than Meta's limit allows.
        """
        context = self._context
        while True:
            async with AsyncExitStack() as stack:
                async with self._acquire_lock:
                    rate_limiter = context.rate_limiter
                    await rate_limiter.acquire()
                    stack.callback(rate_limiter.release)
                    await self._limiter.acquire()
                    await stack.enter_async_context(context.call_limit.slot(self._lane.event_set))
                if rate_limiter.is_blocked or rate_limiter is not context.rate_limiter:
                    continue
                yield rate_limiter
                return

    def _record(self, outcome: Outcome, sent: int, seconds: float, limiter: TokenRateLimiter) -> None:
        """Record an outcome in the limits, the ledger and the log. `limiter`: of the token that the call carried."""
        name = OUTCOME_NAMES[type(outcome)]
        concurrency = self._concurrency
        match outcome:
            case Delivered(count):
                concurrency.succeeded(seconds)
                if count is not None and count != sent:
                    name = COUNT_DIFFERS
                    log.warning(
                        "Meta reports that it received %d events of a call with %d; all are counted as delivered",
                        count,
                        sent,
                        extra=self._extra,
                    )
            case CountMismatch(received):
                log.warning("Meta confirmed only %d of the %d events of a call", received, sent, extra=self._extra)
            case Temporary(code, _, in_doubt):
                concurrency.failed()
                name = IN_DOUBT if in_doubt else name
                log.warning(
                    "upload failed (%s)%s; the same call is retried",
                    code,
                    ": Meta may have received the events" if in_doubt else "",
                    extra=self._extra,
                )
            case Throttled(code, named):
                concurrency.failed()
                wait = limiter.throttled(named)
                log.warning(
                    "rate limited by Meta for %.0f s (%s): no calls are made with this access token until then",
                    wait,
                    format_code(code),
                    extra=self._extra,
                )
            case EventsRefused() | BatchRefused() | Blocked():
                pass
        if not isinstance(outcome, Throttled | Temporary):
            limiter.not_throttled()
        self._context.ledger.calls[self._lane.destination, name] += 1
        self.last_outcome = name if isinstance(outcome, Delivered) else outcome.code
        self.last_call_at = self._context.clock()

    def _report_version_warning(self, text: str | None) -> None:
        warnings, name = self._context.warnings, self._lane.destination
        if text is not None and warnings.get(name) != text:
            warnings[name] = text
            log.warning("Meta warns about upload.graph_version: %s", text, extra={"destination": name})

    @property
    def _extra(self) -> dict[str, str]:
        return {"lane": str(self._lane)}


def _limiter(calls_per_second: float) -> AsyncLimiter:
    """An even rate: a capacity above 1 would allow a burst."""
    return AsyncLimiter(1, 1 / calls_per_second)
