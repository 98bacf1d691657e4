"""Pictures as SVG, written by hand, that read well on light and on dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from bench.result import Result, Series, judged

WIDTH = 860
LEFT = 20
ROW = 48
TRACK = WIDTH - 2 * LEFT
PLOT = (70, 40, 640, 330)
"""Left, top, right and bottom of the lines' field."""
COLOURS = 5
Scale = Callable[[float], float]
Tick = tuple[float, str]
QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)

STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f }
.small { font-size: 12px; fill: #57606a }
.title { font-size: 15px; font-weight: 600 }
.track { fill: #d8dee4 } .grid { stroke: #d8dee4; stroke-width: 1 }
.good { fill: #1a7f37 } .short { fill: #bc4c00 } .open { fill: #57606a }
.mark { stroke: #24292f; stroke-width: 2 } .aim { stroke-dasharray: 3 2 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.c0 { stroke: #0969da } .c1 { stroke: #bc4c00 } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df } .c4 { stroke: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9da7b3 } .track { fill: #30363d } .grid { stroke: #30363d }
  .good { fill: #3fb950 } .short { fill: #f0883e } .open { fill: #9da7b3 } .mark { stroke: #e6edf3 }
  .c0 { stroke: #58a6ff } .c1 { stroke: #f0883e } .c2 { stroke: #3fb950 } .c3 { stroke: #bc8cff }
  .c4 { stroke: #9da7b3 }
}
"""


def charts(results: Sequence[Result]) -> dict[str, str]:
    """All of a run's, by the names of their files."""
    made = {"bars": bars(results)} if any(row for _, row in judged(results)) else {}
    return made | {series.charts: lines(series) for result in results for series in result.series}


def bars(results: Sequence[Result]) -> str:
    """Every bar that was measured: how far the figure is, the bar as a line, the aim as a dashed one."""
    rows = [(bar, row) for bar, row in judged(results) if row is not None]
    height = ROW * len(rows) + 34
    parts = [_head(WIDTH, height, "Measured figures beside their bars")]
    for place, (bar, row) in enumerate(rows):
        top = place * ROW + 12
        scale = TRACK / (1.15 * max(row.figure, bar.least, bar.aim))
        better = "at most" if bar.lower_is_better else "at least"
        kind = "open" if row.caveat else "good" if bar.is_met(row.figure) else "short"
        figures = f"{bar.shown(row.figure)} ({better} {bar.shown(bar.least)}, aim {bar.shown(bar.aim)})"
        parts += [
            f'<text x="{LEFT}" y="{top + 8}">{escape(bar.what)}</text>',
            f'<text class="small" x="{WIDTH - LEFT}" y="{top + 8}" text-anchor="end">{figures}</text>',
            f'<rect class="track" x="{LEFT}" y="{top + 15}" width="{TRACK}" height="10" rx="2"/>',
            f'<rect class="{kind}" x="{LEFT}" y="{top + 15}" width="{row.figure * scale:.1f}" height="10" rx="2"/>',
            _line("mark", LEFT + bar.least * scale, top + 12, LEFT + bar.least * scale, top + 28),
            _line("mark aim", LEFT + bar.aim * scale, top + 12, LEFT + bar.aim * scale, top + 28),
        ]
    legend = "line: the bar; dashed: the aim; green: met; orange: not met; grey: measured, but not under its conditions"
    parts.append(f'<text class="small" x="{LEFT}" y="{height - 8}">{legend}</text></svg>')
    return "\n".join(parts) + "\n"


def lines(series: Series) -> str:
    """Lines over a grid: latencies by percentile, or anything over time."""
    left, top, right, bottom = PLOT
    points = [point for line in series.lines.values() for point in line]
    x_of, x_ticks = _across(series, [x for x, _ in points])
    y_of, y_ticks = _up(series, [y for _, y in points])
    parts = [
        _head(WIDTH, bottom + 52, series.title),
        f'<text class="title" x="{LEFT}" y="22">{escape(series.title)}</text>',
    ]
    for value, label in y_ticks:
        parts += [
            _line("grid", left, y_of(value), right, y_of(value)),
            f'<text class="small" x="{left - 8}" y="{y_of(value) + 4:.1f}" text-anchor="end">{label}</text>',
        ]
    for value, label in x_ticks:
        parts += [
            _line("grid", x_of(value), top, x_of(value), bottom),
            f'<text class="small" x="{x_of(value):.1f}" y="{bottom + 18}" text-anchor="middle">{label}</text>',
        ]
    parts += [
        f'<text class="small" x="{(left + right) / 2}" y="{bottom + 38}" text-anchor="middle">{series.x_unit}</text>',
        f'<text class="small" x="{left - 8}" y="{top - 6}" text-anchor="end">{series.y_unit}</text>',
    ]
    for place, (name, line) in enumerate(series.lines.items()):
        colour = f"c{place % COLOURS}"
        drawn = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line)
        key = top + 14 + 22 * place
        parts += [
            f'<polyline class="line {colour}" points="{drawn}"/>',
            _line(f"line {colour}", right + 16, key - 4, right + 38, key - 4),
            f'<text class="small" x="{right + 44}" y="{key}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _across(series: Series, values: Sequence[float]) -> tuple[Scale, list[Tick]]:
    left, _, right, _ = PLOT
    if series.is_quantiles:
        # Each nine takes as much room: half at the left end, 99.99 % at the right one.
        most = max(_nines(value) for value in values)
        return (
            lambda value: left + (right - left) * (_nines(value) - _nines(0.5)) / (most - _nines(0.5)),
            [(one, f"{one * 100:g} %") for one in QUANTILES if _nines(one) <= most + 1e-9],
        )
    low, high = min(values), max(values) or 1.0
    step = _round_step((high - low) / 6)
    ticks = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return lambda value: left + (right - left) * (value - low) / (high - low or 1.0), [
        (one, f"{one:,.10g}") for one in ticks
    ]


def _up(series: Series, values: Sequence[float]) -> tuple[Scale, list[Tick]]:
    _, top, _, bottom = PLOT
    if series.is_quantiles:  # latencies: powers of ten
        least, most = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        most += most == least
        ticks = [10.0**power for power in range(least, most + 1)]
        return (
            lambda value: bottom - (bottom - top) * (math.log10(value) - least) / (most - least),
            [(one, f"{one:,.10g}") for one in ticks],
        )
    high = max(values) * 1.1 or 1.0
    step = _round_step(high / 5)
    ticks = [step * number for number in range(math.floor(high / step) + 1)]
    return lambda value: bottom - (bottom - top) * value / high, [(one, f"{one:,.10g}") for one in ticks]


def _nines(share: float) -> float:
    return -math.log10(1 - share)


def _round_step(least: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def _head(width: int, height: int, label: str) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    title = escape(label, quote=True)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}"><style>{STYLE}</style>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
