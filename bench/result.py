"""What a scenario measured: rows with their floors, lines for pictures, and whether a bar is met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from bench.bars import BARS, Bar


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
    """Key in `BARS` that this row is for: its ratio where that is one, else its value."""
    note: str = ""
    lowest: float | None = None
    """Of the ratios of the single rounds, or of the values where there is no floor."""
    highest: float | None = None
    caveat: str = ""
    """Why the figure is not yet what its bar is about."""

    @property
    def ratio(self) -> float | None:
        """Of the floor."""
        return self.value / self.floor_value if self.floor_value else None

    @property
    def figure(self) -> float:
        """What is held against the bar."""
        is_ratio = not self.bar or BARS[self.bar].unit == "ratio"
        return self.ratio if is_ratio and self.ratio is not None else self.value

    def as_json(self) -> dict[str, Any]:
        """Plain values, with the bar's."""
        told = {**asdict(self), "ratio": self.ratio}
        if self.bar:
            bar = BARS[self.bar]
            told |= {"least": bar.least, "aim": bar.aim, "met": bar.is_met(self.figure)}
        return told


def measured(
    what: str, values: Sequence[float], unit: str, floor: str = "", floors: Sequence[float] = (), **told: Any
) -> Row:
    """The row of several rounds: their medians, and how far the rounds lie apart."""
    if floors:
        each = [value / least for value, least in zip(values, floors, strict=True)]
        return Row(
            what,
            statistics.median(values),
            unit,
            floor,
            statistics.median(floors),
            lowest=min(each),
            highest=max(each),
            **told,
        )
    return Row(what, statistics.median(values), unit, lowest=min(values), highest=max(values), **told)


@dataclass(frozen=True, slots=True)
class Series:
    """Lines for a picture."""

    charts: str
    """Its file's name."""
    title: str
    x_unit: str
    y_unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """Points by what they are of."""
    is_quantiles: bool = False
    """The x of a point is a share below 1, drawn so that each further nine takes as much room."""


@dataclass(frozen=True, slots=True)
class Result:
    """One scenario's."""

    scenario: str
    rows: Sequence[Row]
    note: str = ""
    series: Sequence[Series] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "rows": [row.as_json() for row in self.rows]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The reverse of `as_json`."""
        derived = {"ratio", "least", "aim", "met"}
        rows = [Row(**{key: value for key, value in row.items() if key not in derived}) for row in told["rows"]]
        series = [Series(**one) for one in told["series"]]
        return cls(told["scenario"], rows, told["note"], series)


def judged(results: Sequence[Result]) -> list[tuple[Bar, Row | None]]:
    """Every bar, with the row that was measured for it in this run, if there is one."""
    rows = {row.bar: row for result in results for row in result.rows if row.bar}
    return [(bar, rows.get(name)) for name, bar in BARS.items()]
