"""Converts a snapshot to Prometheus metrics, for each scrape.

The only module that depends on prometheus_client. `docs/metrics.md` is generated from the descriptions here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from gateway import __version__
from gateway.escaping import printable
from gateway.telemetry.histogram import Histogram
from gateway.telemetry.snapshot import LaneStatistics, Snapshot

MAX_LANE_SERIES = 200
"""Lanes with series of their own. The others are added up in one series, to limit the number of series when senders use
a new upload tag each day."""
MAX_LABEL = 256
"""Characters of the value of a label; the rest is cut. Names in the settings have at most 200."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(snapshot: Snapshot) -> bytes:
    """The metrics in the Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(Families(snapshot))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class Families:
    """A collector of prometheus_client that returns the metrics of a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """All metric families."""
        yield _gauge(
            "gateway_build_info",
            "Always 1. The label is the version of the gateway.",
            ["version"],
            [((__version__,), 1)],
        )
        snapshot = self._snapshot
        ledger = snapshot.ledger
        yield _gauge("gateway_workers", "Worker processes that are running.", [], [((), snapshot.workers)])
        yield _counter(
            "gateway_worker_restarts",
            "Worker processes that ended unexpectedly and were restarted.",
            [],
            [((), snapshot.restarts)],
        )
        yield _counter(
            "gateway_reloads",
            "Reloads of the settings, by outcome: `succeeded`, or `failed` (the previous settings stay in use).",
            ["outcome"],
            _single_label(ledger.reloads),
        )
        yield _counter(
            "gateway_alerts",
            "Alerts for `alerts.webhook`, by outcome: `delivered`, or `failed` after all attempts.",
            ["outcome"],
            _single_label(ledger.alerts),
        )
        yield _gauge(
            "gateway_version_warning",
            "1 if Meta has warned that the Graph API version of the destination (`upload.graph_version`) is outdated; "
            "the warning is in `/status`. No series without a warning.",
            ["destination"],
            [((name,), 1) for name in snapshot.warnings],
        )
        yield from self._ingest()
        yield from self._uploads()
        yield from self._spool()
        yield from self._lanes()
        yield from self._coverage()
        lag = HistogramMetricFamily(
            "gateway_loop_lag_seconds", "Delay of the event loop in seconds, measured ten times a second."
        )
        _add_histogram(lag, [], snapshot.loop_lag)
        yield lag

    def _ingest(self) -> Iterable[Metric]:
        ledger = self._snapshot.ledger
        yield _counter(
            "gateway_requests",
            "HTTP requests of senders, by path (`other`: unknown paths) and response status.",
            ["route", "status"],
            (((route, str(status)), n) for (route, status), n in ledger.requests.items()),
        )
        yield _counter(
            "gateway_events_received",
            "Source events in the requests that were stored, whether they were accepted, ignored or rejected.",
            ["source"],
            (((source,), n) for source, n in ledger.received.items()),
        )
        yield _counter(
            "gateway_events_ignored",
            "Source events that no destination accepted or rejected: calls other than `track`, events that the sender "
            "excluded with `integrations`, events that deny consent, and repeated events.",
            ["source"],
            (((source,), n) for source, n in ledger.ignored.items()),
        )
        yield _counter(
            "gateway_events_consent_denied",
            "Source events that were not sent to the destination because they deny the consent that it needs. Nothing "
            "of them is kept.",
            ["source", "destination"],
            ledger.consent_denied.items(),
        )
        yield _counter(
            "gateway_events_deduplicated",
            "Source events that were not accepted again because the destination had accepted their `messageId` before.",
            ["source", "destination"],
            ledger.deduplicated.items(),
        )
        yield _counter(
            "gateway_events_rejected",
            "Source events that could not be mapped for the destination, by code of the rejection. Each becomes a dead "
            "letter of the stage `mapping`.",
            ["source", "destination", "code"],
            ledger.rejected.items(),
        )
        yield _counter(
            "gateway_events_accepted",
            "Mapped events that were stored in the spool: one for each event set that receives the source event.",
            ["source", "destination"],
            ledger.accepted.items(),
        )
        yield _counter(
            "gateway_events_retagged",
            "Mapped events whose upload tag was replaced by `upload_tag` of the destination, because there were "
            "`spool.max_lanes` lanes.",
            ["destination"],
            _single_label(ledger.retagged),
        )

    def _uploads(self) -> Iterable[Metric]:
        ledger = self._snapshot.ledger
        totals: dict[str, list[int]] = {}
        for lane, counts in ledger.lanes.items():
            sums = totals.setdefault(lane.destination, [0, 0, 0])
            sums[0] += counts.delivered
            sums[1] += counts.recovered
            sums[2] += counts.batches
        for position, name, text in (
            (0, "gateway_events_delivered", "Mapped events that Meta accepted."),
            (1, "gateway_events_recovered", "Mapped events of earlier runs that were in the spool at the start."),
            (2, "gateway_batches_delivered", "Calls that Meta accepted. A split batch counts once for each part."),
        ):
            yield _counter(name, text, ["destination"], (((key,), sums[position]) for key, sums in totals.items()))
        yield _counter(
            "gateway_dead_letters",
            "Dead letters written, by code and stage: `mapping` (rejected by the gateway), `upload` (refused by Meta), "
            "`expired` (became too old while waiting).",
            ["destination", "stage", "code"],
            (((destination, stage.value, code), n) for (destination, stage, code), n in ledger.dead.items()),
        )
        yield _counter(
            "gateway_batches_flushed",
            "Batches formed, by the limit that was reached: `count` (`batch.max_events`), `bytes` (`batch.max_bytes`), "
            "`age` (`batch.max_age`), or `drain` (the gateway is stopping).",
            ["destination", "reason"],
            (((destination, reason.value), n) for (destination, reason), n in ledger.flushes.items()),
        )
        yield _counter(
            "gateway_calls",
            "Calls to Meta, by outcome: `delivered`, `delivered_count_differs` (Meta reported more events than were "
            "sent), `count_mismatch` (Meta reported fewer; retried once), `temporary` (retried), `in_doubt` (no usable "
            "response, so Meta may have accepted the events; retried), `throttled` (over Meta's rate limit), `blocked` "
            "(see `gateway_lane_blocked`), `events_refused` (Meta named the bad events), `batch_refused` (Meta did not "
            "name them).",
            ["destination", "outcome"],
            ledger.calls.items(),
        )
        for name, text, histograms in (
            ("gateway_call_seconds", "Duration of calls to Meta, in seconds.", ledger.call_seconds),
            (
                "gateway_delivery_lag_seconds",
                "Time from the storage of an event to its acceptance by Meta, in seconds.",
                ledger.delivery_lag,
            ),
            ("gateway_batch_events", "Number of events in a batch when it was formed.", ledger.batch_events),
        ):
            family = HistogramMetricFamily(name, text, labels=["destination"])
            for destination, histogram in histograms.items():
                _add_histogram(family, [destination], histogram)
            yield family

    def _spool(self) -> Iterable[Metric]:
        spool = self._snapshot.spool
        for name, text, value in (
            ("gateway_spool_bytes", "Size of the spool in bytes, events and dead letters together.", spool.size),
            ("gateway_spool_max_bytes", "Limit of the size of the spool in bytes.", spool.max_bytes),
            ("gateway_spool_events", "Mapped events in the spool that are not delivered yet.", spool.events),
            ("gateway_spool_dead_letters", "Dead letters in the spool.", spool.dead_letters),
            ("gateway_spool_dead_letter_bytes", "Size of the dead letters in the spool.", spool.dead_letter_bytes),
        ):
            yield _gauge(name, text, [], [((), value)])
        yield _counter(
            "gateway_dead_letters_purged",
            "Dead letters that were deleted because of their age or size (`spool.dead_letter_days`, "
            "`spool.dead_letter_bytes`, `spool.dead_letter_share`), because waiting events needed their space, or that "
            "were not stored for lack of space.",
            [],
            [((), self._snapshot.ledger.purged)],
        )
        yield _counter("gateway_spool_commits", "Transactions of the spool.", [], [((), spool.commits)])

    def _lanes(self) -> Iterable[Metric]:
        labels = ["destination", "event_set", "tag_hash"]
        lanes = sorted(self._lanes_by_labels().items(), key=lambda item: item[1].waiting_events, reverse=True)
        listed, others = lanes[:MAX_LANE_SERIES], [lane for _, lane in lanes[MAX_LANE_SERIES:]]
        waiting = [(key, lane.waiting_events) for key, lane in listed]
        oldest = [(key, lane.oldest_at or 0.0) for key, lane in listed]
        if others:
            other = ("other", "other", "other")
            waiting.append((other, sum(lane.waiting_events for lane in others)))
            oldest.append((other, min((lane.oldest_at for lane in others if lane.oldest_at), default=0.0)))
        yield _gauge(
            "gateway_lane_waiting_events",
            "Mapped events of the lane in the spool, including those of calls in flight. `tag_hash` is `#` and the "
            "first 8 digits of the SHA-256 of the upload tag, or `-` for an empty tag.",
            labels,
            waiting,
        )
        yield _gauge(
            "gateway_lane_oldest_waiting_timestamp_seconds",
            "Unix time at which the oldest event that is not acknowledged was stored; 0 when there is none.",
            labels,
            oldest,
        )
        for name, text, values in (
            (
                "gateway_lane_calls_in_flight",
                "Calls to Meta in flight.",
                [(key, lane.in_flight) for key, lane in listed],
            ),
            (
                "gateway_lane_calls_per_second_allowed",
                "Calls per second that are allowed now: `upload.requests_per_second`, or less near Meta's rate limit.",
                [(key, lane.calls_per_second) for key, lane in listed],
            ),
            (
                "gateway_lane_concurrency",
                "Concurrent calls that are allowed now: `upload.concurrency`, or less after failed or slow calls.",
                [(key, lane.concurrency) for key, lane in listed],
            ),
        ):
            yield _gauge(name, text, labels, values)
        yield _gauge(
            "gateway_lane_blocked",
            "1 for a lane whose uploads are stopped because no call can succeed. `kind` is what has to be fixed: "
            "`token`, `permission`, `object` (the dataset ID), `version`, `policy`, or `systemic` (events are refused "
            "one after the other with the same code). No series while uploads run.",
            [*labels, "kind"],
            [((*key, lane.blocked), 1) for key, lane in lanes if lane.blocked],
        )

    def _lanes_by_labels(self) -> Mapping[tuple[str, ...], LaneStatistics]:
        """Lanes by the values of their labels. Those whose tags have the same hash are added up.

        Prometheus drops a series that occurs twice, and a sender could choose a tag with the hash of another one.
        """
        lanes: dict[tuple[str, ...], LaneStatistics] = {}
        for statistics in self._snapshot.lanes:
            lane = statistics.lane
            key = (lane.destination, lane.event_set, lane.tag_hash)
            lanes[key] = lanes[key] + statistics if key in lanes else statistics
        return lanes

    def _coverage(self) -> Iterable[Metric]:
        coverage = self._snapshot.coverage
        yield _counter(
            "gateway_mapping_events",
            "Source events that were mapped, or rejected because of their match keys or event time: the total for the "
            "shares of `gateway_match_key_present_total`.",
            ["destination"],
            (((name,), counts.events) for name, counts in coverage.items()),
        )
        yield _counter(
            "gateway_match_key_present",
            "Source events with a usable value of the match key.",
            ["destination", "key"],
            (((name, key), of_key.present) for name, counts in coverage.items() for key, of_key in counts.keys.items()),
        )
        yield _counter(
            "gateway_match_key_dropped",
            "Values of the match key that could not be used, by cause (see the mapping page).",
            ["destination", "key", "cause"],
            (
                ((name, key, cause), n)
                for name, counts in coverage.items()
                for key, of_key in counts.keys.items()
                for cause, n in of_key.dropped.items()
            ),
        )
        yield _counter(
            "gateway_mapping_notes",
            "Other observations of the mapping, such as `default_value_used` (see the mapping page).",
            ["destination", "note"],
            (((name, note), n) for name, counts in coverage.items() for note, n in counts.notes.items()),
        )
        yield _counter(
            "gateway_properties_left_out",
            "Properties that were not sent in `custom_data` because their name or value looks like personal data.",
            ["destination"],
            (((name,), sum(counts.left_out.values())) for name, counts in coverage.items()),
        )


Labelled = Iterable[tuple[tuple[str, ...], float]]


def _single_label(counts: Mapping[str, int]) -> Labelled:
    return (((key,), count) for key, count in counts.items())


def _counter(name: str, text: str, labels: Sequence[str], values: Labelled) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(_label_values(label_values), value)
    return family


def _gauge(name: str, text: str, labels: Sequence[str], values: Labelled) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(_label_values(label_values), value)
    return family


def _add_histogram(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    total = 0
    buckets = []
    for bound, count in zip((*histogram.bounds, None), histogram.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound is None else str(float(bound)), float(total)))
    family.add_metric(_label_values(labels), buckets, histogram.total)


def _label_values(values: Sequence[str]) -> Sequence[str]:
    """Values of labels without control characters and of limited length."""
    return [printable(value)[:MAX_LABEL] for value in values]
