"""What became of a lane's events goes to the spool and into the account, in that order and whatever it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any

from gateway.model import Chunk, ChunkId, DeadLetter, GatewayError, Lane, MetaFault, Stage
from gateway.telemetry import LaneCounts
from gateway.upload.caller import Surroundings
from gateway.upload.parts import Parts
from gateway.upload.reasons import reason_of

log = logging.getLogger("gateway.upload")

SPOOL_PAUSE = 1.0
"""Seconds before the first try again while the spool does not answer; doubled after each."""
LONGEST_SPOOL_PAUSE = 30.0


def spool_pause(tries: int) -> float:
    """Seconds before the next try."""
    return min(LONGEST_SPOOL_PAUSE, SPOOL_PAUSE * 2.0 ** min(tries - 1, 10))


class Settling:
    """Settles parts of a lane's batches."""

    def __init__(self, lane: Lane, around: Surroundings, counts: LaneCounts) -> None:
        self._lane = lane
        self._around = around
        self._counts = counts

    async def delivered(self, parts: Parts, count: int) -> None:
        """Meta took so many events, which are no part of the rest any more."""
        await self._settle(parts, [], count)

    async def refused(
        self, parts: Parts, events: Sequence[bytes], calls: int, code: str, fault: MetaFault | None
    ) -> None:
        """Meta will not take these events, which so many calls carried."""
        await self._settle(parts, [self._letter(Stage.UPLOAD, event, calls, code, fault) for event in events], 0)

    async def expired(self, parts: Parts, events: Sequence[bytes], calls: int) -> None:
        """These events became too old for Meta."""
        await self._settle(parts, [self._letter(Stage.EXPIRED, event, calls, "expired", None) for event in events], 0)

    def _letter(self, stage: Stage, event: bytes, calls: int, code: str, fault: MetaFault | None) -> DeadLetter:
        too_old = "The event became too old for Meta while it waited."
        return DeadLetter(
            stage=stage,
            code=code,
            message=too_old if stage is Stage.EXPIRED else reason_of(fault),
            destination=self._lane.destination,
            source=None,
            lane=self._lane,
            at=self._around.wall(),
            attempts=calls,
            fault=fault,
            event=event,
        )

    async def _settle(self, parts: Parts, letters: Sequence[DeadLetter], delivered: int) -> None:
        """Until the spool has it: what was delivered must not be sent again."""
        ids, rest = parts.ids, parts.settled()
        tries = 0
        while True:
            try:
                await _whole(self._once(ids, letters, rest, delivered))
            except GatewayError as error:
                tries += 1
                log.warning("the spool does not settle: %s", error, extra={"lane": str(self._lane)})
                await asyncio.sleep(spool_pause(tries))
            else:
                return

    async def _once(
        self, ids: Sequence[ChunkId], letters: Sequence[DeadLetter], rest: Chunk | None, delivered: int
    ) -> None:
        await self._around.spool.settle(self._lane, ids, letters, rest)
        self._counts.delivered += delivered
        self._counts.batches += delivered > 0
        self._counts.dead += len(letters)
        for letter in letters:
            self._around.ledger.dead[letter.destination, letter.stage, letter.code] += 1


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """Do it to its end even when cancelled meanwhile: what the spool did has to be in the account."""
    doing = asyncio.ensure_future(work)
    try:
        await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        if not doing.cancelled():
            doing.exception()  # looked at: whoever cancelled has no use for it
        raise
