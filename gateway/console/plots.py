"""Plots of the history: series of a page, as a picture without scripts and as values for the script that draws it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import orjson

from gateway.console.formats import decimal
from gateway.console.tables import Table
from gateway.history import HistoryPage, Metric
from gateway.model import UnixSeconds

WIDTH, HEIGHT = 600, 120
"""Of the picture, in its own units."""

Value = float | None
"""None where the gateway did not run."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot."""

    label: str
    values: Sequence[Value]

    @property
    def latest(self) -> Value:
        """The last value that is known."""
        return next((value for value in reversed(self.values) if value is not None), None)

    @property
    def highest(self) -> Value:
        """The highest value."""
        return max((value for value in self.values if value is not None), default=None)


@dataclass(frozen=True, slots=True)
class Plot:
    """Some lines over one time."""

    name: str
    """In addresses."""
    title: str
    unit: str
    since: UnixSeconds
    step: int
    """Seconds between two values."""
    lines: Sequence[Line]

    @property
    def has_values(self) -> bool:
        """Whether there is anything to show."""
        return any(line.latest is not None for line in self.lines)

    @property
    def top(self) -> float:
        """The highest value of all lines, at least 1 unit of the last digit that is shown."""
        return max([line.highest or 0.0 for line in self.lines], default=0.0) or 1.0

    def path(self, line: Line) -> str:
        """A line as the `d` of an SVG path. It is interrupted where the gateway did not run."""
        across, top = WIDTH / max(1, len(line.values) - 1), self.top
        parts: list[str] = []
        draws = False
        for position, value in enumerate(line.values):
            if value is not None:
                height = HEIGHT - value / top * HEIGHT
                parts.append(f"{'L' if draws else 'M'}{position * across:.1f} {height:.1f}")
            draws = value is not None
        return "".join(parts)

    @property
    def summary(self) -> str:
        """The plot in words, for those who cannot see it."""
        return "; ".join(
            f"{line.label}: latest {decimal(line.latest)}, highest {decimal(line.highest)} {self.unit}"
            for line in self.lines
        )

    def as_json(self) -> bytes:
        """Its values for the script that draws it: short, since each page loads some plots again every minute."""
        lines = [[None if value is None else round(value, 3) for value in line.values] for line in self.lines]
        return orjson.dumps({"since": self.since, "step": self.step, "lines": lines})

    def table(self) -> Table:
        """Its values: a row for each step."""
        count = max((len(line.values) for line in self.lines), default=0)
        rows = [
            [self.since + position * self.step, *(line.values[position] for line in self.lines)]
            for position in range(count)
        ]
        return Table(["at", *(line.label for line in self.lines)], rows)


def total(page: HistoryPage, metrics: Iterable[Metric], **where: str) -> list[float]:
    """The sum of some series, for each step."""
    wanted = set(metrics)
    chosen = [
        series.values
        for series in page.series
        if series.metric in wanted and all(series.labels.get(name) == value for name, value in where.items())
    ]
    return [sum(values) for values in zip(*chosen, strict=True)] if chosen else [0.0] * len(page.recorded)


def highest(page: HistoryPage, metric: Metric, **where: str) -> list[float]:
    """The highest of some series, for each step."""
    chosen = [
        series.values
        for series in page.series
        if series.metric is metric and all(series.labels.get(name) == value for name, value in where.items())
    ]
    return [max(values) for values in zip(*chosen, strict=True)] if chosen else [0.0] * len(page.recorded)


def rates(page: HistoryPage, values: Sequence[float], now: UnixSeconds) -> list[Value]:
    """The values of a counter per minute. A step that is not over at `now` would look like a fall, so it has none."""
    per_minute = recorded_only(page, values, 60 / page.step)
    over = max(0, int((now - page.since) // page.step))
    return [*per_minute[:over], *(None for _ in per_minute[over:])]


def recorded_only(page: HistoryPage, values: Sequence[float], factor: float = 1.0) -> list[Value]:
    """The values of the steps that were recorded, times `factor`."""
    return [value * factor if known else None for value, known in zip(values, page.recorded, strict=True)]
