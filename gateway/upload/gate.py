"""A lane's gate: shut while nothing of the lane can pass, with one caller at a time let through to try."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

FIRST_PROBE = 15.0
"""Seconds after which a shut lane tries again; doubled after each try that failed."""
LONGEST_PROBE = 900.0


@dataclass(frozen=True, slots=True)
class Shut:
    """Why a gate is shut."""

    kind: str
    """token, permission, object, version, policy, or systematic (every event refused alike)."""
    code: str


class Gate:
    """Open, or shut for a reason."""

    def __init__(self) -> None:
        # Only the loop's thread touches these.
        self.shut: Shut | None = None
        self._interval = FIRST_PROBE
        self._hurry = asyncio.Event()  # set when somebody asks to try at once, or it opened
        self._probing = asyncio.Lock()

    async def passed(self) -> bool:
        """Wait until a call may be made; whether it is a probe, after which `open` or `close` must be called."""
        while self.shut is not None:
            async with self._probing:
                if self.shut is None:
                    return False
                try:
                    async with asyncio.timeout(self._interval):
                        await self._hurry.wait()
                except TimeoutError:
                    pass
                self._hurry.clear()
                return self.shut is not None
        return False

    def close(self, shut: Shut) -> bool:
        """Nothing passes for this reason; whether that is news."""
        news = self.shut is None
        if news:
            self._hurry.clear()
        else:
            self._interval = min(LONGEST_PROBE, self._interval * 2)
        self.shut = shut
        return news

    def open(self) -> bool:
        """A call passed; whether that is news."""
        news = self.shut is not None
        self.shut = None
        self._interval = FIRST_PROBE
        self._hurry.set()
        return news

    def resume(self) -> None:
        """Try at once."""
        self._hurry.set()
