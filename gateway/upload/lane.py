"""One lane's loop: take what is due, carry it to Meta, settle what became of it.

A lane has at most `upload.concurrency` batches in hand. Each is carried by a task of its own until all its events are
settled, whatever that takes; the spool keeps it until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import orjson

from gateway.buffer import Buffer
from gateway.config import DestinationSettings, Secret
from gateway.mapping import expires_at
from gateway.model import Batch, DeadLetter, FlushReason, GatewayError, Lane, MetaFault, Stage, UnixSeconds
from gateway.observe import Ledger
from gateway.spool import Spool
from gateway.upload.backoff import pause
from gateway.upload.gate import Gate, Shut
from gateway.upload.graph import CallShape, NoReply, Transport
from gateway.upload.outcome import (
    BatchRefused,
    Blocked,
    Delivered,
    EventsRefused,
    Outcome,
    Temporary,
    Throttled,
    read,
    usage_from,
)
from gateway.upload.pace import Pace
from gateway.upload.parts import Part, Parts
from gateway.upload.slots import Slots

log = logging.getLogger("gateway.upload")

EXPIRY_MARGIN = 300
"""Seconds before Meta's limit at which an event is not sent any more: it would fail its whole batch."""
SYSTEMATIC = 10
"""Events refused in a row, each the first of its call, after which it is no event's fault."""
SPOOL_PAUSE = 1.0
"""Seconds between tries while the spool does not answer."""


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """A snapshot of a lane, for `/status` and the metrics."""

    lane: Lane
    waiting_events: int
    """In the spool, on their way included."""
    waiting_bytes: int
    oldest_at: UnixSeconds | None
    """When the oldest that is not on its way became durable."""
    in_flight: int
    """Calls under way."""
    last_outcome: str | None
    pace: float
    """Calls a second that are allowed now."""
    concurrency: int
    """Calls that may be under way now."""
    blocked: str | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a lane needs of its destination and of the house."""

    destination: DestinationSettings
    shape: CallShape
    transport: Transport
    token_pace: Pace
    """Shared by every lane with the same token: Meta counts by app and account."""
    spool: Spool
    ledger: Ledger
    wall: Callable[[], UnixSeconds]
    random: Random


class LaneUploader:
    """Carries one lane."""

    def __init__(self, lane: Lane, buffer: Buffer, around: Surroundings) -> None:
        self.lane = lane
        self.buffer = buffer
        self._around = around
        upload = around.destination.upload
        self._account = around.ledger.lanes[lane]
        self._pace = Pace(upload.requests_per_second)
        self._slots = Slots(upload.concurrency)
        self._gate = Gate()
        # Only the loop's thread touches these.
        self._token: Secret = around.destination.access_token  # read again from its file when Meta says it is invalid
        self._in_hand = 0  # batches taken and not settled
        self._refused_in_row = 0  # events refused at the head of their call since a call last passed
        self._last_outcome: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in hand."""
        return not self._in_hand and not self.buffer.statistics().events

    def resume(self) -> None:
        """Try at once, if the lane is blocked."""
        self._gate.resume()

    def statistics(self) -> LaneStatistics:
        """A snapshot."""
        waits = self.buffer.statistics()
        shut = self._gate.shut
        return LaneStatistics(
            lane=self.lane,
            waiting_events=self._account.waiting,
            waiting_bytes=waits.bytes,
            oldest_at=None if waits.oldest_age is None else self._around.wall() - waits.oldest_age,
            in_flight=self._slots.taken,
            last_outcome=self._last_outcome,
            pace=self._pace.statistics().calls_per_second,
            concurrency=self._slots.limit,
            blocked=shut.kind if shut else None,
        )

    async def run(self) -> None:
        """Until draining and empty, or cancelled. What was in hand when it ends stays in the spool."""
        self._in_hand = 0
        hands = asyncio.Semaphore(self._around.destination.upload.concurrency)
        async with asyncio.TaskGroup() as group:
            while True:
                await hands.acquire()
                batch = await self._next()
                if batch is None:
                    return
                self._in_hand += 1
                carrying = group.create_task(self._carry(batch))
                carrying.add_done_callback(lambda _: hands.release())

    async def _next(self) -> Batch | None:
        while True:
            try:
                batch = await self.buffer.next()
            except GatewayError as error:
                log.warning("the spool does not give a batch: %s", error, extra={"lane": str(self.lane)})
                await asyncio.sleep(SPOOL_PAUSE)
                continue
            if batch is not None:
                self._count_flush(batch.reason, batch.count)
            return batch

    def _count_flush(self, reason: FlushReason, count: int) -> None:
        ledger = self._around.ledger
        ledger.flushes[self.lane.destination, reason] += 1
        ledger.batch_events[self.lane.destination].observe(count)

    async def _carry(self, batch: Batch) -> None:
        """A batch, until every event of it is settled."""
        parts = Parts(batch)
        while (part := parts.next) is not None:
            if await self._expire(parts, part):
                continue
            outcome = await self._attempt(part)
            match outcome:
                case Delivered(count):
                    self._told(count, part)
                    parts.done()
                    await self._settle(parts, [], delivered=part.count)
                    self._account.batches += 1
                case EventsRefused(indices, code, fault):
                    await self._refuse(parts, parts.without(indices), code, fault, head=indices[0] == 0)
                case BatchRefused(code, fault) if part.count == 1:
                    await self._refuse(parts, parts.without([0]), code, fault, head=True)
                case BatchRefused():
                    parts.halve()
                case None:
                    continue
        self._in_hand -= 1

    async def _attempt(self, part: Part) -> Delivered | EventsRefused | BatchRefused | None:
        """Call until Meta decides about these events; None: one of them became too old meanwhile."""
        tries = 0
        while True:
            probe = await self._gate.passed()
            if probe:
                self._token = await asyncio.to_thread(self._token.reread)
            outcome = await self._call(part)
            self._reopen(outcome)
            match outcome:
                case Delivered() | EventsRefused() | BatchRefused():
                    return outcome
                case Temporary():
                    tries += 1
                    upload = self._around.destination.upload
                    await asyncio.sleep(pause(tries, upload.backoff_base, upload.backoff_max, self._around.random))
                case Throttled(_, seconds):
                    self._pace.throttled(seconds)
                    self._around.token_pace.throttled(seconds)
                case Blocked(kind, code):
                    self._block(Shut(kind, code))
            if part.expires_at - EXPIRY_MARGIN <= self._around.wall():
                return None

    async def _call(self, part: Part) -> Outcome:
        """One call."""
        around = self._around
        async with self._slots:
            await self._pace.turn()
            await around.token_pace.turn()
            call = around.shape.call(self.lane, part.payload, self._token.reveal())
            started = asyncio.get_running_loop().time()
            try:
                reply = await around.transport.send(call)
            except NoReply as silence:
                outcome: Outcome = Temporary(silence.code, in_doubt=silence.in_doubt)
                usage = None
            else:
                outcome = read(reply.status, reply.headers, reply.body, part.count)
                usage = usage_from(reply.headers)
            around.ledger.call_seconds[self.lane.destination].observe(asyncio.get_running_loop().time() - started)
        self._note(outcome, usage)
        return outcome

    def _note(self, outcome: Outcome, usage: float | None) -> None:
        """What an outcome means for the next calls, and for whoever watches."""
        name = type(outcome).__name__.lower()
        if isinstance(outcome, Temporary) and outcome.in_doubt:
            name = "in_doubt"
        self._around.ledger.calls[self.lane.destination, name] += 1
        self._last_outcome = "delivered" if isinstance(outcome, Delivered) else outcome.code
        for pace in (self._pace, self._around.token_pace):
            pace.answered(usage)
        if isinstance(outcome, Temporary | Throttled):
            self._slots.went_badly()
            log.warning("a call failed: %s", outcome.code, extra={"lane": str(self.lane)})
        elif isinstance(outcome, Delivered):
            self._slots.went_well()
            self._refused_in_row = 0

    def _reopen(self, outcome: Outcome) -> None:
        """An answer that is no block opens the gate; one that was shut for refusing everything wants a delivery."""
        shut = self._gate.shut
        if shut is None or isinstance(outcome, Blocked | Temporary):
            return
        if shut.kind != "systematic" or isinstance(outcome, Delivered):
            self._gate.open()
            log.warning("the lane goes on", extra={"lane": str(self.lane)})

    def _block(self, shut: Shut) -> None:
        if self._gate.close(shut):
            log.error(
                "the lane is blocked (%s, %s): it keeps its events and tries now and then",
                shut.kind,
                shut.code,
                extra={"lane": str(self.lane)},
            )

    def _told(self, count: int | None, part: Part) -> None:
        if count is not None and count != part.count:
            self._around.ledger.calls[self.lane.destination, "count_differs"] += 1
            log.warning(
                "Meta says it took %d of %d events of a call", count, part.count, extra={"lane": str(self.lane)}
            )

    async def _refuse(
        self, parts: Parts, events: Sequence[bytes], code: str, fault: MetaFault | None, *, head: bool
    ) -> None:
        """Dead-letter events that Meta refused; too many alike in a row are no event's fault."""
        letters = [self._letter(Stage.UPLOAD, code, event, fault) for event in events]
        await self._settle(parts, letters)
        self._refused_in_row = self._refused_in_row + 1 if head else 0
        if self._refused_in_row >= SYSTEMATIC:
            self._refused_in_row = SYSTEMATIC - 1  # the next one alike shuts the gate again
            self._block(Shut("systematic", code))

    async def _expire(self, parts: Parts, part: Part) -> bool:
        """Dead-letter what became too old while it waited; whether the part changed."""
        deadline = self._around.wall() + EXPIRY_MARGIN
        if part.expires_at > deadline:
            return False
        ends = [expires_at(orjson.loads(event), self._around.destination.api) for event in part.events()]
        gone = [index for index, end in enumerate(ends) if end <= deadline]
        left = [end for end in ends if end > deadline]
        letters = [self._letter(Stage.EXPIRED, "expired", event, None) for event in parts.without(gone)]
        if left:
            parts.expiring(min(left))
        if letters:
            await self._settle(parts, letters)
        return True

    def _letter(self, stage: Stage, code: str, event: bytes, fault: MetaFault | None) -> DeadLetter:
        message = (
            "The event became too old for Meta while it waited."
            if stage is Stage.EXPIRED
            else "Meta refused the event; its code and subcode say why."
        )
        return DeadLetter(
            stage=stage,
            code=code,
            message=message,
            destination=self.lane.destination,
            source=None,
            lane=self.lane,
            at=self._around.wall(),
            attempts=0 if stage is Stage.EXPIRED else 1,
            fault=fault,
            event=event,
        )

    async def _settle(self, parts: Parts, letters: Sequence[DeadLetter], *, delivered: int = 0) -> None:
        """Tell the spool, until it has it: what was delivered must not be sent again."""
        around = self._around
        ids = parts.ids
        rest = parts.settled()
        while True:
            try:
                await around.spool.settle(self.lane, ids, letters, rest)
                break
            except GatewayError as error:
                log.warning("the spool does not settle: %s", error, extra={"lane": str(self.lane)})
                await asyncio.sleep(SPOOL_PAUSE)
        self._account.delivered += delivered
        self._account.dead += len(letters)
        for letter in letters:
            around.ledger.dead[letter.destination, letter.stage, letter.code] += 1
