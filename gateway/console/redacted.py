"""Events as they are shown: which keys they have, the first digits of hashes, and few values that name no person.

A stored event has no personal values in plain text except those that Meta takes so (user agent, IP address, browser
IDs), but it has what senders put into properties. So a value is shown only if its key is known and its form is right.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gateway.console.formats import shown
from gateway.mapping.personal import is_personal_text

HASH_DIGITS = 6
HIDDEN = "(hidden)"
MAX_DEPTH = 12
"""Levels of an event that are shown."""
MAX_ITEMS = 50
"""Items of a list, and keys of an object, that are shown."""

_HASH = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9TZ:.+ -]{10,35}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_time(value: Any) -> bool:
    return _is_number(value) or (isinstance(value, str) and _TIME.fullmatch(value) is not None)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 60 and value.isprintable() and not is_personal_text(value)


SHOWN: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("event", "event_name", "type", "action_source", "content_type"), _is_word),
    **dict.fromkeys(("event_time", "timestamp", "originalTimestamp", "sentAt"), _is_time),
    **dict.fromkeys(("value", "total", "revenue", "price", "item_price", "quantity"), _is_number),
    "currency": lambda value: isinstance(value, str) and len(value) == 3 and value.isalpha(),
}
"""Keys whose values are shown, and the form that the value must have."""
IDS = frozenset({"messageId", "event_id", "order_id", "orderId"})
"""Keys whose values are shown where the settings allow IDs."""


def shown_id(identifier: str | None, *, shows_ids: bool) -> str | None:
    """An ID as it is shown: not if the settings hide IDs, and not if a sender uses an address or the like as an ID."""
    if identifier is None or not shows_ids:
        return None
    return HIDDEN if is_personal_text(identifier) else identifier


def short_hashes(event: Any, *, shows_ids: bool) -> Any:
    """The event with a short description in place of each value that is not shown."""
    return _reduced("", event, shows_ids, 0)


def _reduced(key: str, value: Any, shows_ids: bool, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return "(more)"
    if isinstance(value, dict):
        items = list(value.items())[:MAX_ITEMS]
        reduced = {_name(name): _reduced(name, inner, shows_ids, depth + 1) for name, inner in items}
        return reduced if len(value) <= MAX_ITEMS else {**reduced, "(more)": len(value) - MAX_ITEMS}
    if isinstance(value, list):
        reduced_items = [_reduced(key, inner, shows_ids, depth + 1) for inner in value[:MAX_ITEMS]]
        return reduced_items if len(value) <= MAX_ITEMS else [*reduced_items, f"({len(value) - MAX_ITEMS} more)"]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and _HASH.fullmatch(value):
        return f"{value[:HASH_DIGITS]}…"
    if key in SHOWN and SHOWN[key](value):
        return value
    if shows_ids and key in IDS and not is_personal_text(str(value)):
        return shown(value)
    return f"({len(value)} characters)" if isinstance(value, str) else "(number)"


def _name(key: str) -> str:
    return HIDDEN if is_personal_text(key) else shown(key)
