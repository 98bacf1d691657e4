"""Counts, metrics, logs and alerts. Packages count in a `Ledger`; only `metrics` depends on prometheus_client."""

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
