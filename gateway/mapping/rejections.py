"""Why a source event cannot be mapped: stable codes, what each means, and how to mend it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Rejection


@dataclass(frozen=True, slots=True)
class Reason:
    """One code of rejection."""

    meaning: str
    remedy: str


REJECTIONS: Mapping[str, Reason] = {
    "not_an_object": Reason("The event is not a JSON object.", "Send each event as an object."),
    "unknown_type": Reason(
        "The event of a batch has no `type`, or one that is not known.",
        "Set `type` to track, identify, page, screen, group or alias.",
    ),
    "missing_event_name": Reason("A track call without `event`.", "Name the event, as in `Order Completed`."),
    "unmapped_event": Reason(
        "No event set is listed for the standard events that the name stands for.",
        "List the name in `events_to_standard` and its standard event in `standard_to_event_sets`.",
    ),
    "no_match_key": Reason(
        "Nothing in the event says who the customer is.",
        "Send at least one identity, best an email, a phone number or a `userId`.",
    ),
    "weak_match_keys": Reason(
        "The identity is one of the combinations that Meta refuses as too broad (`conversions`).",
        "Add an email, a phone number, a `userId`, or a full name with a city.",
    ),
    "event_time_invalid": Reason(
        "`originalTimestamp` or `timestamp` is no time.", "Send ISO 8601, or unix seconds or milliseconds."
    ),
    "event_time_too_old": Reason(
        "The event is older than Meta takes: 62 days; in `conversions` 7 days unless it is from a physical store.",
        "Send sales sooner; for a store's sales set `action_source` to `physical_store`.",
    ),
    "event_time_in_future": Reason(
        "The event lies more than five minutes ahead.", "Set the sender's clock and its time zone."
    ),
    "purchase_without_value": Reason(
        'A purchase without a value, and `purchase_without_value` is "reject".',
        "Send `properties.total` or `properties.value`, or set `value_field`.",
    ),
    "event_too_large": Reason(
        "The event is larger than `server.max_event_bytes`.", "Send fewer or shorter properties, or raise the limit."
    ),
}


def rejected(code: str, detail: str) -> Rejection:
    """A rejection with what is particular about this event; `detail` holds no value of it but its name."""
    return Rejection(code, f"{detail} {REJECTIONS[code].remedy}")
