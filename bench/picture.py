"""Bars of ratios as an SVG that reads well on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from bench.result import BARS, Result

WIDTH = 860
ROW = 46
LEFT = 20
TRACK = WIDTH - 2 * LEFT

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.small { font-size: 11px; fill: #57606a }
.track { fill: #d0d7de }
.good { fill: #1a7f37 } .short { fill: #bc4c00 }
.mark { stroke: #24292f; stroke-width: 2 } .aim { stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9da7b3 } .track { fill: #30363d }
  .good { fill: #3fb950 } .short { fill: #f0883e } .mark { stroke: #e6edf3 }
}
"""


def bars(results: Sequence[Result]) -> str:
    """Every figure that has a bar: how far it is, the bar as a line, the aim as a dashed one."""
    rows = [row for result in results for row in result.rows if row.bar]
    height = ROW * len(rows) + 34
    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    label = "Measured figures beside their bars"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}"><style>{STYLE}</style>']
    for number, row in enumerate(rows):
        bar = BARS[row.bar]
        top = number * ROW + 12
        scale = TRACK / (1.15 * max(row.figure, bar.least, bar.aim))
        unit = "" if bar.unit == "ratio" else f" {bar.unit}"
        better = "at most" if bar.lower_is_better else "at least"
        kind = "good" if bar.is_met(row.figure) else "short"
        figures = f"{row.figure:.2f}{unit} ({better} {bar.least:g}{unit}, aim {bar.aim:g}{unit})"
        parts += [
            f'<text x="{LEFT}" y="{top + 8}">{escape(bar.what)}</text>',
            f'<text class="small" x="{WIDTH - LEFT}" y="{top + 8}" text-anchor="end">{figures}</text>',
            f'<rect class="track" x="{LEFT}" y="{top + 15}" width="{TRACK}" height="10" rx="2"/>',
            f'<rect class="{kind}" x="{LEFT}" y="{top + 15}" width="{row.figure * scale:.1f}" height="10" rx="2"/>',
            _line("mark", LEFT + bar.least * scale, top),
            _line("mark aim", LEFT + bar.aim * scale, top),
        ]
    parts.append(
        f'<text class="small" x="{LEFT}" y="{height - 8}">line: the bar; dashed line: the aim; green: met</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _line(kind: str, x: float, top: int) -> str:
    return f'<line class="{kind}" x1="{x:.1f}" y1="{top + 12}" x2="{x:.1f}" y2="{top + 28}"/>'
