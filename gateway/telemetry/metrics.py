"""The counts as Prometheus metrics. They are read when somebody scrapes; nothing here runs on an event's way.

The only place that knows prometheus_client. `docs/metrics.md` lists what it gives, and a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gateway import __version__
from gateway.telemetry.histogram import Histogram
from gateway.telemetry.snapshot import Snapshot

MAX_LANE_SERIES = 200
"""Lanes with series of their own; the others share one, so that an upload tag for each day does not add up."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(snapshot: Snapshot) -> bytes:
    """The page for the scraper."""
    registry = CollectorRegistry()
    registry.register(Families(snapshot))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class Families:
    """A snapshot as a collector, which is what prometheus_client asks."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """All families, as prometheus_client wants them."""
        yield _gauge("gateway_build_info", "Always 1; the version is in the label.", ["version"], [((__version__,), 1)])
        snapshot = self._snapshot
        ledger = snapshot.ledger
        yield _gauge("gateway_workers", "Processes of the gateway.", [], [((), snapshot.workers)])
        yield _counter("gateway_worker_restarts", "Processes that ended by themselves.", [], [((), snapshot.restarts)])
        yield _counter("gateway_reloads", "Settings that were read again.", ["outcome"], _single_label(ledger.reloads))
        yield _counter("gateway_alerts", "WebhookNotifier for the webhook.", ["outcome"], _single_label(ledger.alerts))
        warned = [((name,), 1) for name in snapshot.warnings]
        yield _gauge("gateway_version_warning", "1 where Meta warns of the Graph version.", ["destination"], warned)
        yield from self._ingest()
        yield from self._uploads()
        yield from self._spool()
        yield from self._lanes()
        yield from self._coverage()
        lag = HistogramMetricFamily("gateway_loop_lag_seconds", "How late the event loop woke.")
        _add_histogram(lag, [], self._snapshot.loop_lag)
        yield lag

    def _ingest(self) -> Iterable[Metric]:
        ledger = self._snapshot.ledger
        yield _counter(
            "gateway_requests",
            "Requests of senders.",
            ["route", "status"],
            (((route, str(status)), n) for (route, status), n in ledger.requests.items()),
        )
        yield _counter(
            "gateway_events_received",
            "Source events of requests that were taken.",
            ["source"],
            (((source,), n) for source, n in ledger.received.items()),
        )
        yield _counter(
            "gateway_events_ignored",
            "Source events that go nowhere by design.",
            ["source"],
            (((source,), n) for source, n in ledger.ignored.items()),
        )
        yield _counter(
            "gateway_events_deduplicated",
            "Source events that a destination had taken before.",
            ["source", "destination"],
            ledger.deduplicated.items(),
        )
        yield _counter(
            "gateway_events_rejected",
            "Source events that could not be mapped.",
            ["source", "destination", "code"],
            ledger.rejected.items(),
        )
        yield _counter(
            "gateway_events_accepted",
            "Mapped events that became durable.",
            ["source", "destination"],
            ledger.accepted.items(),
        )

    def _uploads(self) -> Iterable[Metric]:
        ledger = self._snapshot.ledger
        ends: dict[str, list[int]] = {}
        for lane, counts in ledger.lanes.items():
            sums = ends.setdefault(lane.destination, [0, 0, 0])
            sums[0] += counts.delivered
            sums[1] += counts.recovered
            sums[2] += counts.batches
        for position, name, text in (
            (0, "gateway_events_delivered", "Mapped events that Meta took."),
            (1, "gateway_events_recovered", "Mapped events that were found in the spool at the start."),
            (2, "gateway_batches_delivered", "Calls that Meta took."),
        ):
            yield _counter(name, text, ["destination"], (((key,), sums[position]) for key, sums in ends.items()))
        yield _counter(
            "gateway_dead_letters",
            "Dead letters written.",
            ["destination", "stage", "code"],
            (((one, stage.value, code), n) for (one, stage, code), n in ledger.dead.items()),
        )
        yield _counter(
            "gateway_batches_flushed",
            "Batches formed, by what flushed them.",
            ["destination", "reason"],
            (((one, reason.value), n) for (one, reason), n in ledger.flushes.items()),
        )
        yield _counter("gateway_calls", "Calls to Meta.", ["destination", "outcome"], ledger.calls.items())
        for name, text, found in (
            ("gateway_call_seconds", "How long calls to Meta took.", ledger.call_seconds),
            ("gateway_batch_events", "Events of a batch when it was formed.", ledger.batch_events),
        ):
            family = HistogramMetricFamily(name, text, labels=["destination"])
            for destination, histogram in found.items():
                _add_histogram(family, [destination], histogram)
            yield family

    def _spool(self) -> Iterable[Metric]:
        spool = self._snapshot.spool
        for name, text, value in (
            ("gateway_spool_bytes", "Bytes that the spool takes.", spool.size),
            ("gateway_spool_max_bytes", "Bytes that the spool may take.", spool.max_bytes),
            ("gateway_spool_events", "Mapped events in the spool.", spool.events),
            ("gateway_spool_dead_letters", "Dead letters that are kept.", spool.dead_letters),
        ):
            yield _gauge(name, text, [], [((), value)])
        purged = self._snapshot.ledger.purged
        yield _counter("gateway_dead_letters_purged", "Dead letters beyond what is kept.", [], [((), purged)])
        yield _counter("gateway_spool_commits", "Transactions of the spool.", [], [((), spool.commits)])

    def _lanes(self) -> Iterable[Metric]:
        lanes = sorted(self._snapshot.lanes, key=lambda lane: lane.waiting_events, reverse=True)
        labels = ["destination", "event_set", "upload_tag"]
        listed, others = lanes[:MAX_LANE_SERIES], lanes[MAX_LANE_SERIES:]
        waiting = [(tuple(lane.lane), lane.waiting_events) for lane in listed]
        oldest = [(tuple(lane.lane), lane.oldest_at or 0.0) for lane in listed]
        if others:
            rest = ("other", "other", "other")
            waiting.append((rest, sum(lane.waiting_events for lane in others)))
            oldest.append((rest, min((lane.oldest_at for lane in others if lane.oldest_at), default=0.0)))
        yield _gauge("gateway_lane_waiting_events", "Mapped events of a lane in the spool.", labels, waiting)
        yield _gauge(
            "gateway_lane_oldest_waiting_timestamp_seconds",
            "When the oldest event that waits for its batch became durable; 0: none waits.",
            labels,
            oldest,
        )
        for name, text, values in (
            (
                "gateway_lane_calls_in_flight",
                "Calls under way.",
                [(tuple(one.lane), one.in_flight) for one in listed],
            ),
            (
                "gateway_lane_calls_per_second_allowed",
                "The pace now.",
                [(tuple(one.lane), one.calls_per_second) for one in listed],
            ),
            (
                "gateway_lane_concurrency",
                "Calls that may be under way.",
                [(tuple(o.lane), o.concurrency) for o in listed],
            ),
        ):
            yield _gauge(name, text, labels, values)
        blocked = [((*one.lane, one.blocked), 1) for one in lanes if one.blocked]
        yield _gauge("gateway_lane_blocked", "1 for a lane that waits for somebody to act.", [*labels, "kind"], blocked)

    def _coverage(self) -> Iterable[Metric]:
        coverage = self._snapshot.coverage
        yield _counter(
            "gateway_mapping_events",
            "Source events whose identity was looked at.",
            ["destination"],
            (((name,), one.events) for name, one in coverage.items()),
        )
        yield _counter(
            "gateway_match_key_present",
            "Events with a usable match key.",
            ["destination", "key"],
            (((name, key), found.present) for name, one in coverage.items() for key, found in one.keys.items()),
        )
        yield _counter(
            "gateway_match_key_dropped",
            "Match keys that were there and not usable.",
            ["destination", "key", "cause"],
            (
                ((name, key, cause), n)
                for name, one in coverage.items()
                for key, found in one.keys.items()
                for cause, n in found.dropped.items()
            ),
        )
        yield _counter(
            "gateway_mapping_notes",
            "What else mapping counted.",
            ["destination", "note"],
            (((name, note), n) for name, one in coverage.items() for note, n in one.notes.items()),
        )


Labelled = Iterable[tuple[tuple[str, ...], float]]


def _single_label(counts: Mapping[str, int]) -> Labelled:
    return (((key,), count) for key, count in counts.items())


def _counter(name: str, text: str, labels: Sequence[str], values: Labelled) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _gauge(name: str, text: str, labels: Sequence[str], values: Labelled) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _add_histogram(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    total = 0
    buckets = []
    for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound is None else str(float(bound)), float(total)))
    family.add_metric(labels, buckets, histogram.total)
