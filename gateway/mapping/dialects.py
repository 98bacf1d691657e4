"""What the two wire formats demand of an event beyond their keys: windows of time, identities, options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gateway.model import Dialect, JsonObject

DAY = 86400
LONG_WINDOW = 62 * DAY
"""Seconds that an offline event may be old (Meta: offline events)."""
SHORT_WINDOW = 7 * DAY
"""The same for any other source in `conversions` (Meta: using the API)."""
FUTURE_TOLERANCE = 300
"""Seconds that a sender's clock may be ahead; the time becomes now."""

ACTION_SOURCES = frozenset(
    {
        "email",
        "website",
        "app",
        "phone_call",
        "chat",
        "physical_store",
        "system_generated",
        "business_messaging",
        "other",
    }
)

_TOO_BROAD = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
"""An identity within one of these is refused (Meta: customer information parameters, since Graph v13.0)."""


def is_weak(keys: Iterable[str]) -> bool:
    """Whether Meta refuses an identity of only these keys of `user_data`."""
    present = set(keys)
    return any(present <= broad for broad in _TOO_BROAD)


def expires_at(event: JsonObject, dialect: Dialect) -> int:
    """Unix seconds after which Meta refuses an event as it stands in an upload."""
    if dialect is Dialect.CONVERSIONS and event.get("action_source") != "physical_store":
        return int(event["event_time"]) + SHORT_WINDOW
    return int(event["event_time"]) + LONG_WINDOW


def processing_options(given: Any, count_wrong_type: Callable[[], None]) -> JsonObject | None:
    """`context.dataProcessingOptions` (`[["LDU"], 1, 1000]`) as the keys of an event."""
    if given is None:
        return None
    match given:
        case [["LDU"] | [] as options]:
            country, state = 0, 0
        case [["LDU"] | [] as options, int(country), int(state)] if bool not in {type(country), type(state)}:
            pass
        case [["LDU"] | [] as options, _, _]:
            # A fault in the numbers may not switch the protection off.
            count_wrong_type()
            country, state = 0, 0
        case _:
            count_wrong_type()
            return None
    return {
        "data_processing_options": options,
        "data_processing_options_country": country,
        "data_processing_options_state": state,
    }
