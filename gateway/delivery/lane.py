"""One lane's loop: take what is due, carry it to Meta, settle what became of it.

A lane has at most `upload.concurrency` batches in hand. Each is carried by a task of its own until all its events are
settled, whatever that takes; the spool keeps it until then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import orjson

from gateway.backoff import backoff_delay
from gateway.delivery.acknowledge import MAX_SPOOL_RETRY_SECONDS, SPOOL_RETRY_SECONDS, BatchAcknowledger
from gateway.delivery.batch_splitter import BatchSplitter, SubBatch
from gateway.delivery.batcher import LaneBatcher
from gateway.delivery.circuit_breaker import CircuitBreaker, OpenReason, Permit
from gateway.delivery.sender import BatchSender, DestinationContext
from gateway.delivery.systemic_failure import SYSTEMIC, SystemicFailureDetector
from gateway.mapping import expires_at
from gateway.meta import BatchRefused, Blocked, Delivered, EventsRefused, Outcome, Temporary, Throttled
from gateway.model import Batch, GatewayError, Lane, MetaFault
from gateway.telemetry import LaneStatistics
from gateway.telemetry.webhook import Alert, AlertType

log = logging.getLogger("gateway.delivery")

EXPIRY_MARGIN = 300
"""Seconds before Meta's limit at which an event is not sent any more: it would fail its whole batch."""


