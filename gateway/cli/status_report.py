"""The state of a gateway as `gateway status` shows it, from the answer of `/status`. Pure.

The states of datasets and what to do about them are those of the console's overview.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.cli.plain import MISSING, decimal, duration, plain
from gateway.config import Settings
from gateway.console.datasets import RESUME_HINT, Dataset, State, datasets_of
from gateway.console.refusals import explain_code
from gateway.model import Backlog, JsonObject, Lane, Stage
from gateway.telemetry import LaneCounts, LaneStatistics, Ledger, Snapshot

COMMAND_HINT = "Then run `gateway resume`, or wait: uploads are tried again at growing intervals."
"""What the console says about its button, for a terminal."""
MAX_REJECTIONS = 5
"""Codes that are shown; the most frequent ones."""
WINDOW = 10
"""Reads over which `Rates` are computed while the status is watched."""
HISTORY_SECONDS = 300
"""Seconds of history from which `Rates` are computed otherwise."""

Key = tuple[str, str]
"""Destination and dataset."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Events per second of one dataset."""

    accepted: float
    delivered: float


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rejected source events of one code since the gateway started."""

    code: str
    count: int
    meaning: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Report:
    """What is shown."""

    head: str
    """Whether the gateway takes events, and since when it runs."""
    ledger: Mapping[str, int]
    sentence: str
    """The counts, and that they add up."""
    datasets: Sequence[Dataset]
    """Those that need attention first."""
    rates: Mapping[Key, Rates]
    """By dataset; empty if they are not known."""
    ages: Mapping[Key, float]
    """Seconds that the oldest event of a dataset has waited; a dataset without waiting events is left out."""
    rejected: Sequence[Rejected]
    """The most frequent first."""
    dead_letters: int
    """Dead letters that are stored."""
    problems: Sequence[str] = field(default_factory=list)
    """Errors of the last reload, and warnings of Meta."""


def report_of(status: JsonObject, settings: Settings, rates: Mapping[Key, Rates]) -> Report:
    """The report of an answer of `/status`.

    `settings` may have no destinations; then only datasets that have had events are known.
    """
    now = status["started_at"] + status["uptime_seconds"]
    datasets = datasets_of(snapshot_of(status), settings, now)
    return Report(
        head=_head(status),
        ledger=status["ledger"],
        sentence=ledger_sentence(status["ledger"]),
        datasets=datasets,
        rates=rates,
        ages={
            (each.destination, each.event_set): max(0.0, now - each.oldest_at)
            for each in datasets
            if each.oldest_at is not None
        },
        rejected=_rejected(status["rejected"]),
        dead_letters=status["spool"]["dead_letters"],
        problems=[f"the last reload failed: {error}" for error in status["settings"]["errors"]],
    )


def snapshot_of(status: JsonObject) -> Snapshot:
    """The part of a snapshot from which the states of datasets follow."""
    now = status["started_at"] + status["uptime_seconds"]
    ledger = Ledger()
    for each in status["datasets"]:
        counts = LaneCounts(each["recovered"], each["accepted"], each["delivered"], each["dead_lettered"])
        ledger.lanes[Lane(each["destination"], each["event_set"], "")] = counts
    return Snapshot(
        started_at=status["started_at"],
        ledger=ledger,
        lanes=[_lane(each, now) for each in status["lanes"]],
        orphans=[Backlog(_key(each), each["waiting"], each["bytes"], None) for each in status["orphans"]],
    )


def _key(each: JsonObject) -> Lane:
    return Lane(each["destination"], each["event_set"], each["upload_tag"])


def _lane(each: JsonObject, now: float) -> LaneStatistics:
    age = each["oldest_age_seconds"]
    return LaneStatistics(
        lane=_key(each),
        waiting_events=each["waiting"],
        waiting_bytes=0,
        oldest_at=None if age is None else now - age,
        in_flight=each["in_flight"],
        last_outcome=each["last_outcome"],
        calls_per_second=each["calls_per_second"],
        concurrency=each["concurrency"],
        blocked=each["blocked"],
        throttled_until=each["throttled_until"],
    )


def _head(status: JsonObject) -> str:
    state = "ready" if status["ready"] else f"takes no events: {'; '.join(map(str, status['reasons']))}"
    workers = status["workers"]
    processes = f", {workers} workers" if workers > 1 else ""
    return f"gateway {status['version']}: {state}; running for {duration(status['uptime_seconds'])}{processes}"


def ledger_sentence(ledger: Mapping[str, int]) -> str:
    """The counts of the event ledger, and whether they add up."""
    came_in = ledger["recovered"] + ledger["accepted"]
    relation = "=" if came_in == ledger["delivered"] + ledger["dead_lettered"] + ledger["waiting"] else "DIFFERS FROM"
    recovered = f"recovered {ledger['recovered']:,} + " if ledger["recovered"] else ""
    return (
        f"{recovered}accepted {ledger['accepted']:,} {relation} delivered {ledger['delivered']:,} + dead-lettered "
        f"{ledger['dead_lettered']:,} + waiting {ledger['waiting']:,}"
    )


def _rejected(counts: Mapping[str, int]) -> list[Rejected]:
    codes = sorted(counts, key=lambda code: -counts[code])
    return [Rejected(code, counts[code], *explain_code(Stage.MAPPING, code)) for code in codes]


def action_of(dataset: Dataset) -> str:
    """What to do about the state of a dataset, in a terminal; empty if nothing has to be done."""
    return plain(dataset.action.replace(RESUME_HINT, COMMAND_HINT))


def as_json(report: Report) -> JsonObject:
    """The report as JSON."""
    return {
        "head": report.head,
        "ledger": dict(report.ledger),
        "sentence": report.sentence,
        "datasets": [
            {
                **asdict(each),
                "reason": plain(each.reason),
                "action": action_of(each),
                "oldest_age_seconds": report.ages.get((each.destination, each.event_set)),
                "rates": asdict(rates) if (rates := report.rates.get((each.destination, each.event_set))) else None,
            }
            for each in report.datasets
        ],
        "rejected": [asdict(each) for each in report.rejected],
        "dead_letters": report.dead_letters,
        "problems": list(report.problems),
    }


def rows(report: Report) -> list[Sequence[str]]:
    """The table of datasets, one row each."""
    return [_row(report, each) for each in report.datasets]


HEADINGS = ("destination", "dataset", "state", "accepted/s", "delivered/s", "delivered", "waiting", "oldest")
NARROW_HEADINGS = ("destination", "dataset", "state", "waiting", "oldest")
"""For a narrow terminal."""


def _row(report: Report, each: Dataset) -> Sequence[str]:
    key = each.destination, each.event_set
    rates = report.rates.get(key)
    return (
        each.destination,
        each.event_set,
        each.state.value,
        decimal(rates.accepted) if rates else MISSING,
        decimal(rates.delivered) if rates else MISSING,
        f"{each.delivered:,}",
        f"{each.waiting:,}",
        duration(report.ages[key]) if key in report.ages else MISSING,
    )


def notes(report: Report) -> list[str]:
    """What needs attention, one sentence a line, after an empty line; nothing if there is nothing."""
    lines = [*report.problems]
    for each in report.datasets:
        if each.state in {State.STOPPED, State.ORPHANED, State.LATE, State.LIMITED}:
            lines += [f"{each.destination}, dataset {each.event_set}: {plain(each.reason)}"]
            lines += [f"  {action}" for action in [action_of(each)] if action]
    if report.rejected:
        lines += [f"rejected {sum(each.count for each in report.rejected):,} events since the start:"]
        lines += [f"  {each.count:,} {each.code}: {each.meaning}" for each in report.rejected[:MAX_REJECTIONS]]
        if len(report.rejected) > MAX_REJECTIONS:
            lines += [f"  and {len(report.rejected) - MAX_REJECTIONS} more codes"]
    if report.dead_letters:
        lines += [f"{report.dead_letters:,} dead letters are stored; see `gateway dead-letters list`"]
    return ["", *lines] if lines else []


def one_line(report: Report) -> str:
    """The report as one line, for a log."""
    rates = report.rates.values()
    stopped = sum(each.state is State.STOPPED for each in report.datasets)
    accepted = decimal(sum(each.accepted for each in rates)) if rates else MISSING
    delivered = decimal(sum(each.delivered for each in rates)) if rates else MISSING
    oldest = f", the oldest for {duration(max(report.ages.values()))}" if report.ages else ""
    return (
        f"{report.sentence}{oldest}; {accepted} accepted/s, {delivered} delivered/s; "
        f"{stopped} of {len(report.datasets)} datasets stopped"
    )


def rates_of_history(page: JsonObject) -> Mapping[Key, Rates]:
    """The rates in an answer of `/history` with `accepted` and `delivered`; empty if nothing is recorded."""
    seconds = sum(page["recorded"]) * page["step"]
    if not seconds:
        return {}
    sums: dict[Key, dict[str, float]] = {}
    for series in page["series"]:
        key = series["labels"]["destination"], series["labels"]["event_set"]
        sums.setdefault(key, {})[series["metric"]] = sum(series["values"]) / seconds
    return {key: Rates(each.get("accepted", 0.0), each.get("delivered", 0.0)) for key, each in sums.items()}


class RateMeter:
    """Computes rates from the counts of the last reads."""

    def __init__(self) -> None:
        self._reads: deque[tuple[float, float, Mapping[Key, Any]]] = deque(maxlen=WINDOW + 1)

    def add(self, status: JsonObject) -> Mapping[Key, Rates]:
        """Add a read; the rates since the oldest one that is kept. Empty after the first read of a process."""
        counts = {(each["destination"], each["event_set"]): each for each in status["datasets"]}
        started_at, uptime = status["started_at"], status["uptime_seconds"]
        if self._reads and self._reads[-1][0] != started_at:
            self._reads.clear()  # another process, whose counts began at 0
        self._reads.append((started_at, uptime, counts))
        _, before, old = self._reads[0]
        seconds = uptime - before
        if seconds <= 0:
            return {}
        zero = {"accepted": 0, "delivered": 0}
        return {
            key: Rates(
                (each["accepted"] - old.get(key, zero)["accepted"]) / seconds,
                (each["delivered"] - old.get(key, zero)["delivered"]) / seconds,
            )
            for key, each in counts.items()
        }
