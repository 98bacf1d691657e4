"""What the gateway tells: counts, metrics, logs. Only `metrics` knows prometheus; rooms count in a `Ledger`."""

from gateway.observe.histogram import Histogram
from gateway.observe.ledger import LaneAccount, Ledger
from gateway.observe.snapshot import Coverage, KeyCoverage, LaneStatistics, Snapshot, SpoolStatistics

__all__ = [
    "Coverage",
    "Histogram",
    "KeyCoverage",
    "LaneAccount",
    "LaneStatistics",
    "Ledger",
    "Snapshot",
    "SpoolStatistics",
]
