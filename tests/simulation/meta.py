"""A model of Meta on bad days, from a seed: it throttles, stalls, errs, refuses single events, drops connections before
and after it took the call, answers in HTML or nothing, revokes tokens, loses event sets, and recovers.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from gateway.delivery import HttpResponse, NoResponse
from tests.delivery.harness import Seen, error, ok

WINDOW = 600.0
"""Seconds for which the account's calls count."""
SPELLS = ("err", "stall", "html", "empty", "drop before", "drop after", "revoke", "no event set")


def is_bad(number: int) -> bool:
    """One event in 100 or so is one that Meta refuses."""
    return number * 2654435761 % 2**32 < 2**32 // 100


@dataclass
class BadDays:
    """Each event set has spells of weather of its own, the sick one far more of them; the account has its limits."""

    random: Random
    sick: str
    """The event set."""
    well_from: float
    """Loop time from which all is well."""
    allowance: int
    """Calls of the account in `WINDOW`."""
    spells: dict[str, tuple[float, float, str]] = field(default_factory=dict)
    """By URL: since when, until when, what."""
    calls: deque[float] = field(default_factory=deque)
    throttled_until: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    taken: Counter[int] = field(default_factory=Counter)
    """By event, how often a call that was answered with success carried it."""
    taken_in_silence: Counter[int] = field(default_factory=Counter)
    """By event, how often it was taken and the answer was lost."""
    too_early: int = 0
    """Calls that were sent while the time to wait, which had been told, was running."""

    def answer(self, seen: Seen) -> Any:
        """What a call gets, at the time at which it gets it."""
        now = asyncio.get_running_loop().time()
        if seen.at < self.throttled_until and seen.at > self.told_at:
            self.too_early += 1
        kind = self._weather(seen)
        if kind != "well":
            self.faults[kind] += 1
        match kind:
            case "err":
                return error(self.random.choice((1, 2)), status=500, transient=self.random.random() < 0.5)
            case "stall":
                return NoResponse("timeout", in_doubt=True)
            case "html":
                return HttpResponse(502, {}, b"<html>Bad gateway</html>")
            case "empty":
                return HttpResponse(200, {}, b"")
            case "drop before":
                return NoResponse("disconnected", in_doubt=True)
            case "revoke":
                return error(190, 463, status=401)
            case "no event set":
                return error(100, 33)
            case _:
                return self._judged(seen, now, lost=kind == "drop after")

    told_at: float = 0.0

    def well_for(self, event_set: str) -> float:
        """Seconds of good weather that an event set has had."""
        now = asyncio.get_running_loop().time()
        spells = [spell for url, spell in self.spells.items() if f"/{event_set}/" in url]
        return min((now - (since if kind == "well" else max(since, end)) for since, end, kind in spells), default=now)

    def _judged(self, seen: Seen, now: float, *, lost: bool) -> Any:
        """The account's limits first, then the events."""
        while self.calls and self.calls[0] <= now - WINDOW:
            self.calls.popleft()
        used = (len(self.calls) + 1) / self.allowance
        headers = {"X-App-Usage": f'{{"call_count":{int(100 * used)},"total_time":1,"total_cputime":1}}'}
        if used > 1.0 or (now < self.well_from and self.random.random() < 0.01):
            return self._throttled(now, headers)
        self.calls.append(now)
        bad = [index for index, number in enumerate(seen.events) if is_bad(number)]
        if bad:
            told = self.random.random() < 0.5
            self.faults["event refused, told which" if told else "event refused, not told which"] += 1
            return error(100, 2804050, index=bad[0] if told else None, headers=headers)
        if lost:
            self.taken_in_silence.update(seen.events)
            return NoResponse("disconnected", in_doubt=True)
        self.taken.update(seen.events)
        return ok(len(seen.events), headers)

    def _throttled(self, now: float, headers: dict[str, str]) -> HttpResponse:
        minutes = self.random.choice((0, 1, 5))
        self.faults["throttle, told how long" if minutes else "throttle"] += 1
        if not minutes:
            return error(4, headers=headers)
        if now + 60 * minutes > self.throttled_until:
            self.throttled_until, self.told_at = now + 60.0 * minutes, now
        told = orjson.dumps({"1": [{"type": "ads_management", "estimated_time_to_regain_access": minutes}]}).decode()
        return error(80004, headers={**headers, "X-Business-Use-Case-Usage": told})

    def _weather(self, seen: Seen) -> str:
        if seen.at >= self.well_from:
            return "well"
        _, end, kind = self.spells.get(seen.url, (0.0, 0.0, "well"))
        if seen.at >= end:
            bad = self.random.random() < (0.8 if f"/{self.sick}/" in seen.url else 0.2)
            kind = self.random.choice(SPELLS) if bad else "well"
            length = self.random.expovariate(1 / (1800 if bad else 3600))
            self.spells[seen.url] = (seen.at, seen.at + length, kind)
        return kind
