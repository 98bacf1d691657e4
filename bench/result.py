"""What a scenario measured: rows with their floors, and whether they meet what was set out to be met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure is to reach."""

    what: str
    least: float
    aim: float
    unit: str = "ratio"
    lower_is_better: bool = False

    def is_met(self, value: float) -> bool:
        """Whether the figure reaches it."""
        return value <= self.least if self.lower_is_better else value >= self.least


BARS: Mapping[str, Bar] = {
    "mapper": Bar("mapper on the sample call, cold, against its floor", 2.2, 1.8, lower_is_better=True),
    "single": Bar("single events, durable, against the bare handler that decodes", 0.55, 0.7),
    "delivered": Bar("batches of 100, durable until delivered, against the pipeline floor", 0.25, 0.4),
    "latency": Bar(
        "p99 latency of a durable single event at half the peak rate", 15.0, 8.0, "ms", lower_is_better=True
    ),
    "drain": Bar("drain speed against ingest speed, batches of 100", 1.0, 1.5),
    "backlog_memory": Bar("resident memory, large backlog against 10 thousand", 1.3, 1.1, lower_is_better=True),
    "workers": Bar("two workers against one", 1.6, 1.9),
    "lanes": Bar("256 lanes against 1, same events a second", 0.8, 0.95),
    "sidecar_memory": Bar("resident memory of an idle gateway", 70.0, 50.0, "MB", lower_is_better=True),
    "sidecar_start": Bar("start of an idle gateway to ready", 1.0, 0.5, "s", lower_is_better=True),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    what: str
    value: float
    unit: str
    floor: str = ""
    """What the ratio is against."""
    floor_value: float | None = None
    bar: str = ""
    """Key in `BARS` that this row is for: its ratio where it has a floor, else its value."""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Of the floor."""
        return self.value / self.floor_value if self.floor_value else None

    @property
    def figure(self) -> float:
        """What is held against the bar."""
        return self.value if self.ratio is None else self.ratio


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario's."""

    scenario: str
    rows: Sequence[Row]
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        rows = [{**asdict(row), "ratio": row.ratio} for row in self.rows]
        return {"scenario": self.scenario, "rows": rows, "note": self.note}


def table(result: Result) -> Table:
    """A scenario for people."""
    made = Table(title=result.scenario, caption=result.note or None, title_justify="left")
    for heading in ("what", "measured", "unit", "against", "floor", "ratio", "note"):
        made.add_column(heading, justify="right" if heading in {"measured", "floor", "ratio"} else "left")
    for row in result.rows:
        floor = "" if row.floor_value is None else _number(row.floor_value)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        made.add_row(row.what, _number(row.value), row.unit, row.floor, floor, ratio, row.note)
    return made


def summary(results: Sequence[Result]) -> Table:
    """Every bar that was measured."""
    made = Table(title="Bars", title_justify="left")
    for heading in ("what", "measured", "bar", "aim", "met"):
        made.add_column(heading, justify="left" if heading == "what" else "right")
    for row in (row for result in results for row in result.rows if row.bar):
        bar = BARS[row.bar]
        unit = "" if bar.unit == "ratio" else f" {bar.unit}"
        made.add_row(
            bar.what,
            f"{row.figure:.2f}{unit}",
            f"{bar.least:g}{unit}",
            f"{bar.aim:g}{unit}",
            "yes" if bar.is_met(row.figure) else "no",
        )
    return made


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"
