"""The patient way to a value: walk the listed paths one by one.

The compiled mapper takes it for what is unusual; `seal` and `explain` take it always.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII).fullmatch
MOST_TEXT = 4096
"""Characters beyond which a text counts as of the wrong type, whatever its field."""


def at(event: Any, path: str) -> Any:
    """The value at a dotted path; None where a step is not an object."""
    for step in path.split("."):
        if event.__class__ is not dict:
            return None
        event = event.get(step)
    return event


def text_of(value: Any) -> str | None:
    """A text as it stands, a number written out; None for anything else and for blanks."""
    if value.__class__ is str:
        return value if len(value) <= MOST_TEXT and not value.isspace() and value else None
    if value.__class__ is int:
        return str(value) if -(10**30) < value < 10**30 else None
    if value.__class__ is float and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 10**30 else repr(value)
    return None


def number_of(value: Any) -> int | float | None:
    """A finite number, or a text that is one; no booleans."""
    if value.__class__ is int:
        return value if -(2**63) <= value < 2**63 else float(value) if abs(value) < 10**300 else None
    if value.__class__ is str and len(value) <= 64 and _NUMBER(value.strip()):
        text = value.strip()
        value = int(text) if text.lstrip("+-").isdecimal() and len(text) < 19 else float(text)
        return value if math.isfinite(value) else None
    if value.__class__ is float and math.isfinite(value):
        return value
    return None


def is_blank(value: Any) -> bool:
    """Whether a value counts as absent without being of the wrong type."""
    return value is None or (value.__class__ is str and (not value or value.isspace()))


def candidates(
    event: Any, paths: Sequence[str], usable: Callable[[Any], Any], count_wrong_type: Callable[[], None]
) -> Iterator[tuple[str, Any]]:
    """The paths with what is usable of their values, in order; values of the wrong type are told to `wrong`."""
    for path in paths:
        value = at(event, path)
        if is_blank(value):
            continue
        found = usable(value)
        if found is None:
            count_wrong_type()
        else:
            yield path, found


def unix_seconds(value: Any) -> int | None:
    """A time as whole unix seconds: ISO 8601 (UTC without an offset), or a number, scaled when in milliseconds."""
    if value.__class__ is str and len(value) > 8 and value.strip().isdecimal():
        value = number_of(value)  # `fromisoformat` would see a date in milliseconds
    if value.__class__ is str:
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            if value.upper() != value and len(value) <= 64:
                return unix_seconds(value.upper())  # RFC 3339 lets `t` and `z` be small
            value = number_of(value)
        else:
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            try:
                return math.floor(moment.timestamp())
            except (OverflowError, ValueError):
                return None
    if value.__class__ is int or value.__class__ is float:
        seconds = value
        while abs(seconds) > 10**11 and abs(seconds) < 10**20:
            seconds /= 1000
        return math.floor(seconds) if 0 <= seconds <= 10**11 else None
    return None
