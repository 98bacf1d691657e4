"""A histogram of latencies with logarithmic buckets. Its size does not depend on the number of requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Self


class LatencyHistogram:
    """Counts latencies in seconds. A bucket is 2 % wide; the first begins at one microsecond."""

    STEP = math.log(1.02)
    MINIMUM = 1e-6

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts)
        """Counts by bucket. Bucket n covers MINIMUM * 1.02**n up to MINIMUM * 1.02**(n + 1)."""

    def observe(self, seconds: float) -> None:
        """Count one latency. Runs once per request."""
        self.counts[int(math.log(max(seconds, self.MINIMUM) / self.MINIMUM) / self.STEP)] += 1

    def add(self, other: LatencyHistogram) -> None:
        """Add the counts of another histogram."""
        self.counts.update(other.counts)

    @property
    def count(self) -> int:
        """Number of observations."""
        return self.counts.total()

    def quantile(self, share: float) -> float:
        """Return the upper end, in seconds, of the bucket that contains the quantile; 0 without observations."""
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return self.MINIMUM * math.exp((bucket + 1) * self.STEP)
        return 0.0

    def as_json(self) -> dict[str, int]:
        """Return plain values."""
        return {str(bucket): count for bucket, count in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, encoded: Mapping[str, int]) -> Self:
        """Reverse `as_json`."""
        return cls({int(bucket): count for bucket, count in encoded.items()})
