"""Reads Meta's response headers: how much of the rate limit is used, how long to wait, API version warnings. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

MAX_DELAY_SECONDS = 86_400.0
"""Longest delay that is honoured; a longer one is taken as a mistake."""
NEAR_LIMIT_PERCENT = 90.0
"""Percent of an ad account's limit from which its reset time is honoured."""


def retry_delay(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait after a throttled response: the longest that any header names, at most `MAX_DELAY_SECONDS`.

    `estimated_time_to_regain_access` is in minutes, `reset_time_duration` and `Retry-After` in seconds. An ad account
    that is far from its limit did not cause the throttling, so its reset time is ignored.
    """
    waits = [0.0]
    for name, value in headers.items():
        lower = name.lower()
        if lower == "retry-after" and value.strip().isdecimal():
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
    """Used share of the rate limit, 1.0 at the limit: the highest that any header names; None if none does."""
    shares: list[float] = []
    for name, value in headers.items():
        lower = name.lower()
        if lower == "x-app-usage" or lower.startswith("x-business-use-case"):
            for key in ("call_count", "total_time", "total_cputime"):
                shares += _numbers(value, key)
        elif lower in {"x-ad-account-usage", "x-fb-ads-insights-throttle"}:
            for key in ("acc_id_util_pct", "app_id_util_pct"):
                shares += _numbers(value, key)
    return max(shares) / 100 if shares else None


def _numbers(text: str, key: str) -> list[float]:
    """All numbers under a key of a JSON text, at any depth."""
    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    numbers: list[float] = []
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            value = node.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                numbers.append(float(value))
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return numbers


def version_warning(headers: Mapping[str, str]) -> str | None:
    """Meta's warning about the API version of the call, as one line of at most 300 characters."""
    for name, value in headers.items():
        if name.lower() == "x-ad-api-version-warning" and value.strip():
            return " ".join(value.split())[:300]
    return None
