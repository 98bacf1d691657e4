"""A histogram of plain integers, cheap to update. `metrics` converts it to the Prometheus format."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
LAG = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
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

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def add(self, other: Histogram) -> None:
        """Add the counts of a histogram with the same bounds."""
        self.counts = [ours + theirs for ours, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self.counts)
