"""Latencies as counts in buckets of equal ratio: memory does not grow with requests, and two of them add up to one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Self


class Latencies:
    """A histogram of seconds whose buckets are 2 % wide, from a microsecond up."""

    STEP = math.log(1.02)
    LEAST = 1e-6

    __slots__ = ("counts",)

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts)
        """By bucket: the one numbered n holds what lies from LEAST * 1.02**n up to LEAST * 1.02**(n + 1)."""

    def observe(self, seconds: float) -> None:
        """Count one. Runs once a request."""
        self.counts[int(math.log(max(seconds, self.LEAST) / self.LEAST) / self.STEP)] += 1

    def add(self, other: Latencies) -> None:
        """Take over the counts of another."""
        self.counts.update(other.counts)

    @property
    def count(self) -> int:
        """Observations so far."""
        return self.counts.total()

    def quantile(self, share: float) -> float:
        """Seconds at or below which this share lies: the upper end of its bucket; 0 without any."""
        wanted = share * self.count
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return self.LEAST * math.exp((bucket + 1) * self.STEP)
        return 0.0

    def as_json(self) -> dict[str, int]:
        """Plain values."""
        return {str(bucket): count for bucket, count in sorted(self.counts.items())}

    @classmethod
    def from_json(cls, told: Mapping[str, int]) -> Self:
        """The reverse of `as_json`."""
        return cls({int(bucket): count for bucket, count in told.items()})
