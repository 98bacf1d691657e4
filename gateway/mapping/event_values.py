"""Values on the event in `conversions` that are not just texts: their forms that Meta accepts.

Each function converts a value of the source event. It returns None for one in another form, which is left out: Meta
refuses the whole call for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from gateway.mapping import normalise
from gateway.mapping.json_path import MAX_LONG_TEXT, is_blank, text_of, unix_seconds
from gateway.mapping.personal import clean_url
from gateway.model import JsonObject

CUSTOMER_SEGMENTS = frozenset(
    {
        "new_customer_to_business",
        "new_customer_to_business_line",
        "new_customer_to_product_area",
        "new_customer_to_medium",
        "existing_customer_to_business",
        "existing_customer_to_business_line",
        "existing_customer_to_product_area",
        "existing_customer_to_medium",
        "customer_in_loyalty_program",
    }
)
"""Meta: server event parameters."""
_NOT_OPTED_OUT = frozenset({"false", "0", "no"})


def _is_text(value: Any) -> bool:
    return value.__class__ is str and not is_blank(value)


def _is_text_or_number(value: Any) -> bool:
    return _is_text(value) or (value.__class__ in {int, float} and -(2**63) <= value < 2**63)


def _is_switch(value: Any) -> bool:
    return value.__class__ in {bool, int} and value in (0, 1)


def _are_texts(value: Any) -> bool:
    return value.__class__ is list and value != [] and all(map(_is_text, value))


def _is_text_or_texts(value: Any) -> bool:
    return _is_text(value) or _are_texts(value)


def _is_device(value: Any) -> bool:
    return value.__class__ is list and all(entry.__class__ is str for entry in value) and _is_text(next(iter(value), 0))


_APP_DATA: Mapping[str, Callable[[Any], bool]] = {
    "advertiser_tracking_enabled": _is_switch,
    "application_tracking_enabled": _is_switch,
    "campaign_ids": _is_text,
    "consider_views": _is_switch,
    "extinfo": _is_device,
    "include_dwell_data": _is_switch,
    "include_video_data": _is_switch,
    "install_referrer": _is_text,
    "installer_package": _is_text,
    "url_schemes": _is_text_or_texts,
    "vendor_id": _is_text,
    "windows_attribution_id": _is_text,
}
"""Keys that Meta accepts in `app_data` (Meta: business SDK), and the forms of their values."""
_ATTRIBUTION_DATA: Mapping[str, Callable[[Any], bool]] = dict.fromkeys(
    (
        *("scope", "visit_time", "ad_id", "adset_id", "campaign_id", "attribution_share", "attribution_model"),
        *("attr_window", "attribution_value", "attribution_source", "touchpoint_type", "touchpoint_ts"),
        *("attribution_method", "decline_reason", "auditing_token", "linkage_key", "touchpoint_id"),
        "attribution_setting",
    ),
    _is_text_or_number,
)
"""Keys that Meta accepts in `attribution_data` (Meta: business SDK)."""
_ORIGINAL_EVENT: Mapping[str, Callable[[Any], bool]] = dict.fromkeys(("event_name", "order_id", "event_id"), _is_text)


def _accepted(value: Any, accepts: Mapping[str, Callable[[Any], bool]]) -> JsonObject:
    """The entries of an object that Meta accepts. It refuses a call with any other key."""
    if value.__class__ is not dict:
        return {}
    return {key: value[key] for key, is_accepted in accepts.items() if key in value and is_accepted(value[key])}


def opt_out(value: Any) -> bool | None:
    """Whether ads must not be optimised with the event. A value that cannot be read is an opt-out: it fails closed."""
    if is_blank(value):
        return None
    text = str(value) if value.__class__ is bool else text_of(value)
    return text is None or text.strip().lower() not in _NOT_OPTED_OUT


@lru_cache(1024)
def web_address(text: str) -> str | None:
    """An absolute web address without what looks personal in it; None for a relative or malformed one."""
    return normalise.url(clean_url(text))


def referrer_url(value: Any) -> str | None:
    """See `web_address`."""
    return web_address(value) if value.__class__ is str and len(value) <= MAX_LONG_TEXT else None


def customer_segmentation(value: Any) -> str | None:
    """One of Meta's segments."""
    return value.strip() if value.__class__ is str and value.strip() in CUSTOMER_SEGMENTS else None


def original_event_data(value: Any) -> JsonObject | None:
    """Name, time, order and ID of the event that this one refers to."""
    data = _accepted(value, _ORIGINAL_EVENT)
    seconds = unix_seconds(value.get("event_time")) if value.__class__ is dict else None
    if seconds is not None:
        data["event_time"] = seconds
    return data or None


def attribution_data(value: Any) -> JsonObject | None:
    """The keys of attribution that Meta knows."""
    return _accepted(value, _ATTRIBUTION_DATA) or None


def app_data(value: Any) -> JsonObject | None:
    """The keys of an app's event that Meta knows."""
    return _accepted(value, _APP_DATA) or None


def advertiser_tracking_enabled(value: Any) -> bool | None:
    """A boolean, or 0 or 1."""
    return bool(value) if _is_switch(value) else None
