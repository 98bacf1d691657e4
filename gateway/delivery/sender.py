"""A lane's calls, one at a time or a few: when they may be made, making them, and what each tells about the next ones.

It does not decide what becomes of the events; that is the lane's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from aiolimiter import AsyncLimiter

from gateway.config import DestinationSettings
from gateway.delivery.batch_splitter import BatchSplitter
from gateway.delivery.concurrency import AdaptiveConcurrencyLimit
from gateway.delivery.rate_limit import TokenRateLimiter
from gateway.delivery.transport import NoResponse, Transport
from gateway.meta import (
    AccessToken,
    BatchRefused,
    BlockCause,
    Blocked,
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
from gateway.telemetry.webhook import Alert

log = logging.getLogger("gateway.delivery")

OUTCOME_NAMES: Mapping[type[Outcome], str] = {
    Delivered: "delivered",
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
    """What the lanes of a destination share."""

    destination: DestinationSettings
    request_builder: RequestBuilder
    transport: Transport
    token: AccessToken
    rate_limiter: TokenRateLimiter
    """Shared by every lane with the same token: Meta counts by app and account."""
    spool: Spool
    ledger: Ledger
    clock: Callable[[], UnixSeconds]
    random: Random
    warnings: dict[str, str] = field(default_factory=dict)
    """By destination, what Meta said last of the version that is called."""
    notify: Callable[[Alert], None] = lambda _: None
    """Gets the news of the lanes."""
    rate_share: float = 1.0
    """Of `upload.requests_per_second` that is this process's."""

    @property
    def calls_per_second(self) -> float:
        """That each lane may make in this process."""
        return self.destination.upload.requests_per_second * self.rate_share


class BatchSender:
    """Makes a lane's calls."""

    def __init__(self, lane: Lane, context: DestinationContext) -> None:
        self._lane = lane
        self._context = context
        self._rate = context.calls_per_second
        self._limiter = _limiter(self._rate)
        self._acquire_lock = (
            asyncio.Lock()
        )  # held by the one that waits for its turn: lanes of a token take turns, not batches
        self._concurrency = AdaptiveConcurrencyLimit(context.destination.upload.concurrency)
        # Only the loop's thread touches these.
        self.in_flight = 0
        """Calls that were sent and not answered."""
        self.last_outcome: str | None = None

    @property
    def calls_per_second(self) -> float:
        """What is allowed now."""
        return min(self._rate, self._context.rate_limiter.calls_per_second)

    @property
    def concurrency(self) -> int:
        """Calls that may be under way now."""
        return self._concurrency.limit

    def apply_settings(self) -> None:
        """Go by the settings that the surroundings have now."""
        if self._rate != self._context.calls_per_second:
            self._rate = self._context.calls_per_second
            self._limiter = _limiter(self._rate)
        self._concurrency.maximum = self._context.destination.upload.concurrency

    async def call(self, splitter: BatchSplitter, is_still_due: Callable[[], bool]) -> Outcome | None:
        """Send the next part when it is its turn; None: it was not sent, since `may_still` said no when it came."""
        async with self._concurrency:
            async with self._acquire_lock:
                await self._wait()
            sub_batch = splitter.next
            if sub_batch is None or not is_still_due():
                return None
            context = self._context
            token = context.token.current
            request = context.request_builder.build(self._lane, sub_batch.payload, token)
            splitter.called()
            usage: float | None = None
            loop = asyncio.get_running_loop()
            call_started = loop.time()
            self.in_flight += 1
            context.rate_limiter.call_started()
            try:
                response = await context.transport.send(request)
            except NoResponse as error:
                outcome: Outcome = Temporary(error.code, in_doubt=error.in_doubt)
            else:
                outcome = classify(response.status, response.headers, response.body, sub_batch.count)
                usage = usage_share(response.headers)
                self._report_version_warning(version_warning(response.headers))
            finally:
                context.rate_limiter.call_finished(usage)
                self.in_flight -= 1
            seconds = loop.time() - call_started
            context.ledger.call_seconds[self._lane.destination].observe(seconds)
        self._record(outcome, sub_batch.count, seconds)
        if isinstance(outcome, Blocked) and outcome.kind is BlockCause.TOKEN and await context.token.refresh(token):
            log.warning("the access token was renewed", extra={"lane": str(self._lane)})
            return None
        return outcome

    async def _wait(self) -> None:
        """For the token's pace, then for the lane's."""
        limiter = self._context.rate_limiter
        while True:
            await limiter.acquire()
            await self._limiter.acquire()
            if not limiter.is_blocked:
                return

    def _record(self, outcome: Outcome, sent: int, seconds: float) -> None:
        """What an outcome means for the next calls, and for whoever watches."""
        name = OUTCOME_NAMES[type(outcome)]
        limiter, slots = self._context.rate_limiter, self._concurrency
        match outcome:
            case Delivered(count):
                slots.succeeded(seconds)
                if count is not None and count != sent:
                    name = COUNT_DIFFERS
                    log.warning("Meta says it took %d of %d events of a call", count, sent, extra=self._extra)
            case Temporary(code, _, in_doubt):
                slots.failed()
                name = IN_DOUBT if in_doubt else name
                log.warning("a call failed: %s", code, extra=self._extra)
            case Throttled(code, wait):
                slots.failed()
                limiter.throttled(wait)
                log.warning("a call was one too many: %s", code, extra=self._extra)
            case EventsRefused() | BatchRefused() | Blocked():
                pass
        if not isinstance(outcome, Throttled | Temporary):
            limiter.not_throttled()
        self._context.ledger.calls[self._lane.destination, name] += 1
        self.last_outcome = name if isinstance(outcome, Delivered) else outcome.code

    def _report_version_warning(self, text: str | None) -> None:
        warnings, name = self._context.warnings, self._lane.destination
        if text is not None and warnings.get(name) != text:
            warnings[name] = text
            log.warning("Meta warns about upload.graph_version: %s", text, extra={"destination": name})

    @property
    def _extra(self) -> dict[str, str]:
        return {"lane": str(self._lane)}


def _limiter(calls_per_second: float) -> AsyncLimiter:
    """Even: a capacity above 1 would let a burst through."""
    return AsyncLimiter(1, 1 / calls_per_second)
