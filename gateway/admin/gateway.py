"""The interface that the admin server needs of a gateway, which may be one process or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.dead_letters import DeadLetterOperations
from gateway.telemetry import Snapshot


class Gateway(Protocol):
    """A running gateway."""

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
