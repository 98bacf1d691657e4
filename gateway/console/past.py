"""The time range of a page, and the history that it needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.admin.dead_letters import BadQuery
from gateway.admin.gateway import Gateway
from gateway.console.view import Visit
from gateway.history import HistoryPage, HistoryQuery, HistoryUnavailable, Metric
from gateway.model import UnixSeconds

HOUR = 3600


@dataclass(frozen=True, slots=True)
class Range:
    """A time range that can be chosen."""

    label: str
    seconds: int
    step: int
    """Seconds of one point of a plot."""


RANGES: Mapping[str, Range] = {
    "1h": Range("last hour", HOUR, 60),
    "6h": Range("last 6 hours", 6 * HOUR, 120),
    "24h": Range("last 24 hours", 24 * HOUR, 300),
    "7d": Range("last 7 days", 7 * 24 * HOUR, HOUR),
    "62d": Range("last 62 days", 62 * 24 * HOUR, 6 * HOUR),
}
DEFAULT_RANGE = "24h"


@dataclass(frozen=True, slots=True)
class Past:
    """The history of a page's range."""

    range: str
    """A key of `RANGES`."""
    page: HistoryPage | None
    """None if it cannot be read."""
    failure: str | None = None
    """Why it cannot be read."""

    @property
    def label(self) -> str:
        """The range in words."""
        return RANGES[self.range].label

    @property
    def recorded_since(self) -> UnixSeconds | None:
        """Beginning of the first step of the range that was recorded."""
        if self.page is None:
            return None
        first = next((position for position, known in enumerate(self.page.recorded) if known), None)
        return None if first is None else self.page.since + first * self.page.step


def range_of(visit: Visit) -> str:
    """The range that a request asks for. Raises `BadQuery`."""
    given = visit.query.get("range", DEFAULT_RANGE)
    if given not in RANGES:
        raise BadQuery(f"`range` must be one of {', '.join(RANGES)}.")
    return given


async def read_past(
    gateway: Gateway, visit: Visit, metrics: Sequence[Metric], where: Mapping[str, str] | None = None
) -> Past:
    """The history of the range that a request asks for. Raises `BadQuery`."""
    name = range_of(visit)
    chosen = RANGES[name]
    # The minute that runs is not recorded yet; the step that contains `now` is shown as it is so far.
    query = HistoryQuery(metrics, visit.now - chosen.seconds, visit.now, chosen.step, where or {})
    try:
        return Past(name, await gateway.history(query))
    except HistoryUnavailable as error:
        return Past(name, None, str(error))
