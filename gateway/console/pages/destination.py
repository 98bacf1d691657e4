"""The page of a destination, which answers: is Meta getting good data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.config import DestinationSettings, Settings
from gateway.console.advice import Advice, advise, label_of, ordered
from gateway.console.datasets import Dataset, datasets_of
from gateway.console.past import Past, read_past
from gateway.console.plots import Line, Plot, highest, recorded_only, total
from gateway.console.tables import Table
from gateway.console.view import NotFound, Services, View, Visit
from gateway.history import HistoryPage, Metric
from gateway.mapping.coverage import CAUSES
from gateway.meta import DatasetQuality
from gateway.model import UnixSeconds
from gateway.telemetry import Coverage, KeyCoverage, Snapshot

MAX_DATASETS = 50
MAX_LANES = 100
PLOTTED = ("email", "phone", "external_id", "last_name")
"""Match keys with a line in the plot."""
METRICS = (Metric.MAPPED, Metric.KEY_PRESENT, Metric.KEY_DROPPED, Metric.LAG_P50, Metric.LAG_P99, Metric.DELIVERED)


@dataclass(frozen=True, slots=True)
class Key:
    """A match key: how many events have it."""

    name: str
    label: str
    present: int
    share: float
    """Of the events, 0 to 1."""
    dropped: int
    causes: Sequence[str]
    """Why values were dropped, each with its count."""


@dataclass(frozen=True, slots=True)
class LaneRow:
    """One lane. The upload tag, which senders choose, is named by its hash."""

    event_set: str
    tag_hash: str
    waiting: int
    oldest_at: UnixSeconds | None
    in_flight: int
    calls_per_second: float
    concurrency: int
    last_outcome: str | None
    blocked: str | None
    throttled_until: UnixSeconds | None


@dataclass(frozen=True, slots=True)
class Destination:
    """The page."""

    name: str
    settings: DestinationSettings
    datasets: Sequence[Dataset]
    """At most `MAX_DATASETS`, those that need attention first."""
    dataset_count: int
    lanes: Sequence[LaneRow]
    """At most `MAX_LANES`, those with most events first."""
    lane_count: int
    events: int
    """Events whose match keys were counted, over the range of the page or since the start."""
    counted: str
    """Over which time, in words."""
    keys: Sequence[Key]
    advice: Sequence[Advice]
    left_out: Sequence[tuple[str, int]]
    """Properties that are not sent because they look personal."""
    plots: Sequence[Plot]
    past: Past
    warning: str | None
    """Meta's warning about the version of the API."""
    asks_for_quality: bool


async def show(services: Services, visit: Visit) -> View:
    """The page. Raises `NotFound`."""
    settings = services.gateway.settings
    if visit.name not in settings.destinations:
        raise NotFound(f"There is no destination {visit.name!r} in the settings in force.")
    past = await read_past(services.gateway, visit, METRICS, {"destination": visit.name})
    model = build(visit.name, settings, await services.snapshot(), past, visit.now)
    tables = {
        "keys": lambda: Table.of(Key, model.keys),
        "datasets": lambda: Table.of(Dataset, model.datasets),
        "lanes": lambda: Table.of(LaneRow, model.lanes),
    }
    return View("destination.html", visit.name, model, tables, model.plots)


async def show_quality(services: Services, visit: Visit) -> View:
    """Meta's scores of the datasets of a destination. They are apart because Meta may take its time."""
    if visit.name not in services.gateway.settings.destinations:
        raise NotFound(f"There is no destination {visit.name!r} in the settings in force.")
    found = [each for each in await services.gateway.quality() if each.destination == visit.name]
    return View(
        "quality.html", f"Meta's scores for {visit.name}", found, {"quality": lambda: Table.of(DatasetQuality, found)}
    )


