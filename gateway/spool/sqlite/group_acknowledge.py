"""Group acknowledgement: calls that arrive while one transaction runs are collected for the next.

Many lanes acknowledge small batches, and each transaction costs an fsync however many rows it has.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from gateway.model import Chunk, ChunkId, DeadLetter, Lane
from gateway.spool.size_accounting import size_of

GROUP_BYTES = 8 * 2**20
"""Size of a group beyond which no further acknowledgement is added: it bounds the time of the transaction."""


class Acknowledgement(NamedTuple):
    """The arguments of a call of `Spool.acknowledge`."""

    lane: Lane
    ids: Sequence[ChunkId]
    letters: Sequence[DeadLetter]
    rest: Chunk | None


Results = Sequence[Exception | None]
"""For each acknowledgement of a group, the exception of its caller; None when it succeeded."""


class GroupAcknowledger:
    """Groups acknowledgements into transactions.

    `acknowledge_all` runs a group; when it fails, no acknowledgement of the group has taken effect.
    """

    def __init__(self, acknowledge_all: Callable[[Sequence[Acknowledgement]], asyncio.Future[Results]]) -> None:
        self._acknowledge_all = acknowledge_all
        # Only the event loop's thread uses these.
        self._waiting: deque[tuple[Acknowledgement, asyncio.Future[None]]] = deque()
        self._is_busy = False

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Return when the acknowledgement is durable. Cancelling the caller does not cancel it."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((acknowledgement, future))
        if not self._is_busy:
            self._send()
        await future

    def _send(self) -> None:
        group: list[tuple[Acknowledgement, asyncio.Future[None]]] = []
        size = 0
        while self._waiting and size < GROUP_BYTES:
            group.append(self._waiting.popleft())
            acknowledgement, _ = group[-1]
            size += size_of([acknowledgement.rest] if acknowledgement.rest else [], acknowledgement.letters)
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
        for (_, future), error in zip(group, results, strict=True):
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
