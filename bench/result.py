"""The results of a scenario: rows with their baselines, and series of points for charts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from bench.targets import TARGETS, Target


@dataclass(frozen=True, slots=True)
class Row:
    """One measured value."""

    name: str
    value: float
    unit: str
    baseline: str = ""
    """Name of the measurement that the ratio refers to."""
    baseline_value: float | None = None
    target: str = ""
    """Key in `TARGETS`. The ratio is compared with the target if the target is a ratio, otherwise the value is."""
    note: str = ""
    lowest: float | None = None
    """Lowest ratio of a single round, or the lowest value if there is no baseline."""
    highest: float | None = None
    """Highest ratio of a single round, or the highest value if there is no baseline."""
    caveat: str = ""
    """How the conditions of this run differ from those of the target."""

    @property
    def ratio(self) -> float | None:
        """The value divided by the baseline's."""
        return self.value / self.baseline_value if self.baseline_value else None

    @property
    def judged_value(self) -> float:
        """The number that is compared with the target."""
        is_ratio = not self.target or TARGETS[self.target].unit == "ratio"
        return self.ratio if is_ratio and self.ratio is not None else self.value

    def as_json(self) -> dict[str, Any]:
        """Return plain values, including those of the target."""
        fields = {**asdict(self), "ratio": self.ratio}
        if self.target:
            target = TARGETS[self.target]
            fields |= {"required": target.required, "goal": target.goal, "met": target.is_met(self.judged_value)}
        return fields


def median_row(
    name: str,
    values: Sequence[float],
    unit: str,
    baseline: str = "",
    baseline_values: Sequence[float] = (),
    **fields: Any,
) -> Row:
    """Build a row from several rounds: the medians, and the range of the single rounds."""
    if baseline_values:
        ratios = [value / reference for value, reference in zip(values, baseline_values, strict=True)]
        return Row(
            name,
            statistics.median(values),
            unit,
            baseline,
            statistics.median(baseline_values),
            lowest=min(ratios),
            highest=max(ratios),
            **fields,
        )
    return Row(name, statistics.median(values), unit, lowest=min(values), highest=max(values), **fields)


@dataclass(frozen=True, slots=True)
class Series:
    """The lines of one chart."""

    chart: str
    """Name of the chart's file, without its suffix."""
    title: str
    x_unit: str
    y_unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """Points (x, y) by the name of the line."""
    is_quantiles: bool = False
    """Whether x is a quantile below 1, drawn on a scale on which 90 %, 99 % and 99.9 % are equally far apart."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one scenario."""

    title: str
    rows: Sequence[Row]
    note: str = ""
    series: Sequence[Series] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**asdict(self), "rows": [row.as_json() for row in self.rows]}

    @classmethod
    def from_json(cls, encoded: Mapping[str, Any]) -> Self:
        """Reverse `as_json`."""
        derived = {"ratio", "required", "goal", "met"}
        rows = [Row(**{key: value for key, value in row.items() if key not in derived}) for row in encoded["rows"]]
        series = [Series(**fields) for fields in encoded["series"]]
        return cls(encoded["title"], rows, encoded["note"], series)


def rows_by_target(results: Sequence[Result]) -> list[tuple[Target, Row | None]]:
    """Pair every target with the row that was measured for it in this run, or with None."""
    rows = {row.target: row for result in results for row in result.rows if row.target}
    return [(target, rows.get(name)) for name, target in TARGETS.items()]
