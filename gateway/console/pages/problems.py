"""The page of problems, which answers: what was refused, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.console.past import Past, read_past
from gateway.console.plots import Line, Plot
from gateway.console.refusals import Problem, problems_of
from gateway.console.tables import Table
from gateway.console.view import Services, View, Visit
from gateway.history import Metric
from gateway.telemetry import Snapshot

MAX_PROBLEMS = 100
METRICS = (Metric.REJECTED, Metric.DEAD_LETTERS)


@dataclass(frozen=True, slots=True)
class Row:
    """A problem and its trend."""

    problem: Problem
    plot: Plot | None


@dataclass(frozen=True, slots=True)
class Problems:
    """The page."""

    rows: Sequence[Row]
    count: int
    """Events of all problems in the range."""
    stored: int
    """Dead letters that are stored."""
    purged: int
    """Dead letters that were deleted because of their age or for space, since the start."""
    past: Past


async def show(services: Services, visit: Visit) -> View:
    """The page."""
    past = await read_past(services.gateway, visit, METRICS)
    snapshot = await services.snapshot()
    tables = {"problems": lambda: Table.of(Problem, problems_of(snapshot, past))}
    return View("problems.html", "Problems", build(snapshot, past), tables)


def build(snapshot: Snapshot, past: Past) -> Problems:
    """The values of the page."""
    found = problems_of(snapshot, past)
    return Problems(
        rows=[Row(problem, _trend(problem, past)) for problem in found[:MAX_PROBLEMS]],
        count=sum(problem.count for problem in found),
        stored=snapshot.spool.dead_letters,
        purged=snapshot.ledger.purged,
        past=past,
    )


def _trend(problem: Problem, past: Past) -> Plot | None:
    if past.page is None or not problem.count:
        return None
    line = Line(problem.code, list(problem.trend))
    return Plot(problem.code, problem.code, "events", past.page.since, past.page.step, [line])
