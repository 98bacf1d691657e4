"""What the operators' face asks of a gateway, whether it is one process or several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.dead_letters import DeadLetterOperations
from gateway.telemetry import Snapshot


class Gateway(Protocol):
    """A gateway."""

    @property
    def dead_letters(self) -> DeadLetterOperations:
        """The dead letters."""
        ...

    async def readiness(self) -> Sequence[str]:
        """Why requests should go elsewhere; empty when they are welcome."""
        ...

    async def snapshot(self) -> Snapshot:
        """Everything that is told."""
        ...

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        """Let blocked lanes, all of them or those meant, try at once; how many were blocked."""
        ...
