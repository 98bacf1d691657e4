"""Results for people: tables on a terminal, and the same as Markdown for the documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.bars import Bar
from bench.result import Result, Row, judged

HEADINGS = ("what", "measured", "unit", "against", "floor", "ratio", "rounds", "note")
SUMMARY = ("what", "measured", "bar", "aim", "met")
MEASURED = re.compile(r"(<!-- measured: begin -->\n).*?(<!-- measured: end -->)", re.DOTALL)
"""The part of a page that is written from results."""


def table(result: Result) -> Table:
    """A scenario."""
    made = Table(title=result.scenario, caption=result.note or None, title_justify="left", caption_justify="left")
    for heading in HEADINGS:
        made.add_column(heading, justify="right" if heading in {"measured", "floor", "ratio"} else "left")
    for row in result.rows:
        made.add_row(*_cells(row))
    return made


def summary(results: Sequence[Result]) -> Table:
    """Every bar, measured or not."""
    made = Table(title="Bars", title_justify="left")
    for heading in SUMMARY:
        made.add_column(heading, justify="left" if heading in {"what", "met"} else "right")
    for bar, row in judged(results):
        made.add_row(*_judgement(bar, row))
    return made


def markdown(runs: Sequence[Mapping[str, Any]]) -> str:
    """Whole runs, as `bench/results/*.json` has them: the bars of all, the tables of the last."""
    each = [[Result.from_json(result) for result in told["results"]] for told in runs]
    told = runs[-1]
    machine = told["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
    conditions = (
        f"Measured {told['at'][:10]} with `{told['command']}`, seed {told['seed']}, on {machine['cores']} cores "
        f"({machine['processor']}), Python {machine['python'].split()[0]}, {versions}."
    )
    judgements = [[_judgement(bar, row) for bar, row in judged(results)] for results in each]
    shown = [f"run {number}" for number in range(1, len(runs))]
    bars = [
        [last[0], *(run[place][1] for run in judgements[:-1]), *last[1:]] for place, last in enumerate(judgements[-1])
    ]
    parts = [conditions, "", *_markdown_table([SUMMARY[0], *shown, *SUMMARY[1:]], bars)]
    for result in each[-1]:
        parts += ["", f"**{result.scenario}**", "", *_markdown_table(HEADINGS, [_cells(row) for row in result.rows])]
        if result.note:
            parts += ["", result.note]
    return "\n".join(parts) + "\n"


def put_into(page: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Write runs between the marks of a page."""
    text, count = MEASURED.subn(
        lambda match: f"{match[1]}\n{markdown(runs)}\n{match[2]}", page.read_text(encoding="utf-8")
    )
    if count != 1:
        raise SystemExit(
            f"{page.name} should have one place marked `measured: begin` and `measured: end`; it has {count}"
        )
    page.write_text(text, encoding="utf-8")


def _cells(row: Row) -> list[str]:
    floor = "" if row.floor_value is None else number(row.floor_value)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    spread = "" if row.lowest is None or row.highest is None else f"{number(row.lowest)} to {number(row.highest)}"
    return [row.what, number(row.value), row.unit, row.floor, floor, ratio, spread, row.note]


def _judgement(bar: Bar, row: Row | None) -> list[str]:
    least, aim = bar.shown(bar.least), bar.shown(bar.aim)
    if row is None:
        return [bar.what, "-", least, aim, f"not measured in this run: --only {bar.scenario}"]
    met = "no" if not bar.is_met(row.figure) else "yes, and the aim" if bar.reaches_aim(row.figure) else "yes"
    return [bar.what, bar.shown(row.figure), least, aim, f"{met}; {row.caveat}" if row.caveat else met]


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def number(value: float) -> str:
    """For reading: three digits or all of those before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 10 else f"{value:.2f}"
