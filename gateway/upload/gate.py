"""A lane's gate: shut while nothing of the lane can pass, with one call at a time let through to try."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto

FIRST_PROBE = 15.0
"""Seconds after which a shut lane tries again; doubled after each try that failed."""
LONGEST_PROBE = 900.0
FIRST_POLICY_PROBE = 900.0
"""Where Meta blocks for policy, trying again soon makes it worse."""
LONGEST_POLICY_PROBE = 4 * 3600.0

POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Shut:
    """Why a gate is shut."""

    kind: str
    """token, permission, object, version, policy, or systematic (every event refused alike)."""
    code: str


class Passage(Enum):
    """How a caller got through."""

    FREE = auto()
    PROBE = auto()
    """The gate is shut, and this one call is to find out whether it still has to be."""
    NONE = auto()
    """It is shut for good: the process ends, and one try at the end did not help."""


class Gate:
    """Open, or shut for a reason."""

    def __init__(self) -> None:
        # Only the loop's thread touches these.
        self.shut: Shut | None = None
        self._interval = FIRST_PROBE  # seconds until the next probe
        self._hurry = asyncio.Event()  # set when somebody asks to try at once, or it opened
        self._probing = asyncio.Lock()  # held while a probe waits for its time and is under way
        self._ending = False  # set once: nobody will wait for a probe that is far
        self._hopeless = False  # a try after that failed

    @property
    def is_hopeless(self) -> bool:
        """Whether it will not open before the process ends."""
        return self._hopeless and self.shut is not None

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[Passage]:
        """Wait until a call may be made, and make it inside; when it is a probe, no other is made meanwhile."""
        while self.shut is not None:
            async with self._probing:
                if self.is_hopeless:
                    yield Passage.NONE
                    return
                await self._until_probe()
                if self.shut is not None:
                    yield Passage.PROBE
                    return
        yield Passage.FREE

    async def _until_probe(self) -> None:
        if self.shut is None or self._ending:
            return
        try:
            async with asyncio.timeout(self._interval):
                await self._hurry.wait()
        except TimeoutError:
            pass
        self._hurry.clear()

    def close(self, shut: Shut) -> bool:
        """Nothing passes for this reason; whether that is news."""
        news = self.shut is None or self.shut.kind != shut.kind
        policy = shut.kind == POLICY
        if news:
            self._hurry.clear()
            self._interval = FIRST_POLICY_PROBE if policy else FIRST_PROBE
        else:
            self._interval = min(LONGEST_POLICY_PROBE if policy else LONGEST_PROBE, self._interval * 2)
        self.shut = shut
        self._hopeless = self._ending
        return news

    def open(self) -> None:
        """A call passed."""
        self.shut = None
        self._hopeless = False
        self._hurry.set()

    def resume(self) -> None:
        """Try at once."""
        self._hurry.set()

    def end(self) -> None:
        """The process ends: try once more, at once, and then no more."""
        self._ending = True
        self._hurry.set()
