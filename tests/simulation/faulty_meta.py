"""A model of Meta with random faults, from a seed.

It throttles, times out, returns errors, refuses single events, drops connections before and after it accepted a call,
responds with HTML or an empty body, confirms fewer events than it accepted, revokes tokens, loses event sets, and
recovers.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from gateway.delivery import HttpResponse, NoResponse
from tests.delivery.harness import RecordedCall, error, success

WINDOW = 600.0
"""Seconds for which a call counts towards the rate limit."""
FAULTS = (
    *("error", "timeout", "html", "empty", "drop before", "drop after", "revoked token", "no event set"),
    "count too small",
)
HEALTHY = "healthy"


def is_bad(number: int) -> bool:
    """Whether Meta refuses the event. About one in 100 is refused."""
    return number * 2654435761 % 2**32 < 2**32 // 100


@dataclass
class FaultyMeta:
    """Each event set has its own sequence of healthy and faulty periods. All of them share one rate limit."""

    random: Random
    faulty_event_set: str
    """The event set with far more faulty periods than the others."""
    healthy_from: float
    """Loop time from which there are no more faults."""
    rate_limit: int
    """Calls that are allowed in `WINDOW`."""
    periods: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    """By URL, the last period: start, end, fault or `HEALTHY`."""
    calls: deque[float] = field(default_factory=deque)
    throttled_from: float = 0.0
    """Loop time of the response that named the end of the throttle."""
    throttled_until: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    accepted: Counter[int] = field(default_factory=Counter)
    """By event, how often it was in a call with a successful response."""
    accepted_in_doubt: Counter[int] = field(default_factory=Counter)
    """By event, how often it was accepted and the response was lost."""
    miscounted: set[bytes] = field(default_factory=set)
    """Bodies of the calls of which fewer events were confirmed than accepted."""
    too_early: int = 0
    """Calls that were sent during a throttle whose end had been named."""

    def respond(self, call: RecordedCall) -> Any:
        """The response to a call, at the time of the response."""
        now = asyncio.get_running_loop().time()
        if self.throttled_from < call.at < self.throttled_until:
            self.too_early += 1
        fault = self._fault(call)
        if fault != HEALTHY:
            self.faults[fault] += 1
        match fault:
            case "error":
                return error(self.random.choice((1, 2)), status=500, transient=self.random.random() < 0.5)
            case "timeout":
                return NoResponse("timeout", in_doubt=True)
            case "html":
                return HttpResponse(502, {}, b"<html>Bad gateway</html>")
            case "empty":
                return HttpResponse(200, {}, b"")
            case "drop before":
                return NoResponse("disconnected", in_doubt=True)
            case "revoked token":
                return error(190, 463, status=401)
            case "no event set":
                return error(100, 33)
            case _:
                return self._process(call, now, fault)

    def healthy_for(self, event_set: str) -> float:
        """Seconds for which an event set has had no fault."""
        now = asyncio.get_running_loop().time()
        periods = [period for url, period in self.periods.items() if f"/{event_set}/" in url]
        return min(
            (now - (start if fault == HEALTHY else max(start, end)) for start, end, fault in periods), default=now
        )

    def _process(self, call: RecordedCall, now: float, fault: str) -> Any:
        """Apply the rate limit, then check the events."""
        while self.calls and self.calls[0] <= now - WINDOW:
            self.calls.popleft()
        used = (len(self.calls) + 1) / self.rate_limit
        headers = {"X-App-Usage": f'{{"call_count":{int(100 * used)},"total_time":1,"total_cputime":1}}'}
        if used > 1.0 or (now < self.healthy_from and self.random.random() < 0.01):
            return self._throttle(now, headers)
        self.calls.append(now)
        bad = [index for index, number in enumerate(call.events) if is_bad(number)]
        if bad:
            is_named = self.random.random() < 0.5
            self.faults["event refused, index named" if is_named else "event refused, index not named"] += 1
            return error(100, 2804050, index=bad[0] if is_named else None, headers=headers)
        if fault == "drop after":
            self.accepted_in_doubt.update(call.events)
            return NoResponse("disconnected", in_doubt=True)
        if fault == "count too small" and call.body not in self.miscounted:
            # Not twice for the same events, which would become dead letters.
            self.miscounted.add(call.body)
            self.accepted_in_doubt.update(call.events)
            return success(self.random.randrange(len(call.events)), headers)
        self.accepted.update(call.events)
        return success(len(call.events), headers)

    def _throttle(self, now: float, headers: dict[str, str]) -> HttpResponse:
        minutes = self.random.choice((0, 1, 5))
        self.faults["throttle, time named" if minutes else "throttle, no time named"] += 1
        if not minutes:
            return error(4, headers=headers)
        if now + 60 * minutes > self.throttled_until:
            self.throttled_until, self.throttled_from = now + 60.0 * minutes, now
        usage = orjson.dumps({"1": [{"type": "ads_management", "estimated_time_to_regain_access": minutes}]}).decode()
        return error(80004, headers={**headers, "X-Business-Use-Case-Usage": usage})

    def _fault(self, call: RecordedCall) -> str:
        """The fault of the event set's present period, or `HEALTHY`. Starts a new period when the last one is over."""
        if call.at >= self.healthy_from:
            return HEALTHY
        _, end, fault = self.periods.get(call.url, (0.0, 0.0, HEALTHY))
        if call.at >= end:
            is_faulty = self.random.random() < (0.8 if f"/{self.faulty_event_set}/" in call.url else 0.2)
            fault = self.random.choice(FAULTS) if is_faulty else HEALTHY
            length = self.random.expovariate(1 / (1800 if is_faulty else 3600))
            self.periods[call.url] = (call.at, call.at + length, fault)
        return fault
