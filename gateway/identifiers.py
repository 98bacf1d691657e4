"""The IDs by which an operator finds an event: its message ID and its order ID.

Senders choose both, so they are kept as short, printable texts. A filter for an ID is shortened in the same way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

from gateway.escaping import printable

MAX_ID_LENGTH = 200
"""Characters of an ID; the rest is cut."""


class EventIds(NamedTuple):
    """The IDs of one event; None if it has none, or if it is not known."""

    message_id: str | None = None
    order_id: str | None = None


NO_IDS = EventIds()


def short_id(value: Any) -> str | None:
    """A text as an ID: printable, at most `MAX_ID_LENGTH` characters. None for an empty text and other types."""
    if value.__class__ is not str or not value:
        return None
    return printable(value[:MAX_ID_LENGTH])[:MAX_ID_LENGTH]


def ids_of_mapped(body: bytes) -> EventIds:
    """The IDs in an event as it is uploaded, in either dialect; none if it is no JSON object.

    `conversions` has `event_id`, which is the message ID unless the sender gave an `event_id` of its own, and
    `custom_data.order_id`. `offline` has only `order_id`.
    """
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return NO_IDS
    if event.__class__ is not dict:
        return NO_IDS
    place = event if "match_keys" in event else event.get("custom_data")  # an event of `offline` may have both
    order_id = place.get("order_id") if place.__class__ is dict else None
    return EventIds(short_id(event.get("event_id")), short_id(order_id))
