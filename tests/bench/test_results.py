"""What is held against a bar, what is printed of it, and what is drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest
from rich.console import Console

from bench.bars import BARS
from bench.charts import charts
from bench.harness import in_turn
from bench.report import markdown, put_into, summary, table
from bench.result import Result, Row, Series, judged, measured

SINGLE = measured("durable", [50.0, 60.0, 40.0], "events/s", "handler", [100.0, 100.0, 50.0], bar="single")
LATENCY = Row("p99", 15.5, "ms", bar="latency")
CURVE = Series("latency", "Latency <&>", "share", "ms", {"a & b": [(0.5, 1.0), (0.99, 20.0)]}, is_quantiles=True)
FLAT = Series("soak", "Memory", "seconds", "MB", {"gateway": [(0.0, 0.0)]})
RESULT = Result("one", [SINGLE, LATENCY], "a note", [CURVE, FLAT])


def told() -> dict[str, object]:
    machine = {"processor": "any", "cores": 2, "python": "3.11.7 (x)", "libraries": {"aiohttp": "3"}}
    return {
        "at": "2026-01-02T03:04:05Z",
        "command": "python -m bench",
        "seed": 1,
        "machine": machine,
        "results": [RESULT.as_json()],
    }


def printed(what: object) -> str:
    console = Console(width=220, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    try:
        console.print(what)
        return console.export_text()
    finally:
        console.file.close()


def test_a_ratio_is_that_of_the_medians_and_the_rounds_are_shown_with_it() -> None:
    assert SINGLE.ratio == pytest.approx(0.5)
    assert SINGLE.lowest == pytest.approx(0.5)
    assert SINGLE.highest == pytest.approx(0.8)
    assert "0.50 to 0.80" in printed(table(RESULT))


@pytest.mark.parametrize(
    ("bar", "just", "short"),
    [("single", 0.55, 0.549), ("latency", 15.0, 15.01), ("backlog_memory", 1.3, 1.301), ("workers", 1.6, 1.59)],
)
def test_a_bar_is_met_at_its_value_and_not_beyond_it(bar: str, just: float, short: float) -> None:
    assert BARS[bar].is_met(just)
    assert not BARS[bar].is_met(short)


def test_a_bar_in_milliseconds_is_held_against_the_value_even_where_a_floor_stands_beside_it() -> None:
    beside = replace(LATENCY, floor="handler", floor_value=10.0)
    assert beside.ratio == pytest.approx(1.55)
    assert beside.figure == 15.5


def test_every_bar_is_in_the_summary_whether_it_was_measured_or_not() -> None:
    assert len(judged([RESULT])) == len(BARS)
    text = printed(summary([RESULT]))
    for bar in BARS.values():
        assert bar.what in text
    assert text.count("not measured in this run") == len(BARS) - 2


def test_a_figure_that_is_not_what_its_bar_is_about_says_so() -> None:
    row = Row("peak", 1.0, "MB", "small", 1.0, "backlog_memory", caveat="at 200,000")
    assert "at 200,000" in printed(summary([Result("backlog", [row])]))


def test_results_come_back_from_json() -> None:
    back = Result.from_json(orjson.loads(orjson.dumps(RESULT.as_json())))
    assert back.rows == RESULT.rows
    assert back.as_json() == orjson.loads(orjson.dumps(RESULT.as_json()))


def test_what_is_met_stands_in_the_json() -> None:
    single, latency = RESULT.as_json()["rows"]
    assert (single["met"], latency["met"]) == (False, False)
    assert single["least"] == BARS["single"].least


def test_pictures_are_well_formed_and_stay_within_their_frame() -> None:
    made = charts([RESULT])
    assert set(made) == {"bars", "latency", "soak"}
    for text in made.values():
        root = ET.fromstring(text)
        width, height = float(root.attrib["width"]), float(root.attrib["height"])
        for line in root.iter("{http://www.w3.org/2000/svg}line"):
            assert 0 <= float(line.attrib["x1"]) <= width
            assert 0 <= float(line.attrib["y1"]) <= height
        for line in root.iter("{http://www.w3.org/2000/svg}polyline"):
            for x, y in (point.split(",") for point in line.attrib["points"].split()):
                assert 0 <= float(x) <= width
                assert 0 <= float(y) <= height


def test_a_picture_shows_what_is_met_what_is_not_and_what_was_measured_elsewhere() -> None:
    good = Row("two", 19.0, "events/s", "one", 10.0, "workers")
    elsewhere = replace(good, bar="lanes", caveat="at another size")
    text = charts([Result("one", [good, LATENCY, elsewhere])])["bars"]
    assert [text.count(f'<rect class="{kind}"') for kind in ("good", "short", "open")] == [1, 1, 1]
    assert "1.90 (at least 1.60, aim 1.90)" in text


def test_a_picture_reads_on_light_and_on_dark_pages() -> None:
    assert all("prefers-color-scheme: dark" in text for text in charts([RESULT]).values())


def test_a_page_gets_the_tables_between_its_marks_and_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: begin -->\nformer\n<!-- measured: end -->\nafter\n")
    put_into(page, [told(), told()])
    put_into(page, [told(), told()])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("<!-- measured: end -->\nafter\n")
    assert "former" not in text
    assert markdown([told(), told()]) in text
    assert "| what | run 1 | measured |" in text


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(SystemExit, match="should have one place"):
        put_into(page, [told(), told()])
    assert page.read_text() == "nothing"


def test_measures_take_turns_and_none_is_always_first() -> None:
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return float(len(order))

    found = in_turn(3, lambda: measure("ours"), lambda: measure("floor"))
    assert order == ["ours", "floor", "floor", "ours", "ours", "floor"]
    assert found == [[1.0, 4.0, 5.0], [2.0, 3.0, 6.0]]
