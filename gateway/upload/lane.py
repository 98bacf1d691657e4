"""One lane's loop: take what is due, carry it to Meta, settle what became of it.

A lane has at most `upload.concurrency` batches in hand. Each is carried by a task of its own until all its events are
settled, whatever that takes; the spool keeps it until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import orjson

from gateway.buffer import Buffer
from gateway.mapping import expires_at
from gateway.model import Batch, GatewayError, Lane, MetaFault
from gateway.telemetry import LaneStatistics
from gateway.telemetry.webhook import Alert, AlertType
from gateway.upload.backoff import pause
from gateway.upload.caller import Caller, Surroundings
from gateway.upload.gate import Gate, Passage, Shut
from gateway.upload.outcome import BatchRefused, Blocked, Delivered, EventsRefused, Outcome, Temporary, Throttled
from gateway.upload.parts import Part, Parts
from gateway.upload.settling import Settling, spool_pause
from gateway.upload.suspicion import SYSTEMATIC, Suspicion

log = logging.getLogger("gateway.upload")

EXPIRY_MARGIN = 300
"""Seconds before Meta's limit at which an event is not sent any more: it would fail its whole batch."""


class LaneUploader:
    """Carries one lane."""

    def __init__(self, lane: Lane, buffer: Buffer, around: Surroundings) -> None:
        self.lane = lane
        self.buffer = buffer
        self._around = around
        self._counts = around.ledger.lanes[lane]
        self._gate = Gate()
        self._caller = Caller(lane, around)
        self._settling = Settling(lane, around, self._counts)
        self._suspicion = Suspicion()
        # Only the loop's thread touches these.
        self._in_hand = 0  # batches taken and not settled
        self._put_down = asyncio.Event()  # set when there may be a free hand

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in hand."""
        return not self._in_hand and not self.buffer.events

    @property
    def is_hopeless(self) -> bool:
        """Whether it is blocked and the process ends: what waits is for the next start."""
        return self._gate.is_hopeless

    def resume(self) -> bool:
        """Try at once, if the lane is blocked; whether it is."""
        self._gate.resume()
        return self._gate.shut is not None

    def retune(self) -> None:
        """Go by the settings that the surroundings have now."""
        self.buffer.retune(self._around.destination.limits)
        self._caller.retune()
        self._put_down.set()

    def drain(self) -> None:
        """Everything is due now. A blocked lane tries once more, and then leaves the rest to the next start."""
        self.buffer.drain()
        self._gate.end()

    def statistics(self) -> LaneStatistics:
        """A snapshot."""
        age = self.buffer.oldest_age
        shut = self._gate.shut
        return LaneStatistics(
            lane=self.lane,
            waiting_events=self._counts.waiting,
            waiting_bytes=self.buffer.bytes,
            oldest_at=None if age is None else self._around.wall() - age,
            in_flight=self._caller.under_way,
            last_outcome=self._caller.last_outcome,
            pace=self._caller.calls_per_second,
            concurrency=self._caller.concurrency,
            blocked=shut.kind if shut else None,
        )

    async def run(self) -> None:
        """Until draining and empty, or cancelled. What was in hand when it ends stays in the spool."""
        self._in_hand = 0
        async with asyncio.TaskGroup() as group:
            while True:
                while self._in_hand >= self._around.destination.upload.concurrency:
                    self._put_down.clear()
                    await self._put_down.wait()
                batch = None if self._gate.is_hopeless else await self._next()
                if batch is None:
                    return
                self._in_hand += 1
                group.create_task(self._carry(batch))

    async def _next(self) -> Batch | None:
        tries = 0
        while True:
            try:
                batch = await self.buffer.next()
            except GatewayError as error:
                tries += 1
                log.warning("the spool does not give a batch: %s", error, extra={"lane": str(self.lane)})
                await asyncio.sleep(spool_pause(tries))
                continue
            if batch is not None:
                ledger = self._around.ledger
                ledger.flushes[self.lane.destination, batch.reason] += 1
                ledger.batch_events[self.lane.destination].observe(batch.count)
            return batch

    async def _carry(self, batch: Batch) -> None:
        """A batch, until every event of it is settled or nothing can be done before the process ends."""
        parts = Parts(batch)
        while (part := parts.next) is not None and not self._gate.is_hopeless:
            if self._is_too_old(part):
                await self._expire(parts)
                continue
            match await self._attempt(parts):
                case Delivered():
                    self._suspicion.clear()
                    parts.done()
                    await self._settling.delivered(parts, part.count)
                case EventsRefused(indices, code, fault):
                    await self._refuse(parts, indices, code, fault)
                case BatchRefused(code, fault) if part.count == 1:
                    await self._refuse(parts, [0], code, fault)
                case BatchRefused(code):
                    parts.halve()
                    if self._gate.shut:
                        self._block(Shut(SYSTEMATIC, code))
                case _:
                    pass  # too old by now, or hopeless: seen at the top
        self._in_hand -= 1
        self._put_down.set()

    async def _attempt(self, parts: Parts) -> Outcome | None:
        """Call until Meta decides about the next part; None: something is to be looked at before the next call."""
        tries = 0
        upload = self._around.destination.upload
        while (part := parts.next) is not None and not self._is_too_old(part):
            async with self._gate.passage() as passage:
                if passage is Passage.NONE:
                    return None
                if passage is Passage.PROBE:
                    token = self._around.token
                    await token.renewed(token.current)

                def may_still(part: Part = part, passage: Passage = passage) -> bool:
                    """Asked when the turn has come, which may be hours later."""
                    return not self._is_too_old(part) and (passage is Passage.PROBE or not self._gate.shut)

                outcome = await self._caller.call(parts, may_still)
                self._judge(outcome)
            match outcome:
                case Delivered() | EventsRefused() | BatchRefused():
                    return outcome
                case Temporary():
                    tries += 1
                    await asyncio.sleep(pause(tries, upload.backoff_base, upload.backoff_max, self._around.random))
                case Throttled() | Blocked() | None:
                    pass  # the pace or the gate makes it wait
        return None

    def _judge(self, outcome: Outcome | None) -> None:
        """What an outcome means for the gate: a block shuts it, and an answer that the block rules out opens it."""
        shut = self._gate.shut
        match outcome:
            case Blocked(kind, code):
                self._block(Shut(kind, code))
            case Delivered() if shut:
                self._open()
            case EventsRefused() | BatchRefused() if shut and shut.kind != SYSTEMATIC:
                self._open()
            case _:
                pass

    def _open(self) -> None:
        shut = self._gate.shut
        self._gate.open()
        log.warning("the lane goes on", extra={"lane": str(self.lane)})
        if shut is not None:
            self._notify(AlertType.RESUMED, shut)

    def _block(self, shut: Shut) -> None:
        if self._gate.close(shut):
            log.error(
                "the lane is blocked (%s, %s): it keeps its events and tries now and then",
                shut.kind,
                shut.code,
                extra={"lane": str(self.lane)},
            )
            self._notify(AlertType.BLOCKED, shut)

    def _notify(self, alert_type: AlertType, shut: Shut) -> None:
        now = self._around.wall()
        self._around.notify(Alert(alert_type, self.lane, shut.kind, shut.code, self._counts.waiting, now))

    async def _refuse(self, parts: Parts, indices: Sequence[int], code: str, fault: MetaFault | None) -> None:
        """Events that Meta refused are dead; where all are refused alike, it is no event's fault and they are kept."""
        calls = parts.calls
        given_up, is_systematic = self._suspicion.of(indices, code)
        if is_systematic:
            self._block(Shut(SYSTEMATIC, code))
        await self._settling.refused(parts, parts.without(given_up), calls, code, fault)

    def _is_too_old(self, part: Part) -> bool:
        return part.expires_at - EXPIRY_MARGIN <= self._around.wall()

    async def _expire(self, parts: Parts) -> None:
        """Dead-letter what became too old while it waited, and learn when the rest does."""
        part = parts.next
        if part is None:
            return
        deadline = self._around.wall() + EXPIRY_MARGIN
        dialect = self._around.destination.api
        ends = [expires_at(orjson.loads(event), dialect) for event in part.events()]
        gone = [index for index, end in enumerate(ends) if end <= deadline]
        left = [end for end in ends if end > deadline]
        calls = parts.calls
        events = parts.without(gone)
        if left:
            parts.expiring(min(left))
        if events:
            await self._settling.expired(parts, events, calls)
