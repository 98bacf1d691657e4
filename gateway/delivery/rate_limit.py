"""How fast the calls of a token may follow one another: slower as Meta's limits come near, not at all while it says so.

Meta counts by app and account, so all lanes of a token share one pace. No limit is known beforehand: it is learnt from
the usage that answers tell. What is asked for is what was asked for lately, less what that added to the usage, plus a
part of what is left; where usage stands still, that is as many calls as leave Meta's window.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

SLOW_ABOVE = 0.5
"""Share of Meta's allowance from which calls are slowed."""
FAST_BELOW = 0.1
"""Share below which they are not any more. In between they stay slowed: a burst would leave the window as a burst."""
TARGET_USAGE = 0.96
"""Share that is aimed at; what is above is for rounding and for whoever shares the app."""
SPREAD_SECONDS = 60.0
"""Seconds over which what is left of the allowance is spread."""
HISTORY_SECONDS = 30.0
"""Seconds over which calls and usage are compared."""
WINDOW = 3600.0
"""Seconds: no window of Meta's is longer, so whatever is left has to last for so long at most."""
PROBE = 300.0
"""Seconds after which a call is made however full it is: only an answer tells that there is room again."""
LEAST_RISE = 0.05
"""Usage has to rise by so much before it tells what a call costs: Meta gives whole percents."""
USAGE_NOISE = 0.03
"""A fall of usage that means nothing: answers overtake each other, and percents are whole."""
GUESSED_COST = 1 / 500
"""Share of the allowance that a call costs, before anything is known."""
DEFAULT_THROTTLE_SECONDS = 60.0
"""Seconds without a call after a throttle that names no time; doubled while throttles follow each other."""
MAX_WAIT_SECONDS = 3600.0
RECOVERY_SECONDS = 60.0
"""Seconds in which the pace doubles after a throttle."""
MIN_CALLS_PER_SECOND = 0.1
"""Calls a second that a throttle leaves at least, once its time is over."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What was known when an answer told the usage."""

    at: float
    usage: float
    answered: int


class TokenRateLimiter:
    """Waiters are served one after the other, in order."""

    def __init__(self) -> None:
        # Only the loop's thread touches these.
        self._queue = asyncio.Lock()
        self._last = -math.inf  # loop time of the last call
        self._until = -math.inf  # loop time before which Meta wants no call at all
        self._in_flight = 0  # calls that no answer speaks of yet
        self._recent_calls = 0.0  # calls that ended lately, older ones counting less
        self._ended_at = 0.0  # loop time of the last of them
        self._answered = 0  # calls that told the usage
        self._samples: deque[_Sample] = deque()  # of the last LOOK_BACK seconds, and one that is older
        self._rising: _Sample | None = None  # since when usage has only risen
        self._peak = 0.0  # the highest usage since then
        self._cost: float | None = None  # share of the allowance that one call takes; None: not learnt yet
        self._slowed = False  # usage was NEAR, and was not FAR since
        self._full_wait = (
            DEFAULT_THROTTLE_SECONDS  # seconds until the next call when it is likely to be one too many; doubles
        )
        self._cap = math.inf  # calls a second at the end of the last throttle
        self._throttle_seconds = DEFAULT_THROTTLE_SECONDS

    async def acquire(self) -> None:
        """Return when the next call may be made."""
        loop = asyncio.get_running_loop()
        async with self._queue:
            # Looked at again at least each second, since answers that come meanwhile change it.
            while (wait := self._next_call_at(loop.time()) - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(wait, 1.0))
            self._last = loop.time()

    @property
    def is_blocked(self) -> bool:
        """Whether Meta wants no call at all now."""
        return asyncio.get_running_loop().time() < self._until

    def call_started(self) -> None:
        """A call is sent. `ended` follows, whatever becomes of it."""
        self._in_flight += 1

    def call_finished(self, usage: float | None) -> None:
        """A call is over; what share of Meta's allowance is spent, 1.0 at the limit, where an answer told it."""
        self._in_flight -= 1
        now = asyncio.get_running_loop().time()
        self._recent_calls = self._recent_calls * math.exp((self._ended_at - now) / HISTORY_SECONDS) + 1.0
        self._ended_at = now
        if usage is None or self.is_blocked:
            return  # what was spent before a throttle says nothing of what is left after it
        self._answered += 1
        sample = _Sample(now, usage, self._answered)
        self._learn(sample)
        self._slowed = usage > SLOW_ABOVE or (self._slowed and usage > FAST_BELOW)
        is_full = usage + (self._cost or GUESSED_COST) > 1.0
        self._full_wait = min(MAX_WAIT_SECONDS, self._full_wait * 2) if is_full else DEFAULT_THROTTLE_SECONDS
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= sample.at - HISTORY_SECONDS:
            self._samples.popleft()

    def not_throttled(self) -> None:
        """A call was not one too many."""
        self._throttle_seconds = DEFAULT_THROTTLE_SECONDS

    def throttled(self, seconds: float | None) -> None:
        """Meta refused a call as one too many. Calls that were under way together are refused together: once."""
        now = asyncio.get_running_loop().time()
        is_new = now >= self._until
        if seconds is None:
            if not is_new:
                return
            seconds = self._throttle_seconds
            self._throttle_seconds = min(MAX_WAIT_SECONDS, self._throttle_seconds * 2)
        if is_new:
            self._cap = max(
                MIN_CALLS_PER_SECOND, min(self._recent_calls / HISTORY_SECONDS, self._throttle_cap(now)) / 2
            )
            self._samples.clear()
            self._rising, self._slowed = None, False
        self._until = max(self._until, now + seconds)

    @property
    def calls_per_second(self) -> float:
        """What is allowed now; infinite while Meta's limits are far."""
        return min(self._usage_rate(), self._throttle_cap(asyncio.get_running_loop().time()))

    def _next_call_at(self, now: float) -> float:
        """Loop time of the next call, as far as it is known now."""
        return max(self._until, self._last + 1 / min(self._usage_rate(), self._throttle_cap(now)))

    def _throttle_cap(self, now: float) -> float:
        """Calls a second that the last throttle leaves: they come back gently."""
        return self._cap * 2 ** min(64.0, max(0.0, now - self._until) / RECOVERY_SECONDS)

    def _learn(self, sample: _Sample) -> None:
        """What a call costs, from usage that only rose: what leaves the window meanwhile makes it look cheaper."""
        before = self._samples[-1] if self._samples else sample
        if self._rising is None or sample.usage < self._peak - USAGE_NOISE:
            self._rising, self._peak = sample, sample.usage
        self._peak = max(self._peak, sample.usage)
        rise = sample.usage - self._rising.usage
        if rise >= LEAST_RISE:
            faded = (self._cost or 0.0) * 2 ** ((before.at - sample.at) / WINDOW)
            self._cost = max(faded, rise / (sample.answered - self._rising.answered))

    def _usage_rate(self) -> float:
        """Calls a second that the usage leaves."""
        if not self._slowed or not self._samples:
            return math.inf
        then, now = self._samples[0], self._samples[-1]
        cost = self._cost or GUESSED_COST
        usage = now.usage + self._in_flight * cost
        if usage + cost > 1.0:
            return 1 / self._full_wait
        least = max((1.0 - usage) / WINDOW / cost, 1 / PROBE)
        calls = (now.answered - then.answered) - max(0.0, now.usage - then.usage) / cost
        left = min(TARGET_USAGE, 1.0 - 2 * cost) - usage
        return max(least, max(0.0, calls) / max(1.0, now.at - then.at) + left / SPREAD_SECONDS / cost)
