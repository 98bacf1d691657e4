"""What became of a lane's events goes to the spool and into the account, in that order and whatever it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from gateway.backoff import backoff_delay
from gateway.delivery.batch_splitter import BatchSplitter
from gateway.delivery.sender import DestinationContext
from gateway.meta import describe
from gateway.model import Chunk, ChunkId, DeadLetter, GatewayError, Lane, MetaFault, Stage
from gateway.telemetry import LaneCounts

log = logging.getLogger("gateway.delivery")

SPOOL_RETRY_SECONDS = 1.0
"""Delay before the first retry while the spool is unavailable; doubled after each."""
MAX_SPOOL_RETRY_SECONDS = 30.0


class BatchAcknowledger:
    """Settles parts of a lane's batches."""

    def __init__(self, lane: Lane, context: DestinationContext, counts: LaneCounts) -> None:
        self._lane = lane
        self._context = context
        self._counts = counts

    async def delivered(self, splitter: BatchSplitter, count: int) -> None:
        """Meta took so many events, which are no part of the rest any more."""
        await self._acknowledge(splitter, [], count)

    async def refused(
        self, splitter: BatchSplitter, events: Sequence[bytes], calls: int, code: str, fault: MetaFault | None
    ) -> None:
        """Meta will not take these events, which so many calls carried."""
        await self._acknowledge(
            splitter, [self._letter(Stage.UPLOAD, event, calls, code, fault) for event in events], 0
        )

    async def expired(self, splitter: BatchSplitter, events: Sequence[bytes], calls: int) -> None:
        """These events became too old for Meta."""
        await self._acknowledge(
            splitter, [self._letter(Stage.EXPIRED, event, calls, "expired", None) for event in events], 0
        )

    def _letter(self, stage: Stage, event: bytes, calls: int, code: str, fault: MetaFault | None) -> DeadLetter:
        too_old = "The event became too old for Meta while it waited."
        return DeadLetter(
            stage=stage,
            code=code,
            message=too_old if stage is Stage.EXPIRED else describe(fault),
            destination=self._lane.destination,
            source=None,
            lane=self._lane,
            at=self._context.clock(),
            attempts=calls,
            fault=fault,
            event=event,
        )

    async def _acknowledge(self, splitter: BatchSplitter, letters: Sequence[DeadLetter], delivered: int) -> None:
        """Until the spool has it: what was delivered must not be sent again."""
        ids, rest = splitter.ids, splitter.remaining_chunk()
        tries = 0
        while True:
            try:
                await _uninterrupted(self._once(ids, letters, rest, delivered))
            except GatewayError as error:
                tries += 1
                log.warning("the spool does not settle: %s", error, extra={"lane": str(self._lane)})
                await asyncio.sleep(backoff_delay(tries, base=SPOOL_RETRY_SECONDS, maximum=MAX_SPOOL_RETRY_SECONDS))
            else:
                return

    async def _once(
        self, ids: Sequence[ChunkId], letters: Sequence[DeadLetter], rest: Chunk | None, delivered: int
    ) -> None:
        await self._context.spool.acknowledge(self._lane, ids, letters, rest)
        self._counts.delivered += delivered
        self._counts.batches += delivered > 0
        self._counts.dead += len(letters)
        for letter in letters:
            self._context.ledger.dead[letter.destination, letter.stage, letter.code] += 1


async def _uninterrupted(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end even when cancelled meanwhile: what the spool did has to be in the account."""
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        if not doing.cancelled():
            doing.exception()  # looked at: whoever cancelled has no use for it
        raise
