"""Formats results as tables for the terminal and as Markdown for the documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.result import Result, Row, rows_by_target
from bench.targets import Target

RESULT_HEADINGS = ("measurement", "value", "unit", "baseline", "baseline value", "ratio", "range", "note")
TARGET_HEADINGS = ("target", "measured", "required", "goal", "met")
LEFT_ALIGNED = {"measurement", "unit", "baseline", "range", "note", "target", "met"}
MEASURED_SECTION = re.compile(r"(<!-- measured: begin -->\n).*?(<!-- measured: end -->)", re.DOTALL)
"""The part of a page that is generated from results."""


def result_table(result: Result) -> Table:
    """Build the table of one scenario."""
    table = _table(result.title, RESULT_HEADINGS, caption=result.note or None)
    for row in result.rows:
        table.add_row(*_result_cells(row))
    return table


def target_table(results: Sequence[Result]) -> Table:
    """Build the table of all targets, including those that were not measured."""
    table = _table("Targets", TARGET_HEADINGS)
    for target, row in rows_by_target(results):
        table.add_row(*_target_cells(target, row))
    return table


def markdown(runs: Sequence[Mapping[str, Any]]) -> str:
    """Format runs, as stored in `bench/results/*.json`: the targets of all runs, the scenarios of the last run."""
    results = [[Result.from_json(result) for result in run["results"]] for run in runs]
    last_run = runs[-1]
    machine = last_run["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    conditions = (
        f"Measured {last_run['at'][:10]} with `{last_run['command']}`, seed {last_run['seed']}, on {machine['cores']} "
        f"cores ({machine['processor']}), Python {machine['python'].split()[0]}, {versions}."
    )
    target_rows = [[_target_cells(target, row) for target, row in rows_by_target(run)] for run in results]
    earlier_runs = [f"run {number}" for number in range(1, len(runs))]
    rows = [
        [last[0], *(run[index][1] for run in target_rows[:-1]), *last[1:]] for index, last in enumerate(target_rows[-1])
    ]
    lines = [conditions, "", *_markdown_table([TARGET_HEADINGS[0], *earlier_runs, *TARGET_HEADINGS[1:]], rows)]
    for result in results[-1]:
        cells = [_result_cells(row) for row in result.rows]
        lines += ["", f"**{result.title}**", "", *_markdown_table(RESULT_HEADINGS, cells)]
        if result.note:
            lines += ["", result.note]
    return "\n".join(lines) + "\n"


def replace_measured_section(page: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Replace the text between the two markers of a page. Ends the program if the page has no such section."""
    text, count = MEASURED_SECTION.subn(
        lambda match: f"{match[1]}\n{markdown(runs)}\n{match[2]}", page.read_text(encoding="utf-8")
    )
    if count != 1:
        raise SystemExit(
            f"{page.name}: expected one section between `measured: begin` and `measured: end`, found {count}; "
            f"the page was not changed"
        )
    page.write_text(text, encoding="utf-8")


def format_number(value: float) -> str:
    """Format with three significant digits, or with all digits before the decimal point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) >= 10 else f"{value:.2f}"


def _table(title: str, headings: Sequence[str], caption: str | None = None) -> Table:
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in LEFT_ALIGNED else "right")
    return table


def _result_cells(row: Row) -> list[str]:
    baseline_value = "" if row.baseline_value is None else format_number(row.baseline_value)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    value_range = ""
    if row.lowest is not None and row.highest is not None:
        value_range = f"{format_number(row.lowest)} to {format_number(row.highest)}"
    return [row.name, format_number(row.value), row.unit, row.baseline, baseline_value, ratio, value_range, row.note]


def _target_cells(target: Target, row: Row | None) -> list[str]:
    required, goal = target.format(target.required), target.format(target.goal)
    if row is None:
        return [target.name, "-", required, goal, f"not measured in this run; use --only {target.scenario}"]
    value = row.judged_value
    met = "no" if not target.is_met(value) else "yes, goal reached" if target.reaches_goal(value) else "yes"
    return [target.name, target.format(value), required, goal, f"{met}; {row.caveat}" if row.caveat else met]


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
