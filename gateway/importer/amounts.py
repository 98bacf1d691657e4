"""Reads amounts of money. A text that could be read in two ways is not read."""

from __future__ import annotations

import decimal
import math
import re
from collections.abc import Iterable
from typing import Any

from gateway.importer.choices import Decimal
from gateway.importer.times import Unreadable
from gateway.model import Rejection

AMBIGUOUS_NUMBER = "ambiguous_number"
MAX_DIGITS = 30

_SYMBOL = r"(?:[A-Za-z]{0,3}[$€£¥₹₩₺₽₪₫฿]|[A-Za-z]{2,3}\.?)?"
_AMOUNT = re.compile(
    rf"(?P<sign>[-+(]?)\s*{_SYMBOL}\s*(?P<inner>[-+]?)(?P<digits>\d[\d.,'’\s]*|[.,]\d+)\s*{_SYMBOL}\s*(?P<end>\)?)",
    re.ASCII,
).fullmatch
_USUAL = re.compile(r"\d{1,12}(?:\.\d{1,2})?", re.ASCII).fullmatch
"""Amounts that need no more than `float`, unless the decimal separator is a comma."""
_GROUPED = re.compile(r"\d{1,3}(?:([.,])\d{3})(?:\1\d{3})*", re.ASCII).fullmatch
_SEPARATORS = {Decimal.POINT: ".", Decimal.COMMA: ","}


class NumberReader:
    """Reads the amounts of one column."""

    def __init__(self, separator: Decimal | None) -> None:
        """`separator`: None if it is not known."""
        self._separator = separator

    def number(self, cell: Any) -> float:
        """An amount. Raises `Unreadable`. Runs once a row."""
        if isinstance(cell, int | float | decimal.Decimal) and not isinstance(cell, bool):
            return _finite(float(cell))
        if isinstance(cell, str) and self._separator is not Decimal.COMMA and _USUAL(cell):
            return float(cell)
        match = _AMOUNT(_plain_spaces(cell)) if isinstance(cell, str) else None
        if match is None or (match["sign"] == "(") != bool(match["end"]) or len(match["digits"]) > MAX_DIGITS:
            raise _bad_number()
        digits = re.sub(r"[\s'’]", "", match["digits"])
        separator = self._separator or separator_of(digits)
        if separator is None:
            message = "The number could have a decimal or a thousands separator. Set `decimal` to point or comma."
            raise Unreadable(Rejection(AMBIGUOUS_NUMBER, message))
        amount = _finite(float(_with_point(digits, _SEPARATORS[separator])))
        return -amount if "-" in match["sign"] + match["inner"] or match["sign"] == "(" else amount


def _plain_spaces(text: str) -> str:
    return text.replace("\u00a0", " ").replace("\u202f", " ").strip()


def _with_point(digits: str, separator: str) -> str:
    """The digits with a decimal point and without thousands separators. Raises `Unreadable`."""
    whole, _, decimals = digits.partition(separator)
    if not decimals.isdecimal() and decimals:
        raise _bad_number()
    thousands = "," if separator == "." else "."
    if thousands in whole and not _GROUPED(whole):
        raise _bad_number()
    return f"{whole.replace(thousands, '') or '0'}.{decimals or '0'}"


def separator_of(digits: str) -> Decimal | None:
    """The decimal separator that a number itself shows; None if it could be a thousands separator.

    Without any separator, both are right.
    """
    points, commas = digits.count("."), digits.count(",")
    if points and commas:
        return Decimal.POINT if digits.rindex(".") > digits.rindex(",") else Decimal.COMMA
    if not points and not commas:
        return Decimal.POINT
    mark, count = (".", points) if points else (",", commas)
    own, other = (Decimal.POINT, Decimal.COMMA) if mark == "." else (Decimal.COMMA, Decimal.POINT)
    if count > 1:
        return other
    whole, _, decimals = digits.partition(mark)
    return None if len(decimals) == 3 and 1 <= len(whole) <= 3 and whole != "0" else own


def guess_separator(cells: Iterable[Any]) -> Decimal | None:
    """The decimal separator that the numbers of a column show; None if they show none, or both."""
    found = set()
    for cell in cells:
        match = _AMOUNT(_plain_spaces(cell)) if isinstance(cell, str) else None
        if match and ("." in match["digits"] or "," in match["digits"]):
            found.add(separator_of(re.sub(r"[\s'’]", "", match["digits"])))
    found.discard(None)
    return found.pop() if len(found) == 1 else None


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise _bad_number()
    return number


def _bad_number() -> Unreadable:
    message = "The value cannot be read as an amount of money. Write it as 1234.50, or leave it empty."
    return Unreadable(Rejection("bad_value", message))
