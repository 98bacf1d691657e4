"""Draws charts as SVG. The colours follow the light or dark colour scheme of the page."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from bench.result import Result, Series, rows_by_target

WIDTH = 860
LEFT = 20
ROW_HEIGHT = 48
BAR_WIDTH = WIDTH - 2 * LEFT
PLOT = (70, 40, 640, 330)
"""Left, top, right and bottom edge of the plot area of a line chart."""
COLOURS = 5
Scale = Callable[[float], float]
Tick = tuple[float, str]
QUANTILES = (0.5, 0.9, 0.99, 0.999, 0.9999)

STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f }
.small { font-size: 12px; fill: #57606a }
.title { font-size: 15px; font-weight: 600 }
.track { fill: #d8dee4 } .grid { stroke: #d8dee4; stroke-width: 1 }
.met { fill: #1a7f37 } .missed { fill: #bc4c00 } .unjudged { fill: #57606a }
.mark { stroke: #24292f; stroke-width: 2 } .goal { stroke-dasharray: 3 2 }
.line { fill: none; stroke-width: 2.5; stroke-linejoin: round }
.c0 { stroke: #0969da } .c1 { stroke: #bc4c00 } .c2 { stroke: #1a7f37 } .c3 { stroke: #8250df } .c4 { stroke: #57606a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9da7b3 } .track { fill: #30363d } .grid { stroke: #30363d }
  .met { fill: #3fb950 } .missed { fill: #f0883e } .unjudged { fill: #9da7b3 } .mark { stroke: #e6edf3 }
  .c0 { stroke: #58a6ff } .c1 { stroke: #f0883e } .c2 { stroke: #3fb950 } .c3 { stroke: #bc8cff }
  .c4 { stroke: #9da7b3 }
}
"""


def draw_charts(results: Sequence[Result]) -> dict[str, str]:
    """Return all charts of a run as SVG, by file name without suffix."""
    charts = {"bars": target_chart(results)} if any(row for _, row in rows_by_target(results)) else {}
    return charts | {series.chart: line_chart(series) for result in results for series in result.series}


def target_chart(results: Sequence[Result]) -> str:
    """Draw a bar for each measured figure that has a target, with marks at the required value and at the goal."""
    rows = [(target, row) for target, row in rows_by_target(results) if row is not None]
    height = ROW_HEIGHT * len(rows) + 34
    parts = [_svg_start(WIDTH, height, "Measured figures and their targets")]
    for index, (target, row) in enumerate(rows):
        top = index * ROW_HEIGHT + 12
        value = row.judged_value
        scale = BAR_WIDTH / (1.15 * max(value, target.required, target.goal))
        comparison = "at most" if target.lower_is_better else "at least"
        style = "unjudged" if row.caveat else "met" if target.is_met(value) else "missed"
        figures = (
            f"{target.format(value)} ({comparison} {target.format(target.required)}, goal {target.format(target.goal)})"
        )
        required_x, goal_x = LEFT + target.required * scale, LEFT + target.goal * scale
        parts += [
            f'<text x="{LEFT}" y="{top + 8}">{escape(target.name)}</text>',
            f'<text class="small" x="{WIDTH - LEFT}" y="{top + 8}" text-anchor="end">{figures}</text>',
            f'<rect class="track" x="{LEFT}" y="{top + 15}" width="{BAR_WIDTH}" height="10" rx="2"/>',
            f'<rect class="{style}" x="{LEFT}" y="{top + 15}" width="{value * scale:.1f}" height="10" rx="2"/>',
            _line("mark", required_x, top + 12, required_x, top + 28),
            _line("mark goal", goal_x, top + 12, goal_x, top + 28),
        ]
    legend = (
        "solid mark: required value; dashed mark: goal; green: met; orange: not met; "
        "grey: measured under other conditions"
    )
    parts.append(f'<text class="small" x="{LEFT}" y="{height - 8}">{legend}</text></svg>')
    return "\n".join(parts) + "\n"


def line_chart(series: Series) -> str:
    """Draw lines over a grid: latency by percentile, or a value over time or size."""
    left, top, right, bottom = PLOT
    points = [point for line in series.lines.values() for point in line]
    x_of, x_ticks = _x_axis(series, [x for x, _ in points])
    y_of, y_ticks = _y_axis(series, [y for _, y in points])
    parts = [
        _svg_start(WIDTH, bottom + 52, series.title),
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
    for index, (name, line) in enumerate(series.lines.items()):
        colour = f"c{index % COLOURS}"
        polyline = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in line)
        label_y = top + 14 + 22 * index
        parts += [
            f'<polyline class="line {colour}" points="{polyline}"/>',
            _line(f"line {colour}", right + 16, label_y - 4, right + 38, label_y - 4),
            f'<text class="small" x="{right + 44}" y="{label_y}">{escape(name)}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x_axis(series: Series, values: Sequence[float]) -> tuple[Scale, list[Tick]]:
    left, _, right, _ = PLOT
    if series.is_quantiles:
        # The scale is logarithmic in the distance to 1: the median is at the left edge.
        first, last = _nines(0.5), max(_nines(value) for value in values)
        return (
            lambda value: left + (right - left) * (_nines(value) - first) / (last - first),
            [(quantile, f"{quantile * 100:g} %") for quantile in QUANTILES if _nines(quantile) <= last + 1e-9],
        )
    low, high = min(values), max(values) or 1.0
    step = _tick_step((high - low) / 6)
    ticks = [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return lambda value: left + (right - left) * (value - low) / (high - low or 1.0), _labelled(ticks)


def _y_axis(series: Series, values: Sequence[float]) -> tuple[Scale, list[Tick]]:
    _, top, _, bottom = PLOT
    if series.is_quantiles:  # latencies, on a logarithmic scale
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        high += high == low
        ticks = [10.0**power for power in range(low, high + 1)]
        return lambda value: bottom - (bottom - top) * (math.log10(value) - low) / (high - low), _labelled(ticks)
    maximum = max(values) * 1.1 or 1.0
    step = _tick_step(maximum / 5)
    ticks = [step * number for number in range(math.floor(maximum / step) + 1)]
    return lambda value: bottom - (bottom - top) * value / maximum, _labelled(ticks)


def _labelled(ticks: Sequence[float]) -> list[Tick]:
    return [(value, f"{value:,.10g}") for value in ticks]


def _nines(share: float) -> float:
    return -math.log10(1 - share)


def _tick_step(minimum: float) -> float:
    """Return the smallest of 1, 2 and 5 times a power of ten that is not below the minimum."""
    power = 10.0 ** math.floor(math.log10(minimum)) if minimum > 0 else 1.0
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= minimum * 0.999)


def _svg_start(width: int, height: int, label: str) -> str:
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    title = escape(label, quote=True)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}"><style>{STYLE}</style>'


def _line(style: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
