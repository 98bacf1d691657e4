"""Masks the personal values of an explanation."""

from __future__ import annotations

from typing import Any

NOT_PERSONAL = frozenset(
    {
        *("event_time", "action_source", "event_source_url", "event_id", "upload_tag", "opt_out"),
        *("customer_segmentation", "original_event_data", "attribution_data", "advertiser_tracking_enabled"),
        *("value", "currency", "order_id", "item_number", "contents"),
    }
)
"""Fields whose values are never masked."""


def masked(value: Any) -> Any:
    """The value with its texts and numbers masked, but for the first and last character."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, dict):
        return {key: masked(item) for key, item in value.items()}
    text = str(value)
    return text[0] + "*" * (len(text) - 1) if len(text) < 6 else f"{text[0]}{'*' * (len(text) - 2)}{text[-1]}"
