"""Rules of the two wire formats beyond their keys: time windows, identities that are refused, processing options."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gateway.mapping.json_path import is_blank
from gateway.model import Dialect, JsonObject

DAY = 86400
LONG_WINDOW = 62 * DAY
"""Maximum age of an offline event, in seconds (Meta: offline events)."""
SHORT_WINDOW = 7 * DAY
"""Maximum age of an event of any other source in `conversions`, in seconds (Meta: using the API)."""
FUTURE_TOLERANCE = 300
"""Seconds that an event may lie in the future, since clocks of senders differ. Its time becomes now."""

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

REFUSED_IDENTITIES = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
"""An identity is refused if all its keys are in one of these (Meta: customer information parameters, Graph v13.0)."""


def is_weak(keys: Iterable[str]) -> bool:
    """Whether Meta refuses an identity with only these keys of `user_data`."""
    present = set(keys)
    return any(present <= refused for refused in REFUSED_IDENTITIES)


def expires_at(event: JsonObject, dialect: Dialect) -> int:
    """Unix seconds after which Meta refuses a mapped event."""
    if dialect is Dialect.CONVERSIONS and event.get("action_source") != "physical_store":
        return int(event["event_time"]) + SHORT_WINDOW
    return int(event["event_time"]) + LONG_WINDOW


def processing_options(given: Any, count_wrong_type: Callable[[], None]) -> JsonObject | None:
    """The keys of an event for its `context.dataProcessingOptions`, such as `[["LDU"], 1, 1000]`.

    None if there are none. What cannot be read calls `count_wrong_type` and switches the protection on: an error of the
    sender must not switch it off. Country 0 and state 0 let Meta locate the person.
    """
    if is_blank(given):
        return None
    match given:
        case [["LDU"] | [] as options] | (["LDU"] | [] as options):
            country, state = 0, 0
        case [["LDU"] | [] as options, int(country), int(state)] if bool not in {type(country), type(state)}:
            pass
        case [["LDU"] | [] as options, _, _]:
            count_wrong_type()
            country, state = 0, 0
        case _:
            count_wrong_type()
            options, country, state = ["LDU"], 0, 0
    return {
        "data_processing_options": options,
        "data_processing_options_country": country,
        "data_processing_options_state": state,
    }
