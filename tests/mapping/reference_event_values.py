"""The values on the event in `conversions` that are not just texts, for the reference mapper."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from gateway.model import JsonObject
from tests.mapping.reference_identity import Identity
from tests.mapping.reference_privacy import without_personal_parts
from tests.mapping.reference_tables import EVENT_VALUES, SEGMENTS
from tests.mapping.reference_values import as_text, make_encodable, seconds_of

Check = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and make_encodable(value) is not None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_switch(value: Any) -> bool:
    return value in (0, 1) and isinstance(value, int)


def are_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(is_text(each) for each in value)


def is_text_or_texts(value: Any) -> bool:
    return is_text(value) or are_texts(value)


def is_device(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value) and is_text(value[0])
    )


def is_text_or_number(value: Any) -> bool:
    return is_text(value) or is_number(value)


APP_DATA: dict[str, Check] = {
    **dict.fromkeys(("advertiser_tracking_enabled", "application_tracking_enabled", "consider_views"), is_switch),
    **dict.fromkeys(("include_dwell_data", "include_video_data"), is_switch),
    **dict.fromkeys(("campaign_ids", "install_referrer", "installer_package", "vendor_id"), is_text),
    **dict.fromkeys(("windows_attribution_id",), is_text),
    "extinfo": is_device,
    "url_schemes": is_text_or_texts,
}
ATTRIBUTION_DATA: dict[str, Check] = dict.fromkeys(
    (
        *("scope", "visit_time", "ad_id", "adset_id", "campaign_id", "attribution_share", "attribution_model"),
        *("attr_window", "attribution_value", "attribution_source", "touchpoint_type", "touchpoint_ts"),
        *("attribution_method", "decline_reason", "auditing_token", "linkage_key", "touchpoint_id"),
        "attribution_setting",
    ),
    is_text_or_number,
)


def accepted(value: Any, checks: dict[str, Check]) -> JsonObject | None:
    """The entries of an object that Meta accepts; None if there are none."""
    if not isinstance(value, dict):
        return None
    return {key: value[key] for key, check in checks.items() if key in value and check(value[key])} or None


class EventValues(Identity):
    """Reads the values on the event."""

    def event_values(self) -> JsonObject:
        return {field: self.first(field, getattr(self, field)) for field in EVENT_VALUES}

    def page_url(self) -> str | None:
        url = self.text("event_source_url", accepts=lambda url: self.url(url) is not None)
        return self.url(url) if url is not None else None

    def url(self, text: str) -> str | None:
        url = without_personal_parts(text).strip()
        return url if re.fullmatch(r"https?://[^\s/?#]\S*", url, re.IGNORECASE) else None

    def opt_out(self, value: Any) -> bool | None:
        """What is there and cannot be read is an opt-out."""
        if value is None or (isinstance(value, str) and not value.strip()):
            return None
        text = str(value).strip().lower() if isinstance(value, str | bool | int | float) else ""
        return text not in {"false", "0", "0.0", "no"}

    def referrer_url(self, value: Any) -> str | None:
        text = make_encodable((as_text(value) or "").strip()) if isinstance(value, str) else None
        return self.url(text) if text else None

    def customer_segmentation(self, value: Any) -> str | None:
        return value.strip() if isinstance(value, str) and value.strip() in SEGMENTS else None

    def original_event_data(self, value: Any) -> JsonObject | None:
        if not isinstance(value, dict):
            return None
        texts = accepted(value, dict.fromkeys(("event_name", "order_id", "event_id"), is_text)) or {}
        time = as_text(value.get("event_time"))
        seconds = seconds_of(time.strip()) if time is not None else None
        return texts | ({"event_time": seconds} if seconds is not None else {}) or None

    def attribution_data(self, value: Any) -> JsonObject | None:
        return accepted(value, ATTRIBUTION_DATA)

    def app_data(self, value: Any) -> JsonObject | None:
        return accepted(value, APP_DATA)

    def advertiser_tracking_enabled(self, value: Any) -> bool | None:
        return bool(value) if is_switch(value) else None
