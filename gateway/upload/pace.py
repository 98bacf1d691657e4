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

NEAR = 0.5
"""Share of Meta's allowance from which calls are slowed."""
FAR = 0.1
"""Share below which they are not any more. In between they stay slowed: a burst would leave the window as a burst."""
FULL = 0.96
"""Share that is aimed at; what is above is for rounding and for whoever shares the app."""
SPREAD = 60.0
"""Seconds over which what is left of the allowance is spread."""
LOOK_BACK = 30.0
"""Seconds over which calls and usage are compared."""
WINDOW = 3600.0
"""Seconds: no window of Meta's is longer, so whatever is left has to last for so long at most."""
PROBE = 300.0
"""Seconds after which a call is made however full it is: only an answer tells that there is room again."""
LEAST_RISE = 0.05
"""Usage has to rise by so much before it tells what a call costs: Meta gives whole percents."""
TREMBLE = 0.03
"""A fall of usage that means nothing: answers overtake each other, and percents are whole."""
GUESSED_COST = 1 / 500
"""Share of the allowance that a call costs, before anything is known."""
UNTOLD = 60.0
"""Seconds without a call after a throttle that names no time; doubled while throttles follow each other."""
LONGEST = 3600.0
DOUBLED = 60.0
"""Seconds in which the pace doubles after a throttle."""
SLOWEST = 0.1
"""Calls a second that a throttle leaves at least, once its time is over."""


@dataclass(frozen=True, slots=True)
class _Mark:
    """What was known when an answer told the usage."""

    at: float
    usage: float
    answered: int


class Pace:
    """Waiters are served one after the other, in order."""

    def __init__(self) -> None:
        # Only the loop's thread touches these.
        self._queue = asyncio.Lock()
        self._last = -math.inf  # loop time of the last call
        self._until = -math.inf  # loop time before which Meta wants no call at all
        self._under_way = 0  # calls that no answer speaks of yet
        self._lately = 0.0  # calls that ended lately, older ones counting less
        self._ended_at = 0.0  # loop time of the last of them
        self._answered = 0  # calls that told the usage
        self._marks: deque[_Mark] = deque()  # of the last LOOK_BACK seconds, and one that is older
        self._rising: _Mark | None = None  # since when usage has only risen
        self._peak = 0.0  # the highest usage since then
        self._cost: float | None = None  # share of the allowance that one call takes; None: not learnt yet
        self._slowed = False  # usage was NEAR, and was not FAR since
        self._full_wait = UNTOLD  # seconds until the next call when it is likely to be one too many; doubles
        self._cap = math.inf  # calls a second at the end of the last throttle
        self._untold = UNTOLD

    async def turn(self) -> None:
        """Return when the next call may be made."""
        loop = asyncio.get_running_loop()
        async with self._queue:
            # Looked at again at least each second, since answers that come meanwhile change it.
            while (wait := self._due(loop.time()) - loop.time()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(min(wait, 1.0))
            self._last = loop.time()

    @property
    def is_held(self) -> bool:
        """Whether Meta wants no call at all now."""
        return asyncio.get_running_loop().time() < self._until

    def began(self) -> None:
        """A call is sent. `ended` follows, whatever becomes of it."""
        self._under_way += 1

    def ended(self, usage: float | None) -> None:
        """A call is over; what share of Meta's allowance is spent, 1.0 at the limit, where an answer told it."""
        self._under_way -= 1
        now = asyncio.get_running_loop().time()
        self._lately = self._lately * math.exp((self._ended_at - now) / LOOK_BACK) + 1.0
        self._ended_at = now
        if usage is None or self.is_held:
            return  # what was spent before a throttle says nothing of what is left after it
        self._answered += 1
        mark = _Mark(now, usage, self._answered)
        self._learn(mark)
        self._slowed = usage > NEAR or (self._slowed and usage > FAR)
        is_full = usage + (self._cost or GUESSED_COST) > 1.0
        self._full_wait = min(LONGEST, self._full_wait * 2) if is_full else UNTOLD
        self._marks.append(mark)
        while len(self._marks) > 2 and self._marks[1].at <= mark.at - LOOK_BACK:
            self._marks.popleft()

    def passed(self) -> None:
        """A call was not one too many."""
        self._untold = UNTOLD

    def throttled(self, seconds: float | None) -> None:
        """Meta refused a call as one too many. Calls that were under way together are refused together: once."""
        now = asyncio.get_running_loop().time()
        news = now >= self._until
        if seconds is None:
            if not news:
                return
            seconds = self._untold
            self._untold = min(LONGEST, self._untold * 2)
        if news:
            self._cap = max(SLOWEST, min(self._lately / LOOK_BACK, self._capped(now)) / 2)
            self._marks.clear()
            self._rising, self._slowed = None, False
        self._until = max(self._until, now + seconds)

    @property
    def calls_per_second(self) -> float:
        """What is allowed now; infinite while Meta's limits are far."""
        return min(self._rate(), self._capped(asyncio.get_running_loop().time()))

    def _due(self, now: float) -> float:
        """Loop time of the next call, as far as it is known now."""
        return max(self._until, self._last + 1 / min(self._rate(), self._capped(now)))

    def _capped(self, now: float) -> float:
        """Calls a second that the last throttle leaves: they come back gently."""
        return self._cap * 2 ** min(64.0, max(0.0, now - self._until) / DOUBLED)

    def _learn(self, mark: _Mark) -> None:
        """What a call costs, from usage that only rose: what leaves the window meanwhile makes it look cheaper."""
        before = self._marks[-1] if self._marks else mark
        if self._rising is None or mark.usage < self._peak - TREMBLE:
            self._rising, self._peak = mark, mark.usage
        self._peak = max(self._peak, mark.usage)
        rise = mark.usage - self._rising.usage
        if rise >= LEAST_RISE:
            faded = (self._cost or 0.0) * 2 ** ((before.at - mark.at) / WINDOW)
            self._cost = max(faded, rise / (mark.answered - self._rising.answered))

    def _rate(self) -> float:
        """Calls a second that the usage leaves."""
        if not self._slowed or not self._marks:
            return math.inf
        then, now = self._marks[0], self._marks[-1]
        cost = self._cost or GUESSED_COST
        usage = now.usage + self._under_way * cost
        if usage + cost > 1.0:
            return 1 / self._full_wait
        least = max((1.0 - usage) / WINDOW / cost, 1 / PROBE)
        calls = (now.answered - then.answered) - max(0.0, now.usage - then.usage) / cost
        left = min(FULL, 1.0 - 2 * cost) - usage
        return max(least, max(0.0, calls) / max(1.0, now.at - then.at) + left / SPREAD / cost)
