"""Times, birthdays and amounts: what is read, what is rejected, and what is refused because it is ambiguous."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path

import pytest

from gateway.importer.amounts import NumberReader, guess_separator
from gateway.importer.choices import DateOrder, Decimal
from gateway.importer.times import TimeReader, Unreadable, guess_order
from gateway.model import GatewayError
from tests.importer.files import calls, codes, plan, problems, sale, write

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-03-31T14:05:00Z", "2026-03-31T14:05:00+00:00"),
        ("2026-03-31 14:05:00 -0400", "2026-03-31T14:05:00-04:00"),
        ("2026-03-31T14:05:00.000+0000", "2026-03-31T14:05:00+00:00"),
        ("2026-03-31 14:05", "2026-03-31T14:05:00+02:00"),
        ("2026-12-31", "2026-12-31T00:00:00+01:00"),
        ("2026/3/1 2:05 pm", "2026-03-01T14:05:00+01:00"),
        ("31.03.2026 14:05", "2026-03-31T14:05:00+02:00"),
        ("31/03/2026 12:05 AM", "2026-03-31T00:05:00+02:00"),
        ("03/31/26, 2:05:06 PM", "2026-03-31T14:05:06+02:00"),
        ("1774965900", "2026-03-31T14:05:00+00:00"),
        ("1774965900000", "2026-03-31T14:05:00+00:00"),
    ],
)
def test_times_are_read(text: str, expected: str) -> None:
    assert TimeReader(None, BERLIN).time(text) == expected


@pytest.mark.parametrize(
    "text", ["yesterday", "31/31/2026", "2026-02-30", "2026-03-31 25:00", "2026-03-31 13:00 PM", "12", "1/2-2026"]
)
def test_other_times_are_rejected(text: str) -> None:
    with pytest.raises(Unreadable) as error:
        TimeReader(DateOrder.DAY_FIRST, BERLIN).time(text)
    assert error.value.rejection.code == "bad_time"


@pytest.mark.parametrize(
    ("text", "zone", "code"),
    [("03/04/2026", BERLIN, "ambiguous_date"), ("2026-04-03 10:00", None, "no_time_zone")],
)
def test_a_time_that_could_be_read_in_two_ways_is_not_read(text: str, zone: str | None, code: str) -> None:
    with pytest.raises(Unreadable) as error:
        TimeReader(None, zone).time(text)
    assert error.value.rejection.code == code


def test_the_order_of_a_date_is_as_set() -> None:
    assert TimeReader(DateOrder.DAY_FIRST, "UTC").time("03/04/2026").startswith("2026-04-03")
    assert TimeReader(DateOrder.MONTH_FIRST, "UTC").time("03/04/2026").startswith("2026-03-04")


def test_the_order_is_guessed_only_from_dates_that_agree() -> None:
    assert guess_order(["03/04/2026", "31/03/2026"]) is DateOrder.DAY_FIRST
    assert guess_order(["03/04/2026", "03/31/2026"]) is DateOrder.MONTH_FIRST
    assert guess_order(["03/04/2026"]) is None
    assert guess_order(["03/31/2026", "31/03/2026"]) is None


def test_the_time_zone_of_a_column_is_used() -> None:
    reader = TimeReader(None, None)
    assert reader.time("2026-07-01", "14:05:00", "Eastern Time (US & Canada)") == "2026-07-01T14:05:00-04:00"
    with pytest.raises(Unreadable):
        reader.time("2026-07-01", "14:05:00", "Nowhere")


def test_a_birthday_becomes_an_iso_date_and_keeps_no_two_digit_year() -> None:
    reader = TimeReader(DateOrder.DAY_FIRST, "UTC", "birthday_order")
    assert reader.date("03.04.1980") == "1980-04-03"
    assert reader.date(dt.date(1980, 4, 3)) == "1980-04-03"
    with pytest.raises(Unreadable, match="two digits"):
        reader.date("03.04.80")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12.5", 12.5),
        ("1,234.56", 1234.56),
        ("1.234,56", 1234.56),
        ("1,234,567", 1234567),
        ("12,50 €", 12.5),
        ("$1,234.00", 1234),
        ("USD 12.00", 12),
        ("1'234.50", 1234.5),
        ("1 234,50", 1234.5),
        ("-5.00", -5),
        ("($5.00)", -5),
        ("1234", 1234),
        (7, 7),
        (decimal.Decimal("7.25"), 7.25),
    ],
)
def test_amounts_are_read(text: object, expected: float) -> None:
    assert NumberReader(None).number(text) == expected


@pytest.mark.parametrize("text", ["free", "1.2.3,4", "12 or 13", "1e999", "(5.00", True, float("inf"), "1,23,456.0"])
def test_other_amounts_are_rejected(text: object) -> None:
    with pytest.raises(Unreadable) as error:
        NumberReader(Decimal.POINT).number(text)
    assert error.value.rejection.code == "bad_value"


def test_the_decimal_separator_is_as_set_or_shown_by_the_number() -> None:
    assert NumberReader(Decimal.POINT).number("1,234") == 1234
    assert NumberReader(Decimal.COMMA).number("1,234") == 1.234
    with pytest.raises(Unreadable) as error:
        NumberReader(None).number("1,234")
    assert error.value.rejection.code == "ambiguous_number"
    assert guess_separator(["1,234", "12,50"]) is Decimal.COMMA
    assert guess_separator(["1,234"]) is None
    assert guess_separator(["12.50", "12,50"]) is None


@pytest.mark.parametrize(
    ("changes", "setting", "option"),
    [
        ({"event_time": "03/04/2026 10:00Z"}, "`date_order`", {"date_order": "day_first"}),
        ({"event_time": "2026-04-03 10:00"}, "`time_zone`", {"time_zone": BERLIN}),
        ({"value": '"1,234"'}, "`decimal`", {"decimal": "point"}),
    ],
)
def test_an_ambiguous_value_in_the_first_rows_refuses_the_file_until_it_is_set(
    tmp_path: Path, changes: dict[str, str], setting: str, option: dict[str, str]
) -> None:
    name = write(tmp_path, sale(1, **changes))
    assert len(problems(name)) == 1
    assert problems(name)[0].startswith("line 2: ")
    assert setting in problems(name)[0]
    with pytest.raises(GatewayError, match="nothing was sent"):
        plan(name)
    assert codes(name, **option) == ["sent"]


def test_an_ambiguous_value_in_a_later_row_rejects_that_row(tmp_path: Path) -> None:
    late = sale(0, event_time="03/04/2026 10:00Z")
    name = write(tmp_path, *(sale(number) for number in range(1, 1002)), late)
    assert codes(name)[-2:] == ["sent", "ambiguous_date"]


def test_dates_of_the_first_rows_show_the_order_of_all(tmp_path: Path) -> None:
    name = write(tmp_path, sale(1, event_time="03/04/2026 10:00Z"), sale(2, event_time="31/03/2026 10:00Z"))
    assert [call["originalTimestamp"][:10] for call in calls(name)] == ["2026-04-03", "2026-03-31"]
