"""The comparison of results with targets, and their tables, JSON and charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest
from rich.console import Console

from bench.charts import draw_charts
from bench.harness import alternate
from bench.report import markdown, replace_measured_section, result_table, target_table
from bench.result import Result, Row, Series, median_row, rows_by_target
from bench.targets import TARGETS

SINGLE = median_row("durable", [50.0, 60.0, 40.0], "events/s", "handler", [100.0, 100.0, 50.0], target="single")
LATENCY = Row("p99", 15.5, "ms", target="latency")
QUANTILES = Series("latency", "Latency <&>", "share", "ms", {"a & b": [(0.5, 1.0), (0.99, 20.0)]}, is_quantiles=True)
ONE_POINT = Series("soak", "Memory", "seconds", "MB", {"gateway": [(0.0, 0.0)]})
RESULT = Result("one", [SINGLE, LATENCY], "a note", [QUANTILES, ONE_POINT])


def run_json() -> dict[str, object]:
    machine = {"processor": "any", "cores": 2, "python": "3.11.7 (x)", "libraries": {"aiohttp": "3"}}
    return {
        "at": "2026-01-02T03:04:05Z",
        "command": "python -m bench",
        "seed": 1,
        "machine": machine,
        "results": [RESULT.as_json()],
    }


def printed(renderable: object) -> str:
    console = Console(width=220, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    try:
        console.print(renderable)
        return console.export_text()
    finally:
        console.file.close()


def test_the_ratio_is_computed_from_medians_and_printed_with_the_range_of_the_rounds() -> None:
    assert SINGLE.ratio == pytest.approx(0.5)
    assert SINGLE.lowest == pytest.approx(0.5)
    assert SINGLE.highest == pytest.approx(0.8)
    assert "0.50 to 0.80" in printed(result_table(RESULT))


@pytest.mark.parametrize(
    ("target", "met", "missed"),
    [("single", 0.55, 0.549), ("latency", 15.0, 15.01), ("backlog_memory", 1.3, 1.301), ("workers", 1.6, 1.59)],
)
def test_a_target_is_met_at_exactly_the_required_value(target: str, met: float, missed: float) -> None:
    assert TARGETS[target].is_met(met)
    assert not TARGETS[target].is_met(missed)


def test_a_target_in_milliseconds_is_compared_with_the_value_even_if_the_row_has_a_baseline() -> None:
    with_baseline = replace(LATENCY, baseline="handler", baseline_value=10.0)
    assert with_baseline.ratio == pytest.approx(1.55)
    assert with_baseline.judged_value == 15.5


def test_the_summary_lists_every_target_including_those_not_measured() -> None:
    assert len(rows_by_target([RESULT])) == len(TARGETS)
    text = printed(target_table([RESULT]))
    for target in TARGETS.values():
        assert target.name in text
    assert text.count("not measured in this run") == len(TARGETS) - 2


def test_the_summary_prints_the_caveat_of_a_figure() -> None:
    row = Row("peak", 1.0, "MB", "small", 1.0, "backlog_memory", caveat="at 200,000")
    assert "at 200,000" in printed(target_table([Result("backlog", [row])]))


def test_results_are_restored_from_json() -> None:
    restored = Result.from_json(orjson.loads(orjson.dumps(RESULT.as_json())))
    assert restored.rows == RESULT.rows
    assert restored.as_json() == orjson.loads(orjson.dumps(RESULT.as_json()))


def test_the_json_contains_the_target_and_whether_it_is_met() -> None:
    single, latency = RESULT.as_json()["rows"]
    assert (single["met"], latency["met"]) == (False, False)
    assert single["required"] == TARGETS["single"].required


def test_charts_are_well_formed_and_all_lines_are_within_the_image() -> None:
    charts = draw_charts([RESULT])
    assert set(charts) == {"bars", "latency", "soak"}
    for svg in charts.values():
        root = ET.fromstring(svg)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for line in root.iter("{http://www.w3.org/2000/svg}line"):
            assert 0 <= float(line.attrib["x1"]) <= width
            assert 0 <= float(line.attrib["y1"]) <= height
        for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
            for x, y in (point.split(",") for point in line.attrib["points"].split()):
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height


def test_the_target_chart_distinguishes_met_missed_and_unjudged_figures() -> None:
    met = Row("two", 19.0, "events/s", "one", 10.0, "workers")
    unjudged = replace(met, target="lanes", caveat="at another size")
    svg = draw_charts([Result("one", [met, LATENCY, unjudged])])["bars"]
    assert [svg.count(f'<rect class="{style}"') for style in ("met", "missed", "unjudged")] == [1, 1, 1]
    assert "1.90 (at least 1.60, goal 1.90)" in svg


def test_every_chart_has_a_dark_colour_scheme() -> None:
    assert all("prefers-color-scheme: dark" in svg for svg in draw_charts([RESULT]).values())


def test_publishing_replaces_the_text_between_the_markers_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\nformer\n<!-- measured: end -->\nafter\n")
    replace_measured_section(page, [run_json(), run_json()])
    replace_measured_section(page, [run_json(), run_json()])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- measured: end -->\nafter\n")
    assert "former" not in text
    assert markdown([run_json(), run_json()]) in text
    assert "| target | run 1 | measured |" in text


def test_a_page_without_markers_is_not_changed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="expected one section"):
        replace_measured_section(page, [run_json(), run_json()])
    assert page.read_text() == "nothing"


def test_measures_alternate_and_the_order_is_reversed_in_every_other_round() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    results = alternate(3, lambda: measure("gateway"), lambda: measure("baseline"))
    assert order == ["gateway", "baseline", "baseline", "gateway", "gateway", "baseline"]
    assert results == [[1.0, 4.0, 5.0], [2.0, 3.0, 6.0]]
