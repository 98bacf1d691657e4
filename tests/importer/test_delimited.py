"""CSV and TSV: quotes, line breaks, columns that do not fit, limits, and lines that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.importer.rows import MAX_FIELD, MAX_LINE
from gateway.model import GatewayError
from tests.importer.files import HEADER, calls, codes, plan, problems, rows, sale, write


def lines_and_codes(name: str) -> list[tuple[int, str]]:
    return [(row.line, row.fault.code if row.fault else "") for row in rows(name)]


def test_rows_and_lines_are_counted_with_line_breaks_inside_fields(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1, order_id='"o-1\nsecond line"'), "", sale(2))
    assert [(row.number, row.line) for row in rows(name)] == [(1, 2), (2, 5)]
    assert calls(name)[0]["properties"]["order_id"] == "o-1\nsecond line"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_any_line_end_is_read(tmp_path: Path, end: str) -> None:
    path = tmp_path / "sales.csv"
    path.write_bytes(end.join([HEADER, sale(1), sale(2)]).encode())
    assert [row.line for row in rows(str(path))] == [2, 3]


def test_an_open_quote_costs_one_line(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1), f'"{sale(2)}', *(sale(number) for number in range(3, 3000)))
    found = lines_and_codes(name)
    assert [each for each in found if each[1]] == [(3, "field_too_long")]
    assert len(found) == 2999


def test_an_open_quote_that_a_later_row_closes_costs_one_line(tmp_path: Path) -> None:
    name = write(tmp_path, f'"{sale(1)}', sale(2, order_id='"o-2"'), sale(3))
    assert lines_and_codes(name) == [(2, "malformed_quotes"), (3, ""), (4, "")]


def test_an_open_quote_in_the_last_line_costs_one_line(tmp_path: Path) -> None:
    assert lines_and_codes(write(tmp_path, sale(1), f'"{sale(2)}')) == [(2, ""), (3, "malformed_quotes")]


def test_text_after_a_closing_quote_is_rejected(tmp_path: Path) -> None:
    assert lines_and_codes(write(tmp_path, sale(1, order_id='"o"-1'))) == [(2, "malformed_quotes")]


def test_rows_with_missing_or_additional_fields_are_rejected(tmp_path: Path) -> None:
    name = write(tmp_path, "a@example.com", f"{sale(2)},more", f"{sale(3)},,")
    assert lines_and_codes(name) == [(2, "wrong_columns"), (3, "wrong_columns"), (4, "")]


def test_a_long_line_and_a_nul_character_cost_one_line_each(tmp_path: Path) -> None:
    name = write(tmp_path, "x" * (MAX_LINE + 2_000_000), sale(2, order_id="o\0"), sale(3))
    assert lines_and_codes(name) == [(2, "line_too_long"), (3, "nul_character"), (4, "")]


def test_a_long_field_is_rejected(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1, order_id="x" * (MAX_FIELD + 1)), sale(2))
    assert lines_and_codes(name) == [(2, "field_too_long"), (3, "")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_recognised_in_the_first_line(tmp_path: Path, delimiter: str) -> None:
    name = write(tmp_path, sale(1).replace(",", delimiter), header=HEADER.replace(",", delimiter))
    assert calls(name)[0]["properties"]["order_id"] == "o-1"


def test_a_delimiter_that_could_be_one_of_two_is_refused(tmp_path: Path) -> None:
    name = write(tmp_path, header="email,event;time,a;b")
    with pytest.raises(GatewayError, match="separated by comma or semicolon; give --delimiter"):
        plan(name)


def test_a_tsv_file_is_separated_by_tabs(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1).replace(",", "\t"), header=HEADER.replace(",", "\t"), name="sales.tsv")
    assert codes(name) == ["sent"]


def test_empty_column_names_are_read_and_not_sent(tmp_path: Path) -> None:
    name = write(tmp_path, f"{sale(1)},secret,secret", header=f"{HEADER},,")
    assert "secret" not in str(calls(name))


def test_a_column_that_occurs_twice_is_refused_where_one_value_is_sent(tmp_path: Path) -> None:
    name = write(tmp_path, f"{sale(1)},99", header=f"{HEADER},value")
    assert problems(name) == ["value could be 'value' or 'value'; set it in `columns.value`"]


def test_a_file_with_a_header_only_has_no_rows(tmp_path: Path) -> None:
    assert rows(write(tmp_path)) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("\nemail\n", "the first line is empty"),
        ('"email', "cannot be read; check the quotes"),
    ],
    ids=["nothing", "empty line", "open quote"],
)
def test_a_file_without_a_header_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "sales.csv"
    path.write_text(content)
    with pytest.raises(GatewayError, match=message):
        plan(str(path))
