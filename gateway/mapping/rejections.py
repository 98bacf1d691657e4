"""The rejections of source events: stable codes, each with its meaning and its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import Rejection


@dataclass(frozen=True, slots=True)
class Reason:
    """The documentation of one rejection code."""

    meaning: str
    remedy: str


REJECTIONS: Mapping[str, Reason] = {
    "not_an_object": Reason("The event is not a JSON object.", "Send each event as an object."),
    "unknown_type": Reason(
        "An event of a batch has no `type`, or an unknown one.",
        "Set `type` to track, identify, page, screen, group or alias.",
    ),
    "missing_event_name": Reason(
        "The track call has no event name (`event`).", "Set `event`, for example to `Order Completed`."
    ),
    "unmapped_event": Reason(
        "The event name is mapped to standard events for which no event set is configured.",
        "Map the name in `events_to_standard`, and list its standard event in `standard_to_event_sets`.",
    ),
    "no_match_key": Reason(
        "The event has no identity of the customer.",
        "Send at least one identity; an email, a phone number and a `userId` match best.",
    ),
    "weak_match_keys": Reason(
        "The identity is one of the combinations that Meta refuses as too broad (`conversions`).",
        "Add an email, a phone number, a `userId`, or a full name with a city.",
    ),
    "event_time_invalid": Reason(
        "`originalTimestamp` or `timestamp` cannot be read as a time.",
        "Send ISO 8601, or unix seconds or milliseconds.",
    ),
    "event_time_too_old": Reason(
        "The event is older than Meta accepts: 62 days; in `conversions` 7 days unless it is from a physical store.",
        "Send sales sooner; for a store's sales set `action_source` to `physical_store`.",
    ),
    "event_time_in_future": Reason(
        "The event's time is more than five minutes in the future.", "Correct the clock or the time zone of the sender."
    ),
    "purchase_without_value": Reason(
        'The purchase has no value, and `purchase_without_value` is "reject".',
        "Send `properties.total` or `properties.value`, or set `value_field`.",
    ),
    "website_incomplete": Reason(
        "The `action_source` is `website`, and the event has no user agent or no page URL (`conversions`). Meta "
        "refuses the whole call for it.",
        "Send `context.userAgent` and `context.page.url`, or the `action_source` that is true for the event.",
    ),
    "app_incomplete": Reason(
        "The `action_source` is `app`, and the event has no `app_data` (`conversions`). Meta refuses the whole call "
        "for it.",
        "Send `properties.app_data`, or the `action_source` that is true for the event.",
    ),
    "event_too_large": Reason(
        "The mapped event is larger than `server.max_event_bytes`.",
        "Send fewer or shorter properties, or raise the limit.",
    ),
}


def rejected(code: str, detail: str) -> Rejection:
    """A rejection. Its message is `detail` and the remedy. `detail` contains no value of the event except its name."""
    return Rejection(code, f"{detail} {REJECTIONS[code].remedy}")
