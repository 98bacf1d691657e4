"""The overview, which answers: did it all arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.config import Settings
from gateway.console.datasets import Dataset, State, datasets_of
from gateway.console.formats import duration, number, percent, plural
from gateway.console.past import Past, read_past
from gateway.console.plots import Line, Plot, highest, rates, recorded_only, total
from gateway.console.refusals import Problem, problems_of
from gateway.console.tables import Table
from gateway.console.view import Services, View, Visit
from gateway.history import Metric
from gateway.model import UnixSeconds
from gateway.telemetry import Snapshot
from gateway.telemetry.rejection_rate import RejectionRate

MAX_DATASETS = 50
"""Datasets that are shown; the table to download has all."""
MAX_PROBLEMS = 5
METRICS = (
    *(Metric.ACCEPTED, Metric.DELIVERED, Metric.DEAD_LETTERED, Metric.WAITING, Metric.REJECTED, Metric.RECEIVED),
    *(Metric.LAG_P50, Metric.LAG_P99, Metric.DEAD_LETTERS),
)


class Answer(StrEnum):
    """The answer to the question of the page."""

    YES = "yes"
    MOSTLY = "mostly"
    NOT_YET = "not yet"
    NO = "no"
    NOTHING = "nothing yet"


@dataclass(frozen=True, slots=True)
class Ledger:
    """The counts since the gateway started. `recovered + accepted = delivered + dead_lettered + waiting`."""

    recovered: int
    accepted: int
    delivered: int
    dead_lettered: int
    waiting: int
    received: int
    rejected: int
    ignored: int
    deduplicated: int
    consent_denied: int

    @property
    def adds_up(self) -> bool:
        """Whether every event is accounted for."""
        return self.recovered + self.accepted == self.delivered + self.dead_lettered + self.waiting


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of the range."""

    label: str
    """The range, in words."""
    accepted: int
    delivered: int
    dead_lettered: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The page."""

    answer: Answer
    sentence: str
    reasons: Sequence[str]
    """Why the gateway takes no requests."""
    settings_errors: Sequence[str]
    started_at: UnixSeconds
    workers: int
    ledger: Ledger
    totals: Totals
    datasets: Sequence[Dataset]
    """At most `MAX_DATASETS`."""
    dataset_count: int
    problems: Sequence[Problem]
    plots: Sequence[Plot]
    past: Past
    warnings: Mapping[str, str]
    rejection_rates: Mapping[str, RejectionRate]
    """By source, the rates that are above the limit of the settings."""


async def show(services: Services, visit: Visit) -> View:
    """The page."""
    past = await read_past(services.gateway, visit, METRICS)
    snapshot = await services.snapshot()
    settings = services.gateway.settings
    model = build(snapshot, settings, past, visit.now)
    tables = {"datasets": lambda: Table.of(Dataset, datasets_of(snapshot, settings, visit.now))}
    return View("overview.html", "Overview", model, tables, model.plots)


def build(snapshot: Snapshot, settings: Settings, past: Past, now: UnixSeconds) -> Overview:
    """The values of the page."""
    datasets = datasets_of(snapshot, settings, now)
    ledger = _ledger(snapshot)
    totals = _totals(past, ledger)
    answer, sentence = _verdict(ledger, totals, datasets, snapshot.reasons, now)
    return Overview(
        answer=answer,
        sentence=sentence,
        reasons=snapshot.reasons,
        settings_errors=snapshot.settings_errors,
        started_at=snapshot.started_at,
        workers=snapshot.workers,
        ledger=ledger,
        totals=totals,
        datasets=datasets[:MAX_DATASETS],
        dataset_count=len(datasets),
        problems=problems_of(snapshot, past)[:MAX_PROBLEMS],
        plots=_plots(past, now),
        past=past,
        warnings=snapshot.warnings,
        rejection_rates=snapshot.rejection_rates,
    )


def _ledger(snapshot: Snapshot) -> Ledger:
    ledger = snapshot.ledger
    lanes = ledger.lanes.values()
    return Ledger(
        recovered=sum(lane.recovered for lane in lanes),
        accepted=sum(lane.accepted for lane in lanes),
        delivered=sum(lane.delivered for lane in lanes),
        dead_lettered=sum(lane.dead for lane in lanes),
        waiting=ledger.waiting,
        received=sum(ledger.received.values()),
        rejected=sum(ledger.rejected.values()),
        ignored=sum(ledger.ignored.values()),
        deduplicated=sum(ledger.deduplicated.values()),
        consent_denied=sum(ledger.consent_denied.values()),
    )


def _totals(past: Past, ledger: Ledger) -> Totals:
    """The counts of the range or, without a history, those since the start."""
    if past.page is None:
        start = "since the gateway started"
        return Totals(start, ledger.accepted, ledger.delivered, ledger.dead_lettered, ledger.rejected)
    page = past.page
    accepted, delivered, dead, rejected = (
        int(sum(total(page, [metric])))
        for metric in (Metric.ACCEPTED, Metric.DELIVERED, Metric.DEAD_LETTERED, Metric.REJECTED)
    )
    return Totals(f"in the {past.label}", accepted, delivered, dead, rejected)


def _verdict(
    ledger: Ledger, totals: Totals, datasets: Sequence[Dataset], reasons: Sequence[str], now: UnixSeconds
) -> tuple[Answer, str]:
    """The answer and a sentence with its numbers."""
    oldest = min((each.oldest_at for each in datasets if each.oldest_at is not None), default=None)
    age = "" if oldest is None else f", the oldest for {duration(int(now - oldest))}"
    waiting = f"{plural(ledger.waiting, 'event is', 'events are')} waiting{age}."
    stopped = [each for each in datasets if each.state is State.STOPPED]
    if stopped:
        are_all = len(stopped) == len(datasets)
        uploads = "All uploads" if are_all else f"Uploads to {len(stopped)} of {len(datasets)} datasets"
        return Answer.NO, f"{uploads} are stopped. Events are kept: {waiting}"
    if reasons:
        return Answer.NO, f"The gateway takes no requests: {'; '.join(reasons)}. {waiting}"
    refused = totals.dead_lettered + totals.rejected
    if not (totals.accepted or totals.delivered or refused or ledger.waiting):
        return Answer.NOTHING, f"No event was received {totals.label}."
    reached = f"{number(totals.delivered)} events reached Meta {totals.label}"
    if any(each.state in {State.LATE, State.LIMITED} for each in datasets):
        return Answer.NOT_YET, f"{reached}; {waiting}"
    rest = f" {waiting}" if ledger.waiting else ""
    if refused:
        share = percent(refused / (totals.accepted + totals.rejected)) if totals.accepted + totals.rejected else ""
        of_all = f" ({share})" if share else ""
        return Answer.MOSTLY, f"{reached}; {number(refused)} were refused{of_all}.{rest}"
    return Answer.YES, f"{reached}, and none was refused.{rest}"


def _plots(past: Past, now: UnixSeconds) -> Sequence[Plot]:
    page = past.page
    if page is None:
        return ()

    def rate(label: str, metric: Metric) -> Line:
        return Line(label, rates(page, total(page, [metric]), now))

    def peak(label: str, metric: Metric) -> Line:
        return Line(label, recorded_only(page, highest(page, metric)))

    flow = [
        rate("accepted", Metric.ACCEPTED),
        rate("delivered", Metric.DELIVERED),
        rate("dead-lettered", Metric.DEAD_LETTERED),
    ]
    lag = [peak("median", Metric.LAG_P50), peak("99th percentile", Metric.LAG_P99)]
    waiting = [Line("waiting", recorded_only(page, total(page, [Metric.WAITING])))]
    return (
        Plot("throughput", "Events per minute", "events/min", page.since, page.step, flow),
        Plot("lag", "Time from accepted to delivered", "s", page.since, page.step, lag),
        Plot("backlog", "Events waiting", "events", page.since, page.step, waiting),
    )
