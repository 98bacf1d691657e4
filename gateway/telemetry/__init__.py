"""What the gateway tells: counts, metrics, logs. Only `metrics` knows prometheus; rooms count in a `Ledger`."""

from gateway.telemetry.histogram import Histogram
from gateway.telemetry.ledger import LaneCounts, Ledger
from gateway.telemetry.snapshot import Coverage, KeyCoverage, LaneStatistics, Snapshot, SpoolStatistics

__all__ = [
    "Coverage",
    "Histogram",
    "KeyCoverage",
    "LaneCounts",
    "LaneStatistics",
    "Ledger",
    "Snapshot",
    "SpoolStatistics",
]
