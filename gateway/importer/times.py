"""Reads times and dates. A text that could be read in two ways is not read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.importer.choices import DateOrder
from gateway.model import Rejection

_CLOCK = r"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,]\d{1,9})?)?(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
_OFFSET = r"(?P<offset>Z|UTC|GMT|[+-]\d\d:?(?:\d\d)?)"
_DATE = (
    r"(?:(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)"
    r"|(?P<first>\d\d?)(?P<sign>[-/.])(?P<second_part>\d\d?)(?P=sign)(?P<last>\d{4}|\d\d))"
)
_TIME = re.compile(rf"{_DATE}(?:(?:T|,?\s+){_CLOCK}\s*{_OFFSET}?)?", re.ASCII).fullmatch
_TIME_OF_DAY = re.compile(_CLOCK, re.ASCII).fullmatch
_UNIX = re.compile(r"\d{9,10}(?:\.\d+)?|\d{13}", re.ASCII).fullmatch

ZONE_NAMES: Mapping[str, str] = {
    "Eastern Time (US & Canada)": "America/New_York",
    "Central Time (US & Canada)": "America/Chicago",
    "Mountain Time (US & Canada)": "America/Denver",
    "Pacific Time (US & Canada)": "America/Los_Angeles",
    "Arizona": "America/Phoenix",
    "Alaska": "America/Anchorage",
    "Hawaii": "Pacific/Honolulu",
}
"""Names of time zones in Square's exports."""


class Unreadable(Exception):
    """A value that cannot be read, or that could be read in two ways."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


AMBIGUOUS_DATE = "ambiguous_date"
NO_TIME_ZONE = "no_time_zone"


class _Date(NamedTuple):
    year: int
    month: int
    day: int


class TimeReader:
    """Reads the times of one column."""

    def __init__(self, order: DateOrder | None, zone: str | None, setting: str = "date_order") -> None:
        """`order` and `zone`: None if they are not known. `setting`: name of the setting for the order."""
        self._order = order
        self._zone = ZoneInfo(zone) if zone else None
        self._setting = setting
        self._zones: dict[str, ZoneInfo] = {}

    def time(self, cell: Any, time_of_day: str = "", zone_name: str = "") -> str:
        """A time in ISO 8601 with its offset. Raises `Unreadable`. Runs once a row."""
        if isinstance(cell, datetime):
            return self._with_zone(cell, zone_name).isoformat()
        text = cell.strip() if isinstance(cell, str) else str(cell)
        if text[4:5] == "-" and text[10:11] in {"T", " "}:  # the usual form, in a tenth of the time
            with suppress(ValueError):
                moment = datetime.fromisoformat(text)
                return (moment if moment.tzinfo else self._with_zone(moment, zone_name)).isoformat()
        if _UNIX(text):
            seconds = float(text) / (1000 if len(text) == 13 else 1)
            return datetime.fromtimestamp(seconds, UTC).isoformat()
        match = _TIME(text)
        if match is None:
            raise _bad_time()
        day = self._date(match)
        clock = _TIME_OF_DAY(time_of_day) if time_of_day and match["hour"] is None else match
        if clock is None:
            raise _bad_time()
        try:
            moment = datetime(day.year, day.month, day.day, *_clock(clock))  # noqa: DTZ001 (zone below)
        except ValueError:
            raise _bad_time() from None
        if match["offset"]:
            return moment.replace(tzinfo=_offset(match["offset"])).isoformat()
        return self._with_zone(moment, zone_name).isoformat()

    def date(self, cell: Any) -> str:
        """A date as `YYYY-MM-DD`. Raises `Unreadable`."""
        if isinstance(cell, date):
            return cell.isoformat()[:10]
        match = _TIME(cell.strip() if isinstance(cell, str) else str(cell))
        if match is None:
            raise _bad_date()
        if match["last"] and len(match["last"]) == 2:
            raise Unreadable(
                Rejection("bad_birthday", "The year of birth has two digits. Write it with four, or leave it out.")
            )
        day = self._date(match)
        try:
            return date(day.year, day.month, day.day).isoformat()
        except ValueError:
            raise _bad_date() from None

    def _date(self, match: re.Match[str]) -> _Date:
        """The date of a match. Raises `Unreadable` when its order is not known."""
        if match["year"]:
            return _Date(int(match["year"]), int(match["month"]), int(match["day"]))
        first, second, last = int(match["first"]), int(match["second_part"]), match["last"]
        year = int(last) if len(last) == 4 else 2000 + int(last)
        order = self._order or order_of(match)
        if order is None:
            message = (
                f"The date could have the day or the month first. Set `{self._setting}` to day_first or month_first."
            )
            raise Unreadable(Rejection(AMBIGUOUS_DATE, message))
        month, day = (second, first) if order is DateOrder.DAY_FIRST else (first, second)
        return _Date(year, month, day)

    def _with_zone(self, moment: datetime, zone_name: str) -> datetime:
        if moment.tzinfo is not None:
            return moment
        zone = self._named_zone(zone_name) if zone_name else self._zone
        if zone is None:
            message = "The time has no UTC offset, and no time zone is set. Set `time_zone`, such as Europe/Berlin."
            raise Unreadable(Rejection(NO_TIME_ZONE, message))
        return moment.replace(tzinfo=zone)

    def _named_zone(self, name: str) -> ZoneInfo:
        if name in self._zones:
            return self._zones[name]
        try:
            zone = ZoneInfo(ZONE_NAMES.get(name, name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            if self._zone is None:
                message = "The time zone is unknown. Use a name such as Europe/Berlin, or set `time_zone`."
                raise Unreadable(Rejection(NO_TIME_ZONE, message)) from None
            zone = self._zone
        if len(self._zones) < 1000:
            self._zones[name] = zone
        return zone


def order_of(match: re.Match[str]) -> DateOrder | None:
    """The order that a date itself shows: a part above 12 is the day; with points, the day comes first."""
    if match["sign"] == "." or int(match["first"]) > 12:
        return DateOrder.DAY_FIRST
    return DateOrder.MONTH_FIRST if int(match["second_part"]) > 12 else None


def guess_order(cells: Iterable[Any]) -> DateOrder | None:
    """The order that the dates of a column show; None if they show none, or both."""
    matches = (_TIME(cell.strip()) for cell in cells if isinstance(cell, str))
    orders = {order for match in matches if match and match["first"] and (order := order_of(match))}
    return orders.pop() if len(orders) == 1 else None


def _clock(match: re.Match[str]) -> tuple[int, int, int]:
    if match["hour"] is None:
        return 0, 0, 0
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if match["half"] in "Pp" else 0)
    return hour, int(match["minute"]), int(match["second"] or 0)


def _offset(text: str) -> timezone:
    if text[0] not in "+-":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    if minutes >= 24 * 60:
        raise _bad_time()
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


def _bad_time() -> Unreadable:
    message = (
        "The time cannot be read. Write it as 2026-03-31 14:05, 31.03.2026 14:05, 03/31/2026 2:05 PM, or unix seconds."
    )
    return Unreadable(Rejection("bad_time", message))


def _bad_date() -> Unreadable:
    return Unreadable(
        Rejection("bad_birthday", "The birthday cannot be read. Write it as 1980-03-31, or leave it out.")
    )
