from gateway.history import Metric
from gateway.history.samples import NO_TOTALS, SeriesKey, sample, totals_of
from gateway.model import Lane, Stage
from gateway.telemetry import Coverage, KeyCoverage, LaneStatistics, Snapshot

NOW = 1_800_000_000.0
LANE = Lane("store", "1148", "spring")


def statistics(lane: Lane, oldest_at: float | None) -> LaneStatistics:
    return LaneStatistics(
        lane=lane,
        waiting_events=0,
        waiting_bytes=0,
        oldest_at=oldest_at,
        in_flight=0,
        last_outcome=None,
        calls_per_second=1.0,
        concurrency=1,
        blocked=None,
    )


def test_a_sample_has_the_counts_since_the_one_before() -> None:
    snapshot = Snapshot()
    ledger = snapshot.ledger
    ledger.received["shop"] = 10
    ledger.rejected["shop", "store", "no_identity"] = 1
    ledger.rejected["shop", "crm", "no_identity"] = 1
    ledger.dead["store", Stage.MAPPING, "no_identity"] = 1
    ledger.lanes[LANE].accepted = 9
    before = totals_of(snapshot)
    ledger.received["shop"] += 5
    ledger.rejected["shop", "crm", "no_identity"] += 3
    ledger.lanes[LANE].accepted += 4
    ledger.lanes[LANE._replace(upload_tag="autumn")].accepted += 2
    values = sample(before, totals_of(snapshot), snapshot, NOW)
    assert values.counters == {
        SeriesKey(Metric.RECEIVED, ("shop",)): 5,
        SeriesKey(Metric.REJECTED, ("shop", "no_identity")): 3,
        SeriesKey(Metric.ACCEPTED, ("store", "1148")): 6,
    }
    assert values.gauges == {SeriesKey(Metric.WAITING, ("store", "1148")): 15}


def test_the_first_sample_has_all_counts_since_the_start() -> None:
    snapshot = Snapshot()
    snapshot.ledger.received["shop"] = 10
    values = sample(NO_TOTALS, totals_of(snapshot), snapshot, NOW)
    assert values.counters == {SeriesKey(Metric.RECEIVED, ("shop",)): 10}


def test_a_counter_that_fell_counts_as_unchanged() -> None:
    snapshot = Snapshot()
    snapshot.ledger.received["shop"] = 10
    before = totals_of(snapshot)
    snapshot.ledger.received["shop"] = 7
    assert sample(before, totals_of(snapshot), snapshot, NOW).counters == {}


def test_the_age_is_that_of_the_oldest_event_of_a_dataset() -> None:
    lanes = [statistics(LANE, NOW - 40), statistics(LANE._replace(upload_tag="autumn"), NOW - 90)]
    snapshot = Snapshot(lanes=[*lanes, statistics(LANE._replace(event_set="1024"), None)])
    assert sample(NO_TOTALS, NO_TOTALS, snapshot, NOW).gauges == {SeriesKey(Metric.OLDEST_AGE, ("store", "1148")): 90}


def test_the_delivery_lag_is_that_of_the_events_since_the_sample_before() -> None:
    snapshot = Snapshot()
    histogram = snapshot.ledger.delivery_lag["store"]
    histogram.observe(500_000.0, 1000)
    before = totals_of(snapshot)
    histogram.observe(2.0, 98)
    histogram.observe(200.0, 2)
    values = sample(before, totals_of(snapshot), snapshot, NOW)
    assert values.counters[SeriesKey(Metric.LAG_EVENTS, ("store",))] == 100
    assert values.counters[SeriesKey(Metric.LAG_SECONDS, ("store",))] == 98 * 2 + 400
    assert 1 < values.gauges[SeriesKey(Metric.LAG_P50, ("store",))] <= 2.5
    assert 60 < values.gauges[SeriesKey(Metric.LAG_P99, ("store",))] <= 300


def test_the_coverage_counts_present_and_dropped_values_of_each_key() -> None:
    coverage = Coverage(10, {"email": KeyCoverage(8, {}), "phone": KeyCoverage(3, {"no_country": 5})}, {})
    snapshot = Snapshot(coverage={"store": coverage})
    assert sample(NO_TOTALS, totals_of(snapshot), snapshot, NOW).counters == {
        SeriesKey(Metric.MAPPED, ("store",)): 10,
        SeriesKey(Metric.KEY_PRESENT, ("store", "email")): 8,
        SeriesKey(Metric.KEY_PRESENT, ("store", "phone")): 3,
        SeriesKey(Metric.KEY_DROPPED, ("store", "phone", "no_country")): 5,
    }
