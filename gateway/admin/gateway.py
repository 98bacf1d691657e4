"""The interface that the admin server needs of a gateway, which may be one process or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.config import Settings
from gateway.dead_letters import DeadLetterOperations
from gateway.history import HistoryPage, HistoryQuery
from gateway.meta import DatasetQuality
from gateway.tap import TapPage
from gateway.telemetry import Snapshot
from gateway.trace import TraceResult


class Gateway(Protocol):
    """A running gateway."""

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        ...

    @property
    def dead_letters(self) -> DeadLetterOperations:
        """Its dead letters."""
        ...

    async def readiness(self) -> Sequence[str]:
        """Reasons why no requests should be sent to it; empty when it is ready."""
        ...

    async def snapshot(self) -> Snapshot:
        """Its counts and states."""
        ...

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Call at once for the blocked and throttled lanes that match (None matches all); their number."""
        ...

    async def history(self, query: HistoryQuery) -> HistoryPage:
        """Counts over time. Raises `HistoryUnavailable` when they cannot be read."""
        ...

    async def trace(self, identifier: str) -> TraceResult:
        """What became of the accepted events with this message ID or order ID.

        Rejected events are not among them: they are dead letters with the same IDs.
        """
        ...

    async def tap(self, cursor: str) -> TapPage:
        """The events that passed since the poll that returned `cursor`; an empty text for the first poll.

        Events are captured only for a few seconds after a poll.
        """
        ...

    async def quality(self) -> Sequence[DatasetQuality]:
        """What Meta says about each dataset in the settings. Errors are in the results."""
        ...
