"""How long to wait before the next try: exponential with full jitter. Pure; the random source is an argument."""

from __future__ import annotations

from random import Random


def pause(attempt: int, base: float, most: float, random: Random) -> float:
    """Seconds before try number `attempt + 1`: evenly drawn from 0 to `base * 2**(attempt - 1)`, at most `most`.

    Full jitter keeps lanes and replicas from coming back in step.
    """
    return random.uniform(0.0, min(most, base * 2.0 ** min(attempt - 1, 40)))
