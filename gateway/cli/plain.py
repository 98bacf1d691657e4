"""Texts of the console for a terminal: the same numbers and sentences, without characters that only a page needs."""

from __future__ import annotations

from gateway.console import formats
from gateway.model import UnixSeconds

NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
MISSING = "-"


def plain(text: str) -> str:
    """A text of the console, with ordinary spaces and dashes."""
    return text.replace(NO_BREAK_SPACE, " ").replace(formats.MISSING, MISSING)


def duration(seconds: float | None) -> str:
    """A time span, such as `11 min` or `2 h 5 min`."""
    return plain(formats.duration(seconds))


def percent(share: float | None) -> str:
    """A share from 0 to 1, such as `71 %`."""
    return plain(formats.percent(share))


def decimal(value: float | None) -> str:
    """A number with as many digits as matter."""
    return plain(formats.decimal(value))


def utc(at: UnixSeconds | None) -> str:
    """A time in UTC, to the second."""
    return MISSING if at is None else formats.utc(at)
