"""The sandbox's Dataset Quality and dataset endpoints, computed from the events that it received. Pure.

The scores follow no formula of Meta, which is not public: they only rise with what Meta says it rates, so that a change
of the settings or of the sender can be seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from gateway.model import JsonObject, UnixSeconds

DAY = 86_400.0
GOOD_SCORE = 8.5
"""Composite score from which on Meta offers further ad products (Meta: Dataset Quality API)."""
_EMAIL, _PHONE = ("em", "email"), ("ph", "phone")
_WEB_KEYS: Mapping[str, tuple[str, ...]] = {
    "email": _EMAIL,
    "phone": _PHONE,
    "external_id": ("external_id", "extern_id"),
    "ip_address": ("client_ip_address",),
    "user_agent": ("client_user_agent",),
    "fbc": ("fbc",),
    "fbp": ("fbp",),
}


def dataset_quality(received: Sequence[JsonObject], now: UnixSeconds) -> JsonObject:
    """The response of `/dataset_quality` for the events of one dataset."""
    offline: dict[str, list[JsonObject]] = defaultdict(list)
    web: dict[str, list[JsonObject]] = defaultdict(list)
    for event in received:
        group = web if event.get("action_source") == "website" else offline
        group[str(event.get("event_name"))].append(event)
    return {
        "offline": [_offline(name, events, now) for name, events in sorted(offline.items())],
        "web": [_web(name, events) for name, events in sorted(web.items())],
    }


def dataset_fields(event_set: str, received: Sequence[JsonObject]) -> JsonObject:
    """The response of `/{dataset}` for the events of one dataset."""
    if not received:
        return {"id": event_set, "valid_entries": 0, "matched_entries": 0, "duplicate_entries": 0}
    matched = sum(_has(event, _EMAIL) or _has(event, _PHONE) for event in received)
    ids = [event["event_id"] for event in received if "event_id" in event]
    times = [int(event["event_time"]) for event in received]
    return {
        "id": event_set,
        "valid_entries": len(received),
        "matched_entries": matched,
        "match_rate_approx": round(100 * matched / len(received)),
        "duplicate_entries": len(ids) - len(set(ids)),
        "event_time_min": min(times),
        "event_time_max": max(times),
    }


def _offline(name: str, events: Sequence[JsonObject], now: UnixSeconds) -> JsonObject:
    email, phone = _percent(events, _EMAIL), _percent(events, _PHONE)
    match_key = round(min(10.0, email * 0.07 + phone * 0.04), 1)
    ages = sorted(max(0.0, now - float(event["event_time"])) for event in events)
    freshness = round(max(0.0, 10.0 - ages[len(ages) // 2] / DAY), 1)
    days = len({int(event["event_time"]) // int(DAY) for event in events})
    frequency = min(10.0, 4.0 + 3.0 * days)
    composite = round(0.5 * match_key + 0.25 * freshness + 0.25 * frequency, 1)
    return {
        "event_name": name,
        "composite": _advised(composite, f"Aim for a score of {GOOD_SCORE} or more."),
        "match_key": {
            **_advised(match_key, "Send the email address and the phone number of more customers."),
            "coverage": {"email": email, "phone": phone},
        },
        "frequency": _advised(frequency, "Send events every day."),
        "freshness": _advised(freshness, "Send events sooner after the sale."),
    }


def _web(name: str, events: Sequence[JsonObject]) -> JsonObject:
    coverage = {key: _percent(events, names) for key, names in _WEB_KEYS.items()}
    return {
        "event_name": name,
        "event_match_quality": {
            "composite_score": round(sum(coverage.values()) / len(coverage) / 10, 1),
            "match_key_feedback": [
                {"identifier": key, "coverage": {"percentage": share}} for key, share in coverage.items() if share
            ],
        },
        "data_freshness": {"upload_frequency": "real_time"},
    }


def _advised(score: float, recommendation: str) -> JsonObject:
    return {"score": score, **({"recommendation": recommendation} if score < GOOD_SCORE else {})}


def _percent(events: Sequence[JsonObject], keys: Sequence[str]) -> float:
    return round(100 * sum(_has(event, keys) for event in events) / len(events), 1)


def _has(event: JsonObject, keys: Sequence[str]) -> bool:
    identity = event.get("user_data") or event.get("match_keys") or {}
    return any(identity.get(key) for key in keys)
