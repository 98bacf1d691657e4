"""Counts over time, per minute for 48 hours and per hour for 62 days, in a small file of their own.

They are differences of `Snapshot`s, recorded once a minute: nothing here runs on the path of an event.
"""

from gateway.history.model import (
    HOURS_KEPT,
    METRICS,
    MINUTES_KEPT,
    HistoryPage,
    HistoryQuery,
    HistoryUnavailable,
    Kind,
    Metric,
    MetricDescription,
    Series,
)
from gateway.history.recorder import History

__all__ = [
    "HOURS_KEPT",
    "METRICS",
    "MINUTES_KEPT",
    "History",
    "HistoryPage",
    "HistoryQuery",
    "HistoryUnavailable",
    "Kind",
    "Metric",
    "MetricDescription",
    "Series",
]
