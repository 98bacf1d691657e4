"""Delivers the events of one lane: takes batches that are due, sends them, and acknowledges the results.

A lane has at most `upload.concurrency` batches in flight. Each is delivered by its own task until all of its events are
acknowledged; the spool keeps them until then.
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
from gateway.delivery.explanations import EXPLANATIONS, format_code
from gateway.delivery.sender import BatchSender, DestinationContext
from gateway.delivery.systemic_failure import SYSTEMIC, SystemicFailureDetector
from gateway.mapping import expires_at
from gateway.meta import (
    BatchRefused,
    Blocked,
    CountMismatch,
    Delivered,
    EventsRefused,
    Outcome,
    Temporary,
    Throttled,
)
from gateway.model import Batch, GatewayError, Lane, MetaFault, UnixSeconds
from gateway.telemetry import LaneStatistics
from gateway.telemetry.alerts import AlertType, LaneAlert

log = logging.getLogger("gateway.delivery")

EXPIRY_MARGIN = 300
"""Seconds before Meta's age limit from which an event is not sent: one event that is too old fails its whole call."""


class LaneWorker:
    """Delivers one lane."""

    def __init__(self, lane: Lane, batcher: LaneBatcher, context: DestinationContext) -> None:
        self.lane = lane
        self.batcher = batcher
        self._context = context
        self._counts = context.ledger.lanes[lane]
        self._breaker = CircuitBreaker()
        self._sender = BatchSender(lane, context)
        self._acknowledger = BatchAcknowledger(lane, context, self._counts)
        self._failure_detector = SystemicFailureDetector()
        # Only the loop's thread changes these.
        # Of each batch that is taken and not fully acknowledged, when its oldest event became durable.
        self._in_flight_since: list[UnixSeconds] = []
        self._batch_finished = asyncio.Event()  # set when another batch may be taken

    @property
    def is_idle(self) -> bool:
        """Whether no events are waiting or in flight."""
        return not self._in_flight_since and not self.batcher.events

    @property
    def stays_open(self) -> bool:
        """Whether the circuit breaker is open and the process stops: waiting events are sent after its next start."""
        return self._breaker.stays_open

    @property
    def is_held_up(self) -> bool:
        """Whether the circuit breaker is open or Meta's rate limits allow no call now."""
        return self._breaker.open_reason is not None or self._sender.throttled_seconds is not None

    def probe_now(self) -> None:
        """If the circuit breaker is open, send a probe at once."""
        self._breaker.probe_now()

    def resume(self) -> None:
        """Call at once, although the circuit breaker is open or Meta's rate limits allow no call."""
        self._breaker.probe_now()
        self._sender.end_throttle()

    def apply_settings(self) -> None:
        """Apply the present settings of the destination from the next batch on."""
        self.batcher.apply_settings(self._context.destination.limits)
        self._sender.apply_settings()
        self._batch_finished.set()

    def drain(self) -> None:
        """Send all waiting events at once, and let `run` return. An open circuit breaker is probed once more."""
        self.batcher.drain()
        self._breaker.shut_down()

    def statistics(self) -> LaneStatistics:
        """A snapshot."""
        age = self.batcher.oldest_age
        open_reason = self._breaker.open_reason
        throttled = self._sender.throttled_seconds
        now = self._context.clock()
        oldest = [*self._in_flight_since, *([] if age is None else [now - age])]
        return LaneStatistics(
            lane=self.lane,
            waiting_events=self._counts.waiting,
            waiting_bytes=self.batcher.bytes,
            oldest_at=min(oldest, default=None),
            in_flight=self._sender.in_flight,
            last_outcome=self._sender.last_outcome,
            calls_per_second=self._sender.calls_per_second,
            concurrency=self._sender.concurrency,
            blocked=open_reason.kind if open_reason else None,
            throttled_until=None if throttled is None else now + throttled,
            last_call_at=self._sender.last_call_at,
        )

    async def run(self) -> None:
        """Deliver until draining and empty, or until cancelled. Events in flight at the end stay in the spool."""
        self._in_flight_since.clear()
        async with asyncio.TaskGroup() as group:
            while True:
                while len(self._in_flight_since) >= self._context.destination.upload.concurrency:
                    self._batch_finished.clear()
                    await self._batch_finished.wait()
                batch = None if self._breaker.stays_open else await self._next_batch()
                if batch is None:
                    return
                self._in_flight_since.append(batch.chunks[0].stored_at)
                group.create_task(self._deliver(batch))

    async def _next_batch(self) -> Batch | None:
        attempts = 0
        while True:
            try:
                batch = await self.batcher.next()
            except GatewayError as error:
                attempts += 1
                delay = backoff_delay(attempts, base=SPOOL_RETRY_SECONDS, maximum=MAX_SPOOL_RETRY_SECONDS)
                log.warning(
                    "cannot read a batch from the spool: %s; retrying in %.0f s",
                    error,
                    delay,
                    extra={"lane": str(self.lane)},
                )
                await asyncio.sleep(delay)
                continue
            if batch is not None:
                ledger = self._context.ledger
                ledger.flushes[self.lane.destination, batch.reason] += 1
                ledger.batch_events[self.lane.destination].observe(batch.count)
            return batch

    async def _deliver(self, batch: Batch) -> None:
        """Send a batch until all of its events are acknowledged, or until the circuit breaker stays open."""
        splitter = BatchSplitter(batch)
        while (sub_batch := splitter.current) is not None and not self._breaker.stays_open:
            if self._is_too_old(sub_batch):
                await self._expire(splitter)
                continue
            match await self._attempt(splitter):
                case Delivered(trace_id=trace_id):
                    self._failure_detector.clear()
                    delivered = splitter.drop_current()
                    await self._acknowledger.acknowledge_delivered(splitter, delivered, trace_id)
                    self._observe_lag(batch, delivered.count)
                case CountMismatch(received):
                    await self._dead_letter_unconfirmed(splitter, sub_batch, received)
                case EventsRefused(indices, code, fault):
                    await self._refuse(splitter, indices, code, fault)
                case BatchRefused(code, fault) if sub_batch.count == 1:
                    await self._refuse(splitter, [0], code, fault)
                case BatchRefused(code):
                    splitter.halve()
                    if self._breaker.open_reason:
                        self._open_breaker(OpenReason(SYSTEMIC, code))
                case _:
                    pass  # too old by now, or the breaker stays open: the loop checks both
        self._in_flight_since.remove(batch.chunks[0].stored_at)
        self._batch_finished.set()

    def _observe_lag(self, batch: Batch, delivered: int) -> None:
        """Count how long `delivered` events of a batch waited. Of a batch that was split, the oldest time is used."""
        histogram = self._context.ledger.delivery_lag[self.lane.destination]
        now = self._context.clock()
        if delivered < batch.count:
            histogram.observe(now - batch.chunks[0].stored_at, delivered)
            return
        for stored in batch.chunks:
            histogram.observe(now - stored.stored_at, stored.chunk.count)

    async def _attempt(self, splitter: BatchSplitter) -> Outcome | None:
        """Call until Meta accepts or refuses the current sub-batch, or confirms too few of its events twice.

        Returns None if it became too old meanwhile, or if the circuit breaker stays open.
        """
        attempts = 0
        mismatches = 0
        upload = self._context.destination.upload
        while (sub_batch := splitter.current) is not None and not self._is_too_old(sub_batch):
            async with self._breaker.permit() as permit:
                if permit is Permit.DENIED:
                    return None
                if permit is Permit.PROBE:
                    token = self._context.token
                    await token.refresh(token.current)

                def is_still_due(sub_batch: SubBatch = sub_batch, permit: Permit = permit) -> bool:
                    """Evaluated after the wait for the limits, which can take minutes."""
                    return not self._is_too_old(sub_batch) and (permit is Permit.PROBE or not self._breaker.open_reason)

                outcome = await self._sender.call(splitter, is_still_due)
                self._update_breaker(outcome)
            match outcome:
                case Delivered() | EventsRefused() | BatchRefused():
                    return outcome
                case CountMismatch() if mismatches:
                    return outcome
                case CountMismatch() | Temporary():
                    mismatches += isinstance(outcome, CountMismatch)
                    attempts += 1
                    await asyncio.sleep(
                        backoff_delay(
                            attempts, base=upload.backoff_base, maximum=upload.backoff_max, random=self._context.random
                        )
                    )
                case Throttled() | Blocked() | None:
                    pass  # the rate limiter or the circuit breaker delays the next call
        return None

    def _update_breaker(self, outcome: Outcome | None) -> None:
        """Open the circuit breaker on a block; close it on an outcome that shows that the block is over."""
        open_reason = self._breaker.open_reason
        match outcome:
            case Blocked(kind, code):
                self._open_breaker(OpenReason(kind, code))
            case Delivered() | CountMismatch() if open_reason:
                self._close_breaker(open_reason)
            case EventsRefused() | BatchRefused() if open_reason and open_reason.kind != SYSTEMIC:
                self._close_breaker(open_reason)
            case _:
                pass

    def _close_breaker(self, open_reason: OpenReason) -> None:
        self._breaker.close()
        log.warning(
            'uploads resumed for destination "%s", dataset %s: %s events are waiting',
            self.lane.destination,
            self.lane.event_set,
            f"{self._counts.waiting:,}",
            extra={"lane": str(self.lane)},
        )
        self._notify(AlertType.RESUMED, open_reason)

    def _open_breaker(self, open_reason: OpenReason) -> None:
        if not self._breaker.open(open_reason):
            return
        reason, remedy = EXPLANATIONS[open_reason.kind]
        log.error(
            'uploads stopped for destination "%s", dataset %s: %s (%s). %s events are kept; the next probe is %s. %s',
            self.lane.destination,
            self.lane.event_set,
            reason,
            format_code(open_reason.code),
            f"{self._counts.waiting:,}",
            "after the next start" if self._breaker.stays_open else f"in {self._breaker.probe_interval:.0f} s",
            remedy,
            extra={"lane": str(self.lane)},
        )
        self._notify(AlertType.BLOCKED, open_reason)

    def _notify(self, alert_type: AlertType, open_reason: OpenReason) -> None:
        kind, code = open_reason.kind, open_reason.code
        explanation = EXPLANATIONS[kind]
        self._context.notify(
            LaneAlert(
                alert_type,
                self.lane,
                kind,
                code,
                waiting=self._counts.waiting,
                at=self._context.clock(),
                reason=f"{explanation.reason} ({format_code(code)})",
                remedy=explanation.remedy,
            )
        )

    async def _refuse(
        self, splitter: BatchSplitter, indices: Sequence[int], code: str, fault: MetaFault | None
    ) -> None:
        """Dead-letter events that Meta refused; if the fault is systemic, keep most of them and stop the uploads."""
        calls = splitter.current_calls
        refused, is_systemic = self._failure_detector.record(indices, code)
        if is_systemic:
            self._open_breaker(OpenReason(SYSTEMIC, code))
        await self._acknowledger.dead_letter_refused(splitter, splitter.remove(refused), calls, code, fault)

    async def _dead_letter_unconfirmed(self, splitter: BatchSplitter, sub_batch: SubBatch, received: int) -> None:
        """Dead-letter the current sub-batch, of which Meta confirmed only `received` events."""
        calls = splitter.current_calls
        splitter.drop_current()
        log.error(
            'Meta confirmed only %d of %d events of a repeated call for destination "%s", dataset %s: all of them '
            "are now dead letters with the code %s. Before a replay, which may repeat events, compare with the counts "
            "in Meta's Events Manager.",
            received,
            sub_batch.count,
            self.lane.destination,
            self.lane.event_set,
            CountMismatch.code,
            extra={"lane": str(self.lane)},
        )
        await self._acknowledger.dead_letter_unconfirmed(splitter, sub_batch.events(), calls, received)

    def _is_too_old(self, sub_batch: SubBatch) -> bool:
        return sub_batch.expires_at - EXPIRY_MARGIN <= self._context.clock()

    async def _expire(self, splitter: BatchSplitter) -> None:
        """Dead-letter the events of the current sub-batch that are too old, and compute when the next one expires."""
        sub_batch = splitter.current
        if sub_batch is None:
            return
        deadline = self._context.clock() + EXPIRY_MARGIN
        dialect = self._context.destination.api
        expiries = [expires_at(orjson.loads(event), dialect) for event in sub_batch.events()]
        expired = [index for index, expiry in enumerate(expiries) if expiry <= deadline]
        remaining = [expiry for expiry in expiries if expiry > deadline]
        calls = splitter.current_calls
        events = splitter.remove(expired)
        if remaining:
            splitter.set_expiry(min(remaining))
        if events:
            await self._acknowledger.dead_letter_expired(splitter, events, calls)
