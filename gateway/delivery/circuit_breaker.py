"""The circuit breaker of a lane: closed while calls may be made, open while no call can succeed.

While it is open, one call at a time is let through as a probe, at growing intervals.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto

FIRST_PROBE_SECONDS = 15.0
"""Seconds from opening to the first probe; doubled after each probe that fails."""
MAX_PROBE_SECONDS = 900.0
FIRST_POLICY_PROBE_SECONDS = 900.0
"""The same for a policy block, which frequent probes make worse."""
MAX_POLICY_PROBE_SECONDS = 4 * 3600.0

POLICY = "policy"


@dataclass(frozen=True, slots=True)
class OpenReason:
    """Why a circuit breaker is open."""

    kind: str
    """token, permission, object, version, policy, or systemic (every event is refused with the same code)."""
    code: str
    """Of the response, such as `meta_190_463`."""


class Permit(Enum):
    """How a call is allowed."""

    NORMAL = auto()
    """The breaker is closed."""
    PROBE = auto()
    """The breaker is open, and this call tests whether it can be closed."""
    DENIED = auto()
    """The breaker stays open: the process is stopping, and its last probe failed."""


class CircuitBreaker:
    """Decides whether the calls of one lane may be made. It is closed at first."""

    def __init__(self) -> None:
        # Only the loop's thread changes these.
        self.open_reason: OpenReason | None = None  # None while it is closed
        self._probe_interval = FIRST_PROBE_SECONDS  # seconds until the next probe
        self._wake = asyncio.Event()  # set when a probe is requested, and when the breaker closes
        self._probing = asyncio.Lock()  # held while a probe waits for its time and while it is in flight
        self._shutting_down = False  # set once: calls do not wait for the next probe any more
        self._last_probe_failed = False  # a probe failed after the shutdown began

    @property
    def stays_open(self) -> bool:
        """Whether it is open and will not be probed again by this process."""
        return self._last_probe_failed and self.open_reason is not None

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[Permit]:
        """Wait until a call is allowed and make it inside the context. During a probe no other call is allowed."""
        while self.open_reason is not None:
            async with self._probing:
                if self.stays_open:
                    yield Permit.DENIED
                    return
                await self._wait_for_probe()
                if self.open_reason is not None:
                    yield Permit.PROBE
                    return
        yield Permit.NORMAL

    async def _wait_for_probe(self) -> None:
        if self.open_reason is None or self._shutting_down:
            return
        try:
            async with asyncio.timeout(self._probe_interval):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def open(self, reason: OpenReason) -> bool:
        """Allow only probes from now on. Returns whether it was closed before, or open for another kind of reason."""
        is_policy = reason.kind == POLICY
        is_new = self.open_reason is None or self.open_reason.kind != reason.kind
        if is_new:
            self._wake.clear()
            self._probe_interval = FIRST_POLICY_PROBE_SECONDS if is_policy else FIRST_PROBE_SECONDS
        else:
            longest = MAX_POLICY_PROBE_SECONDS if is_policy else MAX_PROBE_SECONDS
            self._probe_interval = min(longest, self._probe_interval * 2)
        self.open_reason = reason
        self._last_probe_failed = self._shutting_down
        return is_new

    def close(self) -> None:
        """Allow all calls from now on."""
        self.open_reason = None
        self._last_probe_failed = False
        self._wake.set()

    @property
    def probe_interval(self) -> float:
        """Seconds between the last failed call and the next probe."""
        return self._probe_interval

    def probe_now(self) -> None:
        """Do not wait for the next probe's time."""
        self._wake.set()

    def shut_down(self) -> None:
        """The process is stopping: probe once more at once, and stay open if that fails."""
        self._shutting_down = True
        self._wake.set()
