"""Values at paths of a source event, and their conversion to texts, numbers and times.

The slow path, redaction and `explain` use these functions. The fast path contains the same logic inline, for values in
their usual form only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

MAX_LONG_TEXT = 4096
"""Characters of the longest text that is read at all. A longer one counts as of the wrong type."""
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII).fullmatch


def at(event: Any, path: str) -> Any:
    """The value at a dotted path; None where a step is not an object."""
    for step in _steps(path):
        if event.__class__ is not dict:
            return None
        event = event.get(step)
    return event


@lru_cache(1024)
def _steps(path: str) -> Sequence[str]:
    return tuple(path.split("."))


def text_of(value: Any) -> str | None:
    """A text unchanged, a number as text; None for blank texts and other types."""
    if value.__class__ is str:
        return value if len(value) <= MAX_LONG_TEXT and not value.isspace() and value else None
    if value.__class__ is int:
        return str(value) if -(10**30) < value < 10**30 else None
    if value.__class__ is float and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 10**30 else repr(value)
    return None


def number_of(value: Any) -> int | float | None:
    """A finite number, or the number that a text contains; None for booleans and everything else."""
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
    """Whether a value counts as absent and not as one of the wrong type: null, or an empty or blank text."""
    return value is None or (value.__class__ is str and (not value or value.isspace()))


def candidates(
    event: Any, paths: Sequence[str], usable: Callable[[Any], Any], count_wrong_type: Callable[[], None]
) -> Iterator[tuple[str, Any]]:
    """Each path whose value is usable, in order, with the result of `usable`.

    `usable` returns None for a value of the wrong type, for which `count_wrong_type` is called.
    """
    for path in paths:
        value = at(event, path)
        if value is None:
            continue
        result = usable(value)
        if result is not None:
            yield path, result
        elif not is_blank(value):
            count_wrong_type()


def unix_seconds(value: Any) -> int | None:
    """A time in whole unix seconds, from ISO 8601 (UTC without an offset) or a number of seconds or milliseconds."""
    if value.__class__ is str and len(value) > 8 and value.strip().isdecimal():
        value = number_of(value)  # `fromisoformat` would read some numbers of milliseconds as dates
    if value.__class__ is str:
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            if value.upper() != value and len(value) <= 64:
                return unix_seconds(value.upper())  # RFC 3339 allows `t` and `z` in lower case
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
