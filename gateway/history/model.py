"""Types of the history: which series there are, a question and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.model import GatewayError, UnixSeconds

MINUTE = 60
HOUR = 3600
MINUTES_KEPT = 48 * HOUR
"""Seconds for which values are kept per minute."""
HOURS_KEPT = 62 * 24 * HOUR
"""Seconds for which values are kept per hour."""
MAX_POINTS = 3000
"""Values of one series in an answer: more than the minutes of 48 hours."""
MAX_SERIES = 500
"""Series in an answer."""


class HistoryUnavailable(GatewayError):
    """The history cannot be read: it is turned off, or its file cannot be used."""


class Kind(StrEnum):
    """How the values of several minutes become one."""

    COUNTER = "counter"
    """Events in the step: the sum of its minutes."""
    GAUGE = "gauge"
    """A state at the end of each minute: the highest of the step."""


class Metric(StrEnum):
    """What a series counts. `METRICS` has the labels and the meaning of each."""

    RECEIVED = "received"
    IGNORED = "ignored"
    CONSENT_DENIED = "consent_denied"
    DEDUPLICATED = "deduplicated"
    REJECTED = "rejected"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    DEAD_LETTERED = "dead_lettered"
    DEAD_LETTERS = "dead_letters"
    WAITING = "waiting"
    OLDEST_AGE = "oldest_age"
    CALLS = "calls"
    LAG_EVENTS = "lag_events"
    LAG_SECONDS = "lag_seconds"
    LAG_P50 = "lag_p50"
    LAG_P99 = "lag_p99"
    MAPPED = "mapped"
    KEY_PRESENT = "key_present"
    KEY_DROPPED = "key_dropped"


@dataclass(frozen=True, slots=True)
class MetricDescription:
    """The labels, kind and meaning of a metric."""

    labels: tuple[str, ...]
    kind: Kind
    description: str
    """With its unit."""


METRICS: Mapping[Metric, MetricDescription] = {
    Metric.RECEIVED: MetricDescription(("source",), Kind.COUNTER, "Source events that were received."),
    Metric.IGNORED: MetricDescription(
        ("source",), Kind.COUNTER, "Source events that no destination accepted or rejected."
    ),
    Metric.CONSENT_DENIED: MetricDescription(
        ("source",), Kind.COUNTER, "Source events that deny the consent that a destination needs, once a destination."
    ),
    Metric.DEDUPLICATED: MetricDescription(
        ("source",), Kind.COUNTER, "Source events that a destination had accepted before, once a destination."
    ),
    Metric.REJECTED: MetricDescription(
        ("source", "code"), Kind.COUNTER, "Source events that could not be mapped, once a destination."
    ),
    Metric.ACCEPTED: MetricDescription(
        ("destination", "event_set"), Kind.COUNTER, "Mapped events that were stored durably."
    ),
    Metric.DELIVERED: MetricDescription(
        ("destination", "event_set"), Kind.COUNTER, "Mapped events that Meta accepted."
    ),
    Metric.DEAD_LETTERED: MetricDescription(
        ("destination", "event_set"), Kind.COUNTER, "Mapped events that became dead letters."
    ),
    Metric.DEAD_LETTERS: MetricDescription(
        ("destination", "stage", "code"), Kind.COUNTER, "Dead letters that were written, of every stage."
    ),
    Metric.WAITING: MetricDescription(("destination", "event_set"), Kind.GAUGE, "Mapped events in the spool."),
    Metric.OLDEST_AGE: MetricDescription(
        ("destination", "event_set"), Kind.GAUGE, "Age in seconds of the oldest event that is not in a call."
    ),
    Metric.CALLS: MetricDescription(("destination", "outcome"), Kind.COUNTER, "Calls to Meta."),
    Metric.LAG_EVENTS: MetricDescription(
        ("destination",), Kind.COUNTER, "Delivered events whose delivery lag was measured."
    ),
    Metric.LAG_SECONDS: MetricDescription(
        ("destination",), Kind.COUNTER, "Sum of their delivery lags, in seconds from durable to accepted by Meta."
    ),
    Metric.LAG_P50: MetricDescription(("destination",), Kind.GAUGE, "Median delivery lag of a minute, seconds."),
    Metric.LAG_P99: MetricDescription(
        ("destination",), Kind.GAUGE, "99th percentile of the delivery lags of a minute, seconds."
    ),
    Metric.MAPPED: MetricDescription(
        ("destination",), Kind.COUNTER, "Source events whose match keys were examined: the total for `key_present`."
    ),
    Metric.KEY_PRESENT: MetricDescription(
        ("destination", "key"), Kind.COUNTER, "Source events with a usable value of a match key."
    ),
    Metric.KEY_DROPPED: MetricDescription(
        ("destination", "key", "cause"), Kind.COUNTER, "Source events with a value of a match key that was dropped."
    ),
}


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Which series, over which time."""

    metrics: Sequence[Metric]
    """At least one."""
    since: UnixSeconds
    until: UnixSeconds
    step: int = MINUTE
    """Seconds of one value: a multiple of 60; made longer if the answer would have more than `MAX_POINTS` values, or
    if values per minute are not kept for that long."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Labels that a series must have, such as `{"destination": "store"}`. A label that a metric does not have excludes
    all of its series."""


@dataclass(frozen=True, slots=True)
class Series:
    """The values of one metric with one set of labels."""

    metric: Metric
    labels: Mapping[str, str]
    values: Sequence[float]
    """One for each step of the page, oldest first. Steps without a value are 0; `HistoryPage.recorded` tells whether
    the gateway ran."""


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """The answer to a query."""

    since: UnixSeconds
    """Beginning of the first step, a multiple of `step`."""
    step: int
    """Seconds of each step: the requested one or longer."""
    recorded: Sequence[bool]
    """For each step, whether the gateway recorded at least one minute of it."""
    series: Sequence[Series]
    is_complete: bool = True
    """False if there were more than `MAX_SERIES` series, or series that were not recorded because of their number."""
