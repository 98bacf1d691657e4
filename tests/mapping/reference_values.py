"""Conversion of JSON values to texts, numbers, times and properties to pass on, for the reference mapper."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

from tests.mapping.reference_tables import NUMBERS, TEXTS

MILLISECONDS = 10**11
"""From this number on, a time is in a smaller unit than seconds: in seconds it would be the year 5138."""
LONGEST_TEXT = 4096
"""Characters of the longest text that is read at all."""
LONGEST_VALUE = 256
"""Characters of the longest identity and of the longest ID."""
DEEPEST = 32
"""Levels of a property that are passed on."""


def at(event: Any, path: str) -> Any:
    """The value at a path of names; None if there is none."""
    for part in path.split("."):
        if not isinstance(event, dict):
            return None
        event = event.get(part)
    return event


def as_text(value: Any) -> str | None:
    """A text that is not blank, or a number as text; None for other values, which are absent."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and value.strip() and len(value) <= LONGEST_TEXT else None


def as_number(value: Any) -> int | float | None:
    if (
        isinstance(value, str)
        and len(value) <= LONGEST_VALUE
        and re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", value.strip(), re.ASCII | re.IGNORECASE)
    ):
        value = int(value) if re.fullmatch(r"[+-]?\d+", value.strip()) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if -(2**63) <= value < 2**63 else float(value)


def seconds_of(text: str) -> int | None:
    """Whole unix seconds of ISO 8601, seconds, milliseconds or microseconds."""
    number = as_number(text)
    if number is not None and not re.fullmatch(r"\d{8}", text):
        for _ in range(3):
            number = number if number < MILLISECONDS else number / 1000
        return math.floor(number) if 0 <= number < MILLISECONDS else None
    try:
        time = dt.datetime.fromisoformat(text.upper())
        return math.floor((time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def remove_path(value: Any, path: tuple[str, ...]) -> Any:
    """The value without the one at a path of names."""
    if not isinstance(value, dict):
        return value
    first, *rest = path
    if not rest:
        return {key: inner for key, inner in value.items() if key != first}
    return {key: remove_path(inner, tuple(rest)) if key == first else inner for key, inner in value.items()}


def without_fraction(number: float) -> int | float:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def plain(key: str) -> str:
    return re.sub(r"[_\-\s.]", "", key.lower())


def has_accepted_type(name: str, value: Any) -> bool:
    """Whether Meta accepts the type of a property's value. Only the names that Meta knows have a required type."""
    if name in TEXTS:
        return isinstance(value, str)
    if name in NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name == "content_ids":
        return isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    if name == "delivery_category":
        return isinstance(value, str) and value in {"in_store", "curbside", "home_delivery"}
    return name != "store_data" or isinstance(value, dict)


def make_encodable(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text