class LaneWorker:
    """Carries one lane."""

    def __init__(self, lane: Lane, batcher: LaneBatcher, context: DestinationContext) -> None:
        self.lane = lane
        self.batcher = batcher
        self._context = context
        self._counts = context.ledger.lanes[lane]
        self._breaker = CircuitBreaker()
        self._sender = BatchSender(lane, context)
        self._acknowledger = BatchAcknowledger(lane, context, self._counts)
        self._failure_detector = SystemicFailureDetector()
        # Only the loop's thread touches these.
        self._batches_in_flight = 0  # batches taken and not settled
        self._batch_finished = asyncio.Event()  # set when there may be a free hand

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing is in hand."""
        return not self._batches_in_flight and not self.batcher.events

    @property
    def stays_open(self) -> bool:
        """Whether it is blocked and the process ends: what waits is for the next start."""
        return self._breaker.stays_open

    def probe_now(self) -> bool:
        """Try at once, if the lane is blocked; whether it is."""
        self._breaker.probe_now()
        return self._breaker.open_reason is not None

    def apply_settings(self) -> None:
        """Go by the settings that the surroundings have now."""
        self.batcher.apply_settings(self._context.destination.limits)
        self._sender.apply_settings()
        self._batch_finished.set()

    def drain(self) -> None:
        """Everything is due now. A blocked lane tries once more, and then leaves the rest to the next start."""
        self.batcher.drain()
        self._breaker.shut_down()

    def statistics(self) -> LaneStatistics:
        """A snapshot."""
        age = self.batcher.oldest_age
        open_reason = self._breaker.open_reason
        return LaneStatistics(
            lane=self.lane,
            waiting_events=self._counts.waiting,
            waiting_bytes=self.batcher.bytes,
            oldest_at=None if age is None else self._context.clock() - age,
            in_flight=self._sender.in_flight,
            last_outcome=self._sender.last_outcome,
            calls_per_second=self._sender.calls_per_second,
            concurrency=self._sender.concurrency,
            blocked=open_reason.kind if open_reason else None,
        )

    async def run(self) -> None:
        """Until draining and empty, or cancelled. What was in hand when it ends stays in the spool."""
        self._batches_in_flight = 0
        async with asyncio.TaskGroup() as group:
            while True:
                while self._batches_in_flight >= self._context.destination.upload.concurrency:
                    self._batch_finished.clear()
                    await self._batch_finished.wait()
                batch = None if self._breaker.stays_open else await self._next()
                if batch is None:
                    return
                self._batches_in_flight += 1
                group.create_task(self._deliver(batch))

    async def _next(self) -> Batch | None:
        tries = 0
        while True:
            try:
                batch = await self.batcher.next()
            except GatewayError as error:
                tries += 1
                log.warning("the spool does not give a batch: %s", error, extra={"lane": str(self.lane)})
                await asyncio.sleep(backoff_delay(tries, base=SPOOL_RETRY_SECONDS, maximum=MAX_SPOOL_RETRY_SECONDS))
                continue
            if batch is not None:
                ledger = self._context.ledger
                ledger.flushes[self.lane.destination, batch.reason] += 1
                ledger.batch_events[self.lane.destination].observe(batch.count)
            return batch

    async def _deliver(self, batch: Batch) -> None:
        """A batch, until every event of it is settled or nothing can be done before the process ends."""
        splitter = BatchSplitter(batch)
        while (sub_batch := splitter.next) is not None and not self._breaker.stays_open:
            if self._is_too_old(sub_batch):
                await self._expire(splitter)
                continue
            match await self._attempt(splitter):
                case Delivered():
                    self._failure_detector.clear()
                    splitter.done()
                    await self._acknowledger.delivered(splitter, sub_batch.count)
                case EventsRefused(indices, code, fault):
                    await self._refuse(splitter, indices, code, fault)
                case BatchRefused(code, fault) if sub_batch.count == 1:
                    await self._refuse(splitter, [0], code, fault)
                case BatchRefused(code):
                    splitter.halve()
                    if self._breaker.open_reason:
                        self._open_breaker(OpenReason(SYSTEMIC, code))
                case _:
                    pass  # too old by now, or hopeless: seen at the top
        self._batches_in_flight -= 1
        self._batch_finished.set()

    async def _attempt(self, splitter: BatchSplitter) -> Outcome | None:
        """Call until Meta decides about the next part; None: something is to be looked at before the next call."""
        tries = 0
        upload = self._context.destination.upload
        while (sub_batch := splitter.next) is not None and not self._is_too_old(sub_batch):
            async with self._breaker.permit() as permit:
                if permit is Permit.DENIED:
                    return None
                if permit is Permit.PROBE:
                    token = self._context.token
                    await token.refresh(token.current)

                def is_still_due(sub_batch: SubBatch = sub_batch, permit: Permit = permit) -> bool:
                    """Asked when the turn has come, which may be hours later."""
                    return not self._is_too_old(sub_batch) and (permit is Permit.PROBE or not self._breaker.open_reason)

                outcome = await self._sender.call(splitter, is_still_due)
                self._update_breaker(outcome)
            match outcome:
                case Delivered() | EventsRefused() | BatchRefused():
                    return outcome
                case Temporary():
                    tries += 1
                    await asyncio.sleep(
                        backoff_delay(
                            tries, base=upload.backoff_base, maximum=upload.backoff_max, random=self._context.random
                        )
                    )
                case Throttled() | Blocked() | None:
                    pass  # the pace or the gate makes it wait
        return None

    def _update_breaker(self, outcome: Outcome | None) -> None:
        """What an outcome means for the gate: a block shuts it, and an answer that the block rules out opens it."""
        open_reason = self._breaker.open_reason
        match outcome:
            case Blocked(kind, code):
                self._open_breaker(OpenReason(kind, code))
            case Delivered() if open_reason:
                self._close_breaker()
            case EventsRefused() | BatchRefused() if open_reason and open_reason.kind != SYSTEMIC:
                self._close_breaker()
            case _:
                pass

    def _close_breaker(self) -> None:
        open_reason = self._breaker.open_reason
        self._breaker.close()
        log.warning("the lane goes on", extra={"lane": str(self.lane)})
        if open_reason is not None:
            self._notify(AlertType.RESUMED, open_reason)

    def _open_breaker(self, open_reason: OpenReason) -> None:
        if self._breaker.open(open_reason):
            log.error(
                "the lane is blocked (%s, %s): it keeps its events and tries now and then",
                open_reason.kind,
                open_reason.code,
                extra={"lane": str(self.lane)},
            )
            self._notify(AlertType.BLOCKED, open_reason)

    def _notify(self, alert_type: AlertType, open_reason: OpenReason) -> None:
        now = self._context.clock()
        self._context.notify(
            Alert(alert_type, self.lane, open_reason.kind, open_reason.code, self._counts.waiting, now)
        )

    async def _refuse(
        self, splitter: BatchSplitter, indices: Sequence[int], code: str, fault: MetaFault | None
    ) -> None:
        """Events that Meta refused are dead; where all are refused alike, it is no event's fault and they are kept."""
        calls = splitter.calls
        refused, is_systemic = self._failure_detector.record(indices, code)
        if is_systemic:
            self._open_breaker(OpenReason(SYSTEMIC, code))
        await self._acknowledger.refused(splitter, splitter.remove_path(refused), calls, code, fault)

    def _is_too_old(self, sub_batch: SubBatch) -> bool:
        return sub_batch.expires_at - EXPIRY_MARGIN <= self._context.clock()

    async def _expire(self, splitter: BatchSplitter) -> None:
        """Dead-letter what became too old while it waited, and learn when the rest does."""
        sub_batch = splitter.next
        if sub_batch is None:
            return
        deadline = self._context.clock() + EXPIRY_MARGIN
        dialect = self._context.destination.api
        ends = [expires_at(orjson.loads(event), dialect) for event in sub_batch.events()]
        gone = [index for index, shut_down in enumerate(ends) if shut_down <= deadline]
        left = [shut_down for shut_down in ends if shut_down > deadline]
        calls = splitter.calls
        events = splitter.remove_path(gone)
        if left:
            splitter.expiring(min(left))
        if events:
            await self._acknowledger.expired(splitter, events, calls)
