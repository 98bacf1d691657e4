"""Converts snapshots to values of the history. Pure; no I/O and no clock."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from copy import deepcopy
from typing import NamedTuple

from gateway.history.model import Metric
from gateway.model import UnixSeconds
from gateway.telemetry import Coverage, Histogram, Ledger, Snapshot


class SeriesKey(NamedTuple):
    """Identifies one series."""

    metric: Metric
    labels: tuple[str, ...]
    """Values of the labels, in the order of `METRICS`."""


Values = dict[SeriesKey, float]


class Totals(NamedTuple):
    """All counters of a snapshot."""

    counters: Mapping[SeriesKey, float]
    lags: Mapping[str, Histogram]
    """Delivery lags by destination."""


class Sample(NamedTuple):
    """The values of a minute."""

    counters: Values
    gauges: Values


NO_TOTALS = Totals({}, {})
"""Those of a gateway that has just started."""


def totals_of(snapshot: Snapshot) -> Totals:
    """The counters of a snapshot. Later changes of the snapshot do not change them."""
    counters: Values = defaultdict(float)
    _add_sources(counters, snapshot.ledger)
    _add_destinations(counters, snapshot.ledger)
    for destination, coverage in snapshot.coverage.items():
        _add_coverage(counters, destination, coverage)
    return Totals(dict(counters), deepcopy(dict(snapshot.ledger.delivery_lag)))


def sample(before: Totals, now: Totals, snapshot: Snapshot, at: UnixSeconds) -> Sample:
    """The values since `before`, and the state of `snapshot`, of which `now` are the totals. Zeros are left out.

    A counter that fell was merged into another one, or belongs to a process that ended; it counts as unchanged.
    """
    counters = {
        key: value - before.counters.get(key, 0)
        for key, value in now.counters.items()
        if value > before.counters.get(key, 0)
    }
    gauges: Values = defaultdict(float)
    for statistics in snapshot.lanes:
        lane = statistics.lane
        key = SeriesKey(Metric.OLDEST_AGE, (lane.destination, lane.event_set))
        if statistics.oldest_at is not None:
            gauges[key] = max(gauges[key], at - statistics.oldest_at)
    for lane, counts in snapshot.ledger.lanes.items():
        gauges[SeriesKey(Metric.WAITING, (lane.destination, lane.event_set))] += counts.waiting
    for destination, histogram in now.lags.items():
        lag = histogram.since(before.lags[destination]) if destination in before.lags else histogram
        if lag.count:
            counters[SeriesKey(Metric.LAG_EVENTS, (destination,))] = lag.count
            counters[SeriesKey(Metric.LAG_SECONDS, (destination,))] = lag.total
            gauges[SeriesKey(Metric.LAG_P50, (destination,))] = lag.quantile(0.5)
            gauges[SeriesKey(Metric.LAG_P99, (destination,))] = lag.quantile(0.99)
    return Sample(counters, {key: value for key, value in gauges.items() if value > 0})


def _add_sources(counters: Values, ledger: Ledger) -> None:
    for source, count in ledger.received.items():
        counters[SeriesKey(Metric.RECEIVED, (source,))] += count
    for source, count in ledger.ignored.items():
        counters[SeriesKey(Metric.IGNORED, (source,))] += count
    for (source, _), count in ledger.consent_denied.items():
        counters[SeriesKey(Metric.CONSENT_DENIED, (source,))] += count
    for (source, _), count in ledger.deduplicated.items():
        counters[SeriesKey(Metric.DEDUPLICATED, (source,))] += count
    for (source, _, code), count in ledger.rejected.items():
        counters[SeriesKey(Metric.REJECTED, (source, code))] += count


def _add_destinations(counters: Values, ledger: Ledger) -> None:
    for lane, counts in ledger.lanes.items():
        labels = lane.destination, lane.event_set
        counters[SeriesKey(Metric.ACCEPTED, labels)] += counts.accepted
        counters[SeriesKey(Metric.DELIVERED, labels)] += counts.delivered
        counters[SeriesKey(Metric.DEAD_LETTERED, labels)] += counts.dead
    for (destination, stage, code), count in ledger.dead.items():
        counters[SeriesKey(Metric.DEAD_LETTERS, (destination, stage.value, code))] += count
    for (destination, outcome), count in ledger.calls.items():
        counters[SeriesKey(Metric.CALLS, (destination, outcome))] += count


def _add_coverage(counters: Values, destination: str, coverage: Coverage) -> None:
    counters[SeriesKey(Metric.MAPPED, (destination,))] += coverage.events
    for name, key in coverage.keys.items():
        counters[SeriesKey(Metric.KEY_PRESENT, (destination, name))] += key.present
        for cause, count in key.dropped.items():
            counters[SeriesKey(Metric.KEY_DROPPED, (destination, name, cause))] += count
