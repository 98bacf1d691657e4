"""Why events were refused: one entry for each code, with its meaning and its remedy. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.console.past import Past
from gateway.console.plots import total
from gateway.delivery.explanations import format_code
from gateway.history import HistoryPage, Metric
from gateway.mapping import REJECTIONS
from gateway.meta import describe
from gateway.model import MetaFault, Stage, UnixSeconds
from gateway.telemetry import Snapshot

OTHER_REASONS: Mapping[str, tuple[str, str]] = {
    "expired": (
        "The event became too old for Meta while it waited.",
        "Find out why uploads stopped or were late, and send sales sooner.",
    ),
    "spool_corrupt": (
        "The event could not be read from a damaged spool file.",
        "Check the disk. The events cannot be replayed; send them again.",
    ),
    "count_mismatch": (
        "Meta confirmed fewer events than the call had, and does not name them.",
        "Some may have arrived, so a replay may repeat them.",
    ),
    "internal_error": (
        "The gateway failed to map the event; its log has the details.",
        "Report it, and replay the events after an update.",
    ),
}
"""Meaning and remedy of the codes that are neither rejections of the mapping nor codes of Meta."""
META_REMEDY = "Look at one of the events and fix its values at the sender or in the settings, then replay."


@dataclass(frozen=True, slots=True)
class Problem:
    """Why some events were refused."""

    stage: Stage
    code: str
    meaning: str
    remedy: str
    count: int
    """In the range of the page or, without a history, since the start."""
    since_start: int
    first_at: UnixSeconds | None
    """Beginning of the first step of the range with such an event."""
    last_at: UnixSeconds | None
    """Beginning of the last one."""
    trend: Sequence[float]
    """Events in each step of the range."""


def problems_of(snapshot: Snapshot, past: Past) -> list[Problem]:
    """All problems of the range and since the start, the most frequent first."""
    since_start: Counter[tuple[Stage, str]] = Counter()
    for (_, _, code), count in snapshot.ledger.rejected.items():
        since_start[Stage.MAPPING, code] += count
    for (_, stage, code), count in snapshot.ledger.dead.items():
        if stage is not Stage.MAPPING:
            since_start[stage, code] += count
    keys = dict.fromkeys([*since_start, *_recorded(past.page)])
    found = [_problem(stage, code, since_start[stage, code], past.page) for stage, code in keys]
    return sorted(found, key=lambda each: (-each.count, -each.since_start, each.code))


def explain_code(stage: Stage, code: str) -> tuple[str, str]:
    """What a code means, and how to fix its cause."""
    if stage is Stage.MAPPING and code in REJECTIONS:
        return REJECTIONS[code].meaning, REJECTIONS[code].remedy
    if code in OTHER_REASONS:
        return OTHER_REASONS[code]
    if code.startswith("meta_"):
        numbers = [int(part) for part in code.removeprefix("meta_").split("_") if part.isdecimal()]
        fault = MetaFault(numbers[0] if numbers else None, numbers[1] if len(numbers) > 1 else None, None)
        return describe(fault), META_REMEDY
    return f"Meta refused the event ({format_code(code)}).", META_REMEDY


def _recorded(page: HistoryPage | None) -> Sequence[tuple[Stage, str]]:
    found = []
    for series in page.series if page is not None else ():
        if not any(series.values):
            continue
        if series.metric is Metric.REJECTED:
            found.append((Stage.MAPPING, series.labels["code"]))
        elif series.metric is Metric.DEAD_LETTERS and series.labels["stage"] != Stage.MAPPING:
            found.append((Stage(series.labels["stage"]), series.labels["code"]))
    return found


def _problem(stage: Stage, code: str, since_start: int, page: HistoryPage | None) -> Problem:
    meaning, remedy = explain_code(stage, code)
    count, first_at, last_at, trend = since_start, None, None, list[float]()
    if page is not None:
        if stage is Stage.MAPPING:
            trend = total(page, [Metric.REJECTED], code=code)
        else:
            trend = total(page, [Metric.DEAD_LETTERS], stage=stage.value, code=code)
        count = int(sum(trend))
        steps = [position for position, value in enumerate(trend) if value]
        if steps:
            first_at, last_at = page.since + steps[0] * page.step, page.since + steps[-1] * page.step
    return Problem(stage, code, meaning, remedy, count, since_start, first_at, last_at, trend)
