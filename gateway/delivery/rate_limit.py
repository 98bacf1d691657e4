"""Limits the call rate of an access token: lower as usage nears Meta's limits, zero while Meta throttles the token.

Meta counts calls by app and account, so all lanes of a token share one limiter. Meta's limits are not known beforehand;
they are learnt from the usage that responses report. The allowed rate is a sum of two: the rate at which calls leave
Meta's window, which is the recent calls minus those that the rise of usage accounts for; and the calls that are left,
spread over a minute.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass

SLOW_ABOVE = 0.5
"""Usage, as a share of Meta's limit, above which calls are slowed down."""
FAST_BELOW = 0.1
"""Usage below which they are no longer slowed down. In between they stay as they are: a burst of calls would also leave
Meta's window as a burst."""
TARGET_USAGE = 0.96
"""Usage that the limiter steers to. The rest is for rounding and for other users of the app."""
SPREAD_SECONDS = 60.0
"""Seconds over which the calls that are left below the target are spread."""
HISTORY_SECONDS = 30.0
"""Seconds over which calls and usage are compared."""
WINDOW = 3600.0
"""Seconds of Meta's longest window. The calls that are left have to last for one window at most."""
PROBE = 300.0
"""Seconds after which a call is made at any usage: only a response shows that usage has fallen."""
LEAST_RISE = 0.05
"""Smallest rise of usage from which the cost of a call is computed, since Meta reports whole percents."""
USAGE_NOISE = 0.03
"""Fall of usage that is ignored: responses can arrive out of order, and percents are whole."""
GUESSED_COST = 1 / 500
"""Share of the limit that a call is assumed to cost until it is learnt."""
MAX_COST = 1 / 10
"""Highest share of the limit that a call is assumed to cost. A larger rise of usage has other causes."""
DEFAULT_THROTTLE_SECONDS = 60.0
"""Seconds without calls after a throttled response that names no time; doubled while throttles follow each other."""
MAX_WAIT_SECONDS = 600.0
"""Longest time without a call that the limiter chooses itself; a call shows whether Meta's limit still applies."""
RECOVERY_SECONDS = 60.0
"""Seconds in which the rate doubles after a throttle."""
MIN_CALLS_PER_SECOND = 0.1
"""Lowest rate, in calls a second, after a throttle has ended."""
REPORTED_WAIT_SECONDS = 1.0
"""Waits up to this are the usual distance of calls near the limit, and are not reported as throttling."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """The state when a response reported the usage."""

    at: float
    usage: float
    answered: int


class TokenRateLimiter:
    """Admits calls one at a time, in the order of their requests."""

    def __init__(self) -> None:
        # Only the loop's thread changes these.
        self._queue = asyncio.Lock()
        self._last = -math.inf  # loop time of the last call
        self._until = -math.inf  # loop time before which no call is allowed, after a throttle
        self._in_flight = 0  # calls that are admitted and not part of any reported usage yet
        self._recent_calls = 0.0  # finished calls, weighted by an exponential decay over HISTORY_SECONDS
        self._ended_at = 0.0  # loop time at which the last of them finished
        self._answered = 0  # calls whose response reported the usage
        self._samples: deque[_Sample] = deque()  # of the last HISTORY_SECONDS, and one that is older
        self._rising: _Sample | None = None  # the sample since which usage has only risen
        self._peak = 0.0  # the highest usage since then
        self._cost: float | None = None  # share of the limit that one call costs; None: not learnt yet
        self._slowed = False  # usage rose above SLOW_ABOVE, and has not fallen below FAST_BELOW since
        # Seconds until the next call while that call is likely to exceed the limit. Doubles with each such call.
        self._full_wait = DEFAULT_THROTTLE_SECONDS
        self._cap = math.inf  # calls a second at the end of the last throttle
        self._throttle_seconds = DEFAULT_THROTTLE_SECONDS

    async def acquire(self) -> None:
        """Wait until the next call is allowed. It counts as in flight until `release`."""
        loop = asyncio.get_running_loop()
        async with self._queue:
            # Computed again at least each second, since responses that arrive during the wait change it.
            while (wait := self._next_call_at(loop.time()) - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(wait, 1.0))
            self._last = loop.time()
            self._in_flight += 1

    def release(self) -> None:
        """Record that a call for which `acquire` returned has ended, or will not be sent."""
        self._in_flight -= 1

    @property
    def is_blocked(self) -> bool:
        """Whether a throttle forbids all calls now."""
        return asyncio.get_running_loop().time() < self._until

    @property
    def throttled_seconds(self) -> float | None:
        """Seconds until the next call is allowed; None if a call is allowed now, or very soon."""
        now = asyncio.get_running_loop().time()
        seconds = self._next_call_at(now) - now
        return seconds if seconds > REPORTED_WAIT_SECONDS else None

    def end_wait(self) -> None:
        """If calls are throttled, allow calls now: forget the throttle, the usage and the learnt cost."""
        if self.throttled_seconds is None:
            return
        self._until = min(self._until, asyncio.get_running_loop().time())
        self._last, self._cap = -math.inf, math.inf
        self._throttle_seconds = self._full_wait = DEFAULT_THROTTLE_SECONDS
        self._cost = None
        self._forget_usage()

    def call_finished(self, usage: float | None) -> None:
        """Record the end of a call that was sent.

        `usage`: share of Meta's limit, 1.0 at the limit; None: the response did not report it.
        """
        now = asyncio.get_running_loop().time()
        self._recent_calls = self._recent_calls * math.exp((self._ended_at - now) / HISTORY_SECONDS) + 1.0
        self._ended_at = now
        if usage is None and self._samples and self._samples[-1].at < now - MAX_WAIT_SECONDS:
            self._forget_usage()  # responses do not report it any more
        if usage is None or self.is_blocked:
            return  # usage from before a throttle says nothing about usage after it
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
        """Record a call that did not exceed a limit: the next throttle is not one of a series."""
        self._throttle_seconds = DEFAULT_THROTTLE_SECONDS

    def throttled(self, seconds: float | None) -> float:
        """Record a throttled call; allow no call for `seconds`, or for a default if None.

        Returns the seconds for which no call is allowed. Calls that are in flight together are throttled together; that
        counts as one throttle.
        """
        now = asyncio.get_running_loop().time()
        is_new = now >= self._until
        if seconds is None:
            if not is_new:
                return self._until - now
            seconds = self._throttle_seconds
            self._throttle_seconds = min(MAX_WAIT_SECONDS, self._throttle_seconds * 2)
        if is_new:
            self._cap = max(
                MIN_CALLS_PER_SECOND, min(self._recent_calls / HISTORY_SECONDS, self._throttle_cap(now)) / 2
            )
            self._forget_usage()
        self._until = max(self._until, now + seconds)
        return self._until - now

    @property
    def calls_per_second(self) -> float:
        """The rate that is allowed now; infinite while usage is far from Meta's limits."""
        return min(self._usage_rate(), self._throttle_cap(asyncio.get_running_loop().time()))

    def _forget_usage(self) -> None:
        """Forget the reported usage, but not the learnt cost of a call."""
        self._samples.clear()
        self._rising, self._slowed = None, False

    def _next_call_at(self, now: float) -> float:
        """Loop time of the next call, by the present state."""
        return max(self._until, self._last + 1 / min(self._usage_rate(), self._throttle_cap(now)))

    def _throttle_cap(self, now: float) -> float:
        """Calls a second that are allowed after the last throttle; doubles every RECOVERY_SECONDS."""
        return self._cap * 2 ** min(64.0, max(0.0, now - self._until) / RECOVERY_SECONDS)

    def _learn(self, sample: _Sample) -> None:
        """Compute the cost of a call while usage only rises; calls that leave the window make it appear lower."""
        before = self._samples[-1] if self._samples else sample
        if self._rising is None or sample.usage < self._peak - USAGE_NOISE:
            self._rising, self._peak = sample, sample.usage
        self._peak = max(self._peak, sample.usage)
        rise = sample.usage - self._rising.usage
        if rise >= LEAST_RISE:
            faded = (self._cost or 0.0) * 2 ** ((before.at - sample.at) / WINDOW)
            self._cost = max(faded, min(MAX_COST, rise / (sample.answered - self._rising.answered)))

    def _usage_rate(self) -> float:
        """Calls a second that are allowed by the reported usage."""
        if not self._slowed or not self._samples:
            return math.inf
        oldest, latest = self._samples[0], self._samples[-1]
        cost = self._cost or GUESSED_COST
        usage = latest.usage + self._in_flight * cost
        if usage + cost > 1.0:
            return 1 / self._full_wait
        minimum = max((1.0 - usage) / WINDOW / cost, 1 / PROBE)
        calls = (latest.answered - oldest.answered) - max(0.0, latest.usage - oldest.usage) / cost
        left = min(TARGET_USAGE, 1.0 - 2 * cost) - usage
        return max(minimum, max(0.0, calls) / max(1.0, latest.at - oldest.at) + left / SPREAD_SECONDS / cost)
