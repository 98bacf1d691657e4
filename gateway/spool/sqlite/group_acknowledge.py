"""Group settling: while one transaction settles, what else is to be settled is collected for the next.

Many lanes settle small batches, and each transaction costs an fsync whatever it holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from gateway.model import Chunk, ChunkId, DeadLetter, Lane


class Acknowledgement(NamedTuple):
    """What `Spool.settle` is asked for."""

    lane: Lane
    ids: Sequence[ChunkId]
    letters: Sequence[DeadLetter]
    rest: Chunk | None


Results = Sequence[Exception | None]
"""Why each settlement of a group was refused; None: it is done."""


class GroupAcknowledger:
    """Collects settlements. `settle_all` does a group; where it fails, nothing of the group is done."""

    def __init__(self, acknowledge_all: Callable[[Sequence[Acknowledgement]], asyncio.Future[Results]]) -> None:
        self._acknowledge_all = acknowledge_all
        # Only the loop's thread touches these.
        self._waiting: list[tuple[Acknowledgement, asyncio.Future[None]]] = []
        self._is_busy = False

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Return when it is done. A caller that goes away does not undo it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((acknowledgement, future))
        if not self._is_busy:
            self._send()
        await future

    def _send(self) -> None:
        group, self._waiting = self._waiting, []
        self._is_busy = True
        self._acknowledge_all([acknowledgement for acknowledgement, _ in group]).add_done_callback(
            partial(self._done, group)
        )

    def _done(
        self, group: Sequence[tuple[Acknowledgement, asyncio.Future[None]]], call: asyncio.Future[Results]
    ) -> None:
        self._is_busy = False
        if self._waiting:
            self._send()
        failure = call.exception()
        results = [failure] * len(group) if failure is not None else call.result()
        for (_, future), problem in zip(group, results, strict=True):
            if future.done():
                continue
            if problem is None:
                future.set_result(None)
            else:
                future.set_exception(problem)