def build(name: str, settings: Settings, snapshot: Snapshot, past: Past, now: UnixSeconds) -> Destination:
    """The values of the page."""
    destination = settings.destinations[name]
    recorded = None if past.page is None else _recorded_coverage(past.page)
    coverage = recorded if recorded is not None and recorded.events else snapshot.coverage.get(name)
    counted = f"in the {past.label}" if coverage is recorded else "since the gateway started"
    lanes = _lanes(name, snapshot)
    datasets = [each for each in datasets_of(snapshot, settings, now) if each.destination == name]
    current = snapshot.coverage.get(name)
    left_out = Counter(current.left_out if current else {}).most_common(20)
    return Destination(
        name=name,
        settings=destination,
        datasets=datasets[:MAX_DATASETS],
        dataset_count=len(datasets),
        lanes=lanes[:MAX_LANES],
        lane_count=len(lanes),
        events=coverage.events if coverage else 0,
        counted=counted,
        keys=_keys(coverage),
        advice=advise(coverage, destination),
        left_out=left_out,
        plots=_plots(past),
        past=past,
        warning=snapshot.warnings.get(name),
        asks_for_quality=settings.console.quality,
    )


def _lanes(name: str, snapshot: Snapshot) -> list[LaneRow]:
    counts = snapshot.ledger.lanes
    rows = [
        LaneRow(
            event_set=each.lane.event_set,
            tag_hash=each.lane.tag_hash,
            waiting=counts[each.lane].waiting if each.lane in counts else each.waiting_events,
            oldest_at=each.oldest_at,
            in_flight=each.in_flight,
            calls_per_second=each.calls_per_second,
            concurrency=each.concurrency,
            last_outcome=each.last_outcome,
            blocked=each.blocked,
            throttled_until=each.throttled_until,
        )
        for each in snapshot.lanes
        if each.lane.destination == name
    ]
    return sorted(rows, key=lambda row: (row.blocked is None, row.throttled_until is None, -row.waiting))


def _recorded_coverage(page: HistoryPage) -> Coverage:
    """The coverage of the whole range, from the history of one destination."""
    present: Counter[str] = Counter()
    dropped: dict[str, Counter[str]] = {}
    for series in page.series:
        if series.metric is Metric.KEY_PRESENT:
            present[series.labels["key"]] += int(sum(series.values))
        elif series.metric is Metric.KEY_DROPPED:
            causes = dropped.setdefault(series.labels["key"], Counter())
            causes[series.labels["cause"]] += int(sum(series.values))
    keys = {key: KeyCoverage(present[key], dropped.get(key, {})) for key in {**present, **dropped}}
    return Coverage(int(sum(total(page, [Metric.MAPPED]))), keys, {})


def _keys(coverage: Coverage | None) -> Sequence[Key]:
    if coverage is None or not coverage.events:
        return ()
    return [
        Key(
            name=name,
            label=label_of(name),
            present=(key := coverage.keys[name]).present,
            share=min(1.0, key.present / coverage.events),
            dropped=sum(key.dropped.values()),
            causes=[f"{count:,}: {CAUSES.get(cause, cause)}" for cause, count in key.dropped.items() if count],
        )
        for name in ordered(coverage.keys)
    ]


def _plots(past: Past) -> Sequence[Plot]:
    page = past.page
    if page is None:
        return ()
    mapped = total(page, [Metric.MAPPED])
    shares = []
    for name in PLOTTED:
        present = total(page, [Metric.KEY_PRESENT], key=name)
        values = [
            min(100.0, 100 * count / events) if events else None for count, events in zip(present, mapped, strict=True)
        ]
        if any(values):
            shares.append(Line(label_of(name), values))
    lag = [
        Line("median", recorded_only(page, highest(page, Metric.LAG_P50))),
        Line("99th percentile", recorded_only(page, highest(page, Metric.LAG_P99))),
    ]
    return (
        Plot("coverage", "Events with a match key", "%", page.since, page.step, shares),
        Plot("lag", "Time from accepted to delivered", "s", page.since, page.step, lag),
    )
