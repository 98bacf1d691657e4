"""Writes the results of a lane's batches to the spool, and then to the ledger.

A write that fails is retried until it succeeds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from gateway.backoff import backoff_delay
from gateway.delivery.batch_splitter import BatchSplitter, SubBatch
from gateway.delivery.sender import DestinationContext
from gateway.identifiers import ids_of_mapped
from gateway.meta import CountMismatch, describe
from gateway.model import Chunk, ChunkId, DeadLetter, GatewayError, Lane, MetaFault, Stage
from gateway.telemetry import LaneCounts
from gateway.trace import Ending, TraceState

log = logging.getLogger("gateway.delivery")

SPOOL_RETRY_SECONDS = 1.0
"""Delay before the first retry while the spool is unavailable; doubled after each."""
MAX_SPOOL_RETRY_SECONDS = 30.0


class BatchAcknowledger:
    """Acknowledges events of a lane's batches: delivered, or moved to the dead letters.

    Each method is called after the events were removed from the splitter, and returns when the spool has stored the
    result.
    """

    def __init__(self, lane: Lane, context: DestinationContext, counts: LaneCounts) -> None:
        self._lane = lane
        self._context = context
        self._counts = counts

    async def acknowledge_delivered(
        self, splitter: BatchSplitter, delivered: SubBatch, meta_trace_id: str | None
    ) -> None:
        """Acknowledge events that Meta received. `meta_trace_id`: Meta's ID of the call."""
        events = delivered.events() if splitter.current is not None else []
        ending = self._ending(splitter, events, TraceState.DELIVERED, delivered.calls, None, meta_trace_id)
        await self._acknowledge(splitter, [], delivered.count, ending)

    async def dead_letter_refused(
        self, splitter: BatchSplitter, events: Sequence[bytes], calls: int, code: str, fault: MetaFault | None
    ) -> None:
        """Move events that Meta refused to the dead letters. `calls`: how many calls carried them."""
        letters = [self._dead_letter(Stage.UPLOAD, event, calls, code, describe(fault), fault) for event in events]
        trace_id = fault.trace_id if fault is not None else None
        ending = self._ending(splitter, events, TraceState.DEAD_LETTERED, calls, code, trace_id)
        await self._acknowledge(splitter, letters, 0, ending)

    async def dead_letter_unconfirmed(
        self, splitter: BatchSplitter, events: Sequence[bytes], calls: int, received: int
    ) -> None:
        """Move the events of a call to the dead letters, of which Meta confirmed only `received`, without naming them.

        `calls`: how many calls carried them.
        """
        message = (
            f"Meta confirmed only {received} of the {len(events)} events of the call, also when it was repeated, and "
            "does not name them. Some may have been received, so a replay may repeat them."
        )
        letters = [self._dead_letter(Stage.UPLOAD, event, calls, CountMismatch.code, message) for event in events]
        ending = self._ending(splitter, events, TraceState.DEAD_LETTERED, calls, CountMismatch.code)
        await self._acknowledge(splitter, letters, 0, ending)

    async def dead_letter_expired(self, splitter: BatchSplitter, events: Sequence[bytes], calls: int) -> None:
        """Move events that are too old for Meta to the dead letters. `calls`: how many calls carried them."""
        message = "The event became too old for Meta while it waited."
        letters = [self._dead_letter(Stage.EXPIRED, event, calls, "expired", message) for event in events]
        ending = self._ending(splitter, events, TraceState.DEAD_LETTERED, calls, "expired")
        await self._acknowledge(splitter, letters, 0, ending)

    def _ending(
        self,
        splitter: BatchSplitter,
        events: Sequence[bytes],
        state: TraceState,
        calls: int,
        code: str | None,
        meta_trace_id: str | None = None,
    ) -> Ending:
        """The entry for the event trace. It names the events only if others of their chunks are still waiting."""
        named = events if splitter.current is not None else None
        return Ending(splitter.ids, self._context.clock(), state, calls, code, meta_trace_id, named)

    def _dead_letter(
        self, stage: Stage, event: bytes, calls: int, code: str, message: str, fault: MetaFault | None = None
    ) -> DeadLetter:
        ids = ids_of_mapped(event)
        return DeadLetter(
            stage=stage,
            code=code,
            message=message,
            destination=self._lane.destination,
            source=None,
            lane=self._lane,
            at=self._context.clock(),
            attempts=calls,
            fault=fault,
            event=event,
            message_id=ids.message_id,
            order_id=ids.order_id,
        )

    async def _acknowledge(
        self, splitter: BatchSplitter, letters: Sequence[DeadLetter], delivered: int, ending: Ending
    ) -> None:
        """Retry until the spool has stored the result: delivered events must not be sent again."""
        ids, rest = splitter.ids, splitter.remaining_chunk()
        attempts = 0
        while True:
            try:
                await _run_to_completion(self._acknowledge_once(ids, letters, rest, delivered, ending))
            except GatewayError as error:
                attempts += 1
                delay = backoff_delay(attempts, base=SPOOL_RETRY_SECONDS, maximum=MAX_SPOOL_RETRY_SECONDS)
                log.warning(
                    "cannot acknowledge a batch in the spool: %s; retrying in %.0f s",
                    error,
                    delay,
                    extra={"lane": str(self._lane)},
                )
                await asyncio.sleep(delay)
            else:
                return

    async def _acknowledge_once(
        self,
        ids: Sequence[ChunkId],
        letters: Sequence[DeadLetter],
        rest: Chunk | None,
        delivered: int,
        ending: Ending,
    ) -> None:
        await self._context.spool.acknowledge(self._lane, ids, letters, rest)
        self._counts.delivered += delivered
        self._counts.batches += delivered > 0
        self._counts.dead += len(letters)
        for letter in letters:
            self._context.ledger.dead[letter.destination, letter.stage, letter.code] += 1
        self._context.trace.ended(ending)


async def _run_to_completion(work: Coroutine[Any, Any, None]) -> None:
    """Await `work`; when cancelled, wait for its end first, so that the ledger counts all that the spool stored."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # retrieved, since asyncio logs exceptions that are not
        raise
