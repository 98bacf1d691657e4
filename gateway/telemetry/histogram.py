"""A histogram of plain integers, cheap to update. `metrics` converts it to the Prometheus format."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LAG = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
DELIVERY = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0, 604_800.0)
EVENTS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 750, 1000, 2000)


@dataclass(slots=True)
class Histogram:
    """Counts of observations by upper bound. One thread writes."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    """For each bound, observations at or below it and above the previous one; the last count is above all bounds."""
    total: float = 0.0
    """Sum of the observed values."""

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, `times` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def add(self, other: Histogram) -> None:
        """Add the counts of a histogram with the same bounds."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)

    def since(self, earlier: Histogram) -> Histogram:
        """What was observed after `earlier`, a copy of this histogram at that time."""
        counts = [max(0, now - then) for now, then in zip(self.counts, earlier.counts, strict=True)]
        return Histogram(self.bounds, counts, max(0.0, self.total - earlier.total))

    def quantile(self, share: float) -> float:
        """The value below which `share` (0 to 1) of the observations are, interpolated between two bounds.

        0 without observations; the last bound if the value is above it.
        """
        remaining = share * self.count
        lower = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and count >= remaining:
                return lower + (bound - lower) * remaining / count
            remaining -= count
            lower = bound
        return lower if self.count else 0.0
