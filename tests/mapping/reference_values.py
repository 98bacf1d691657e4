"""How the reference mapper reads JSON values: what is present, what is a number, a time, or fit to be sent on."""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import Any

from tests.mapping.reference_tables import NUMBERS, PERSONAL_NAMES, TEXTS

MILLISECONDS = 10**11
"""A time from here on counts smaller units than seconds: as seconds it would be the year 5138."""
LONGEST_TEXT = 4096
"""Characters of a text that is read at all."""
LONGEST_VALUE = 256
"""Characters of an identity that is hashed, and of an ID."""
DEEPEST = 32
"""Levels of `properties` that are passed on."""


def at(event: Any, path: str) -> Any:
    """What stands at a path of names; None where there is nothing."""
    for part in path.split("."):
        if not isinstance(event, dict):
            return None
        event = event.get(part)
    return event


def as_text(value: Any) -> str | None:
    """A text that is not blank, a number written out, or None: absent."""
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
    """The value without what stands at a path of names."""
    if not isinstance(value, dict):
        return value
    first, *rest = path
    if not rest:
        return {key: one for key, one in value.items() if key != first}
    return {key: remove_path(one, tuple(rest)) if key == first else one for key, one in value.items()}


def fit_to_send(value: Any, depth: int = 0) -> Any:
    """The value without what is named like an identity, on any level; null for what JSON or UTF-8 cannot carry."""
    if depth > DEEPEST:
        return None
    match value:
        case dict():
            kept = {key: one for key, one in value.items() if make_encodable(key) is not None}
            return {key: fit_to_send(one, depth + 1) for key, one in kept.items() if plain(key) not in PERSONAL_NAMES}
        case list():
            return [fit_to_send(one, depth + 1) for one in value]
        case str():
            return make_encodable(value)
        case int():
            return value if -(2**63) <= value < 2**64 else None
        case _:
            return value


def without_fraction(number: float) -> int | float:
    return int(number) if isinstance(number, float) and number.is_integer() else number


def plain(key: str) -> str:
    return re.sub(r"[_\-\s.]", "", key.lower())


def typed_as_meta_wants(name: str, value: Any) -> bool:
    """Whether a property of a name that Meta knows has the type that goes with it; others may be anything."""
    if name in TEXTS:
        return isinstance(value, str)
    if name in NUMBERS:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if name == "content_ids":
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if name == "delivery_category":
        return isinstance(value, str) and value in {"in_store", "curbside", "home_delivery"}
    return name != "store_data" or isinstance(value, dict)


def make_encodable(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return None
    return text
