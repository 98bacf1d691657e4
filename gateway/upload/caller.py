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
from gateway.model import Lane, UnixSeconds
from gateway.spool import Spool
from gateway.telemetry import Ledger
from gateway.telemetry.webhook import Alert
from gateway.upload.graph import CallShape, NoReply, Transport
from gateway.upload.outcome import (
    BatchRefused,
    Blocked,
    Delivered,
    EventsRefused,
    Kind,
    Outcome,
    Temporary,
    Throttled,
    read,
    usage_from,
    version_warning,
)
from gateway.upload.pace import Pace
from gateway.upload.parts import Parts
from gateway.upload.slots import Slots
from gateway.upload.token import Token

log = logging.getLogger("gateway.upload")

NAMES: Mapping[type[Outcome], str] = {
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
class Surroundings:
    """What the lanes of a destination share."""

    destination: DestinationSettings
    shape: CallShape
    transport: Transport
    token: Token
    token_pace: Pace
    """Shared by every lane with the same token: Meta counts by app and account."""
    spool: Spool
    ledger: Ledger
    wall: Callable[[], UnixSeconds]
    random: Random
    warnings: dict[str, str] = field(default_factory=dict)
    """By destination, what Meta said last of the version that is called."""
    notify: Callable[[Alert], None] = lambda _: None
    """Gets the news of the lanes."""
    share: float = 1.0
    """Of `upload.requests_per_second` that is this process's."""

    @property
    def calls_per_second(self) -> float:
        """That each lane may make in this process."""
        return self.destination.upload.requests_per_second * self.share


class Caller:
    """Makes a lane's calls."""

    def __init__(self, lane: Lane, around: Surroundings) -> None:
        self._lane = lane
        self._around = around
        self._rate = around.calls_per_second
        self._limiter = _limiter(self._rate)
        self._turn = asyncio.Lock()  # held by the one that waits for its turn: lanes of a token take turns, not batches
        self._slots = Slots(around.destination.upload.concurrency)
        # Only the loop's thread touches these.
        self.under_way = 0
        """Calls that were sent and not answered."""
        self.last_outcome: str | None = None

    @property
    def calls_per_second(self) -> float:
        """What is allowed now."""
        return min(self._rate, self._around.token_pace.calls_per_second)

    @property
    def concurrency(self) -> int:
        """Calls that may be under way now."""
        return self._slots.limit

    def retune(self) -> None:
        """Go by the settings that the surroundings have now."""
        if self._rate != self._around.calls_per_second:
            self._rate = self._around.calls_per_second
            self._limiter = _limiter(self._rate)
        self._slots.most = self._around.destination.upload.concurrency

    async def call(self, parts: Parts, may_still: Callable[[], bool]) -> Outcome | None:
        """Send the next part when it is its turn; None: it was not sent, since `may_still` said no when it came."""
        async with self._slots:
            async with self._turn:
                await self._wait()
            part = parts.next
            if part is None or not may_still():
                return None
            around = self._around
            token = around.token.current
            call = around.shape.call(self._lane, part.payload, token)
            parts.called()
            usage: float | None = None
            loop = asyncio.get_running_loop()
            began = loop.time()
            self.under_way += 1
            around.token_pace.began()
            try:
                reply = await around.transport.send(call)
            except NoReply as silence:
                outcome: Outcome = Temporary(silence.code, in_doubt=silence.in_doubt)
            else:
                outcome = read(reply.status, reply.headers, reply.body, part.count)
                usage = usage_from(reply.headers)
                self._warned(version_warning(reply.headers))
            finally:
                around.token_pace.ended(usage)
                self.under_way -= 1
            seconds = loop.time() - began
            around.ledger.call_seconds[self._lane.destination].observe(seconds)
        self._note(outcome, part.count, seconds)
        if isinstance(outcome, Blocked) and outcome.kind is Kind.TOKEN and await around.token.renewed(token):
            log.warning("the access token was renewed", extra={"lane": str(self._lane)})
            return None
        return outcome

    async def _wait(self) -> None:
        """For the token's pace, then for the lane's."""
        pace = self._around.token_pace
        while True:
            await pace.turn()
            await self._limiter.acquire()
            if not pace.is_held:
                return

    def _note(self, outcome: Outcome, sent: int, seconds: float) -> None:
        """What an outcome means for the next calls, and for whoever watches."""
        name = NAMES[type(outcome)]
        pace, slots = self._around.token_pace, self._slots
        match outcome:
            case Delivered(count):
                slots.went_well(seconds)
                if count is not None and count != sent:
                    name = COUNT_DIFFERS
                    log.warning("Meta says it took %d of %d events of a call", count, sent, extra=self._extra)
            case Temporary(code, _, in_doubt):
                slots.went_badly()
                name = IN_DOUBT if in_doubt else name
                log.warning("a call failed: %s", code, extra=self._extra)
            case Throttled(code, wait):
                slots.went_badly()
                pace.throttled(wait)
                log.warning("a call was one too many: %s", code, extra=self._extra)
            case EventsRefused() | BatchRefused() | Blocked():
                pass
        if not isinstance(outcome, Throttled | Temporary):
            pace.passed()
        self._around.ledger.calls[self._lane.destination, name] += 1
        self.last_outcome = name if isinstance(outcome, Delivered) else outcome.code

    def _warned(self, text: str | None) -> None:
        warnings, name = self._around.warnings, self._lane.destination
        if text is not None and warnings.get(name) != text:
            warnings[name] = text
            log.warning("Meta warns about upload.graph_version: %s", text, extra={"destination": name})

    @property
    def _extra(self) -> dict[str, str]:
        return {"lane": str(self._lane)}


def _limiter(calls_per_second: float) -> AsyncLimiter:
    """Even: a capacity above 1 would let a burst through."""
    return AsyncLimiter(1, 1 / calls_per_second)
