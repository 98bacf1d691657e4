"""Reads Meta's response headers: how much of the rate limit is used, how long to wait, API version warnings. Pure.

Headers are input like any other: values are bounded in length and depth, and numbers outside their range are clamped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import orjson

MAX_DELAY_SECONDS = 600.0
"""Longest delay that is honoured. After a longer one named by Meta, a call every ten minutes shows whether it is over.
"""
MAX_USAGE_PERCENT = 1000.0
"""Highest usage that is reported; Meta's usage can exceed 100 percent somewhat."""
NEAR_LIMIT_PERCENT = 90.0
"""Percent of an ad account's limit from which its reset time is honoured."""

MAX_HEADER_CHARACTERS = 8192
"""Longer values are ignored. Meta's have a few hundred characters."""
MAX_DEPTH = 5
"""Levels of a value in which numbers are searched. Meta's values have at most three: business, list, object."""


def retry_delay(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait after a throttled response: the longest that any header names, at most `MAX_DELAY_SECONDS`.

    None if no header names a time. `estimated_time_to_regain_access` is in minutes, `reset_time_duration` and
    `Retry-After` in seconds. An ad account that is far from its limit did not cause the throttling, so its reset time
    is ignored.
    """
    waits = [0.0]
    for name, value in headers.items():
        lower = name.lower()
        if lower == "retry-after" and len(value) <= MAX_HEADER_CHARACTERS and value.strip().isdecimal():
            waits.append(float(value))
        elif lower.startswith("x-business-use-case"):
            waits += [60.0 * minutes for minutes in _numbers(value, "estimated_time_to_regain_access")]
        elif (
            lower == "x-ad-account-usage"
            and max(_numbers(value, "acc_id_util_pct"), default=100.0) >= NEAR_LIMIT_PERCENT
        ):
            waits += _numbers(value, "reset_time_duration")
    return min(max(waits), MAX_DELAY_SECONDS) or None


def usage_share(headers: Mapping[str, str]) -> float | None:
    """Used share of the rate limit, 1.0 at the limit: the highest that any header names; None if none does.

    At most `MAX_USAGE_PERCENT` / 100.
    """
    percents: list[float] = []
    for name, value in headers.items():
        lower = name.lower()
        if lower == "x-app-usage" or lower.startswith("x-business-use-case"):
            percents += _numbers(value, "call_count", "total_time", "total_cputime")
        elif lower in {"x-ad-account-usage", "x-fb-ads-insights-throttle"}:
            percents += _numbers(value, "acc_id_util_pct", "app_id_util_pct")
    return min(max(percents), MAX_USAGE_PERCENT) / 100 if percents else None


def _numbers(text: str, *keys: str) -> list[float]:
    """All numbers under the keys of a JSON text, at any depth up to `MAX_DEPTH`, that are finite and not negative."""
    if len(text) > MAX_HEADER_CHARACTERS:
        return []
    try:
        tree = orjson.loads(text)  # refuses NaN and numbers that are infinite as a double
    except orjson.JSONDecodeError:
        return []
    return [
        float(value)
        for node in _objects(tree)
        for key in keys
        if isinstance(value := node.get(key), int | float) and not isinstance(value, bool) and value >= 0
    ]


def _objects(tree: object) -> Iterator[dict[str, object]]:
    """All objects in the upper `MAX_DEPTH` levels of a JSON value."""
    level = [tree]
    for _ in range(MAX_DEPTH):
        following: list[object] = []
        for node in level:
            if isinstance(node, dict):
                yield node
                following += node.values()
            elif isinstance(node, list):
                following += node
        level = following


def version_warning(headers: Mapping[str, str]) -> str | None:
    """Meta's warning about the API version of the call, as one line of at most 300 characters."""
    for name, value in headers.items():
        if name.lower() == "x-ad-api-version-warning" and value.strip():
            return " ".join(value.split())[:300]
    return None
