"""Delays between retries: exponential, with full jitter where many clients could retry at the same time. Pure."""

from __future__ import annotations

from random import Random

_MAX_DOUBLINGS = 40
"""Keeps `2.0 ** attempt` finite."""


def backoff_delay(attempt: int, *, base: float, maximum: float, random: Random | None = None) -> float:
    """Seconds to wait after failed attempt number `attempt` (from 1): `base * 2**(attempt - 1)`, at most `maximum`.

    With `random` the delay is drawn evenly from 0 to that value (full jitter), so that lanes, processes and replicas
    that failed together do not retry together.
    """
    longest = min(maximum, base * 2.0 ** min(attempt - 1, _MAX_DOUBLINGS))
    return longest if random is None else random.uniform(0.0, longest)
