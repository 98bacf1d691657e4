"""Validates a decoded call as Meta does, as far as Meta's rules are known. Pure functions.

Meta refuses a whole call for one invalid event, so the validation is strict: where Meta's documentation is unclear, the
stricter reading is used. Sources are Meta's parameter pages and published error reports.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from gateway.model import Dialect, JsonObject

DAY = 86400
MAX_EVENTS = {Dialect.CONVERSIONS: 1000, Dialect.OFFLINE: 2000}
MAX_AGE = 62 * DAY
"""Seconds; of store events, and of all events in the legacy format."""
MAX_AGE_ELSEWHERE = 7 * DAY
MAX_AHEAD = 60
"""Seconds that an event may be in the future. Meta documents no tolerance, and its own uploader has none."""

CALL_KEYS = frozenset(
    {
        "access_token",
        "appsecret_proof",
        "data",
        "namespace_id",
        "partner_agent",
        "platforms",
        "progress",
        "test_event_code",
        "trace",
        "upload_id",
        "upload_source",
        "upload_tag",
    }
)
EVENT_KEYS = {
    Dialect.CONVERSIONS: frozenset(
        {
            "action_source",
            "advanced_measurement_table",
            "advertiser_tracking_enabled",
            "app_data",
            "attribution_data",
            "custom_data",
            "customer_segmentation",
            "data_processing_options",
            "data_processing_options_country",
            "data_processing_options_state",
            "event_id",
            "event_name",
            "event_source_url",
            "event_time",
            "extinfo",
            "messaging_channel",
            "opt_out",
            "original_event_data",
            "referrer_url",
            "user_data",
        }
    ),
    Dialect.OFFLINE: frozenset(
        {
            "action_source",
            "content_ids",
            "content_type",
            "contents",
            "currency",
            "custom_data",
            "data_processing_options",
            "data_processing_options_country",
            "data_processing_options_state",
            "event_name",
            "event_source_url",
            "event_time",
            "item_number",
            "match_keys",
            "order_id",
            "value",
        }
    ),
}
HASHED_KEYS = {
    Dialect.CONVERSIONS: frozenset(
        {
            *("em", "ph", "ge", "db", "fn", "ln", "ct", "st", "zp", "country"),
            *("fi", "f5first", "f5last", "doby", "dobm", "dobd"),
        }
    ),
    Dialect.OFFLINE: frozenset(
        {
            *("email", "phone", "gen", "doby", "dobm", "dobd", "fn", "ln", "fi", "f5first", "f5last"),
            *("ct", "st", "zip", "country", "madid"),
        }
    ),
}
PLAIN_KEYS = {
    Dialect.CONVERSIONS: frozenset(
        {
            *("external_id", "madid", "lead_id", "client_user_agent", "fbc", "fbp", "client_ip_address"),
            *("subscription_id", "anon_id", "fb_login_id", "page_id", "page_scoped_user_id", "ctwa_clid"),
            *("ig_account_id", "ig_sid", "partner_id", "partner_name", "app_user_id"),
        }
    ),
    Dialect.OFFLINE: frozenset({"extern_id", "lead_id", "appuid", "pageuid", "client_user_agent", "fbc", "fbp"}),
}
CONTENTS_KEYS = {
    Dialect.CONVERSIONS: frozenset(
        {"id", "quantity", "item_price", "title", "description", "brand", "category", "delivery_category"}
    ),
    Dialect.OFFLINE: frozenset({"id", "quantity", "price", "brand", "category", "title", "description"}),
}
ACTION_SOURCES = frozenset(
    {
        *("email", "website", "app", "phone_call", "chat", "physical_store", "system_generated"),
        *("business_messaging", "other"),
    }
)
OFFLINE_EVENT_NAMES = frozenset(
    {
        *("AddPaymentInfo", "AddToCart", "AddToWishlist", "CompleteRegistration", "Contact", "CustomizeProduct"),
        *("Donate", "FindLocation", "InitiateCheckout", "Lead", "Other", "Purchase", "Schedule", "Search"),
        *("StartTrial", "SubmitApplication", "Subscribe", "ViewContent"),
    }
)
_TOO_BROAD = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_MADID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII).fullmatch

# Meta's error subcodes.
GENERAL = 2804019
TOO_OLD = 2804003
NO_VALUE = 2804009
NO_CURRENCY = 2804010
NO_CUSTOMER = 2804050


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


NOT_NORMALISED: Mapping[str, frozenset[str]] = {
    "": frozenset(map(_sha, ("", " "))),
    "ge": frozenset(map(_sha, ("M", "F", "male", "female", "Male", "Female", "MALE", "FEMALE"))),
    "country": frozenset(
        map(_sha, ("US", "USA", "usa", "United States", "DE", "de-DE", "GB", "UK", "uk", "FR", "Germany", "France"))
    ),
    "st": frozenset(map(_sha, ("CA", "California", "california", "NY", "New York", "TX", "Texas", "LA", "Louisiana"))),
    "ct": frozenset(map(_sha, ("Paris", "London", "Berlin", "New York", "new york", "New Orleans", "new orleans"))),
    "db": frozenset({_sha("[object Undefined]"), _sha("undefined"), _sha("null")}),
}
"""Hashes of frequent values that were not normalised before hashing, by key; "" applies to every key."""
_SAME_RULES_AS = {"gen": "ge", "doby": "db", "dobm": "db", "dobd": "db", "zip": "zp"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a whole call is refused."""

    status: int
    code: int
    subcode: int | None
    message: str
    index: int | None = None
    """Of the invalid event."""
    path: str = ""
    """JSON path of the invalid value."""


@cache
def currencies() -> frozenset[str]:
    """The ISO 4217 codes, in upper case."""
    import pycountry  # noqa: PLC0415 (45 ms)

    return frozenset(currency.alpha_3 for currency in pycountry.currencies)


class _InvalidEvent(Exception):
    def __init__(self, subcode: int, message: str, path: str) -> None:
        super().__init__(message)
        self.subcode = subcode
        self.path = path


def dialect_of(data: list[Any]) -> Dialect:
    """The format of a call's events: `offline` if the first has `match_keys`."""
    first = data[0] if data else None
    return Dialect.OFFLINE if isinstance(first, dict) and "match_keys" in first else Dialect.CONVERSIONS


def check_call(call: JsonObject, now: float, indices: Iterable[int] | None = None) -> Refusal | None:
    """Validate a call; None: it is valid. `indices`: the events to validate, None for all."""
    unknown = next((key for key in call if key not in CALL_KEYS), None)
    if unknown is not None:
        return Refusal(400, 100, GENERAL, f'Unexpected key "{unknown}" on param "$"', path="$")
    data = call.get("data")
    if not isinstance(data, list) or not data:
        return Refusal(400, 100, GENERAL, "Param data must be a non-empty array", path="$['data']")
    dialect = dialect_of(data)
    limit = MAX_EVENTS[dialect]
    if len(data) > limit:
        return Refusal(400, 100, GENERAL, f"Param data has {len(data)} events, at most {limit}", path="$['data']")
    for index in range(len(data)) if indices is None else indices:
        try:
            _check_event(data[index], dialect, now, f"$['data'][{index}]")
        except _InvalidEvent as error:
            return Refusal(400, 100, error.subcode, str(error), index, error.path)
    return None


def _check_event(event: Any, dialect: Dialect, now: float, path: str) -> None:
    if not isinstance(event, dict):
        raise _InvalidEvent(GENERAL, "Event must be an object", path)
    _check_keys(event, EVENT_KEYS[dialect], path)
    name = event.get("event_name")
    if not isinstance(name, str) or not name:
        raise _InvalidEvent(GENERAL, "event_name is missing", path)
    if dialect is Dialect.OFFLINE and name not in OFFLINE_EVENT_NAMES:
        raise _InvalidEvent(GENERAL, "event_name is no standard event", f"{path}['event_name']")
    source = event.get("action_source")
    if (dialect is Dialect.CONVERSIONS or source is not None) and source not in ACTION_SOURCES:
        raise _InvalidEvent(GENERAL, "action_source is missing or unknown", path)
    _check_time(event, dialect, now, path)
    _check_identity(event, dialect, path)
    if dialect is Dialect.CONVERSIONS:
        _check_event_values(event, path)
    custom = event.get("custom_data")
    if custom is not None and not isinstance(custom, dict):
        raise _InvalidEvent(GENERAL, "custom_data must be an object", f"{path}['custom_data']")
    holder: JsonObject = (custom or {}) if dialect is Dialect.CONVERSIONS else event
    _check_money(name, holder, path)
    contents = holder.get("contents")
    if contents is not None:
        _check_contents(contents, dialect, f"{path}['custom_data']" if dialect is Dialect.CONVERSIONS else path)
    _check_options(event, path)


def _check_keys(holder: JsonObject, keys: frozenset[str], path: str) -> None:
    for key in holder:
        if key not in keys:
            raise _InvalidEvent(GENERAL, f'Unexpected key "{key[:100]}" on param "{path}"', path)


def _check_time(event: JsonObject, dialect: Dialect, now: float, path: str) -> None:
    at = event.get("event_time")
    if not isinstance(at, int) or isinstance(at, bool):
        raise _InvalidEvent(GENERAL, "event_time must be unix seconds", f"{path}['event_time']")
    if at > now + MAX_AHEAD:
        raise _InvalidEvent(GENERAL, "event_time is in the future, or not in seconds", f"{path}['event_time']")
    is_store = dialect is Dialect.OFFLINE or event.get("action_source") == "physical_store"
    if now - at > (MAX_AGE if is_store else MAX_AGE_ELSEWHERE):
        raise _InvalidEvent(TOO_OLD, "event_time is too old", f"{path}['event_time']")


def _check_identity(event: JsonObject, dialect: Dialect, path: str) -> None:
    key = "user_data" if dialect is Dialect.CONVERSIONS else "match_keys"
    identity = event.get(key)
    path = f"{path}['{key}']"
    if not isinstance(identity, dict) or not identity:
        raise _InvalidEvent(NO_CUSTOMER, "Customer information is missing", path)
    hashed = HASHED_KEYS[dialect]
    plain = PLAIN_KEYS[dialect]
    for name, value in identity.items():
        if name in hashed:
            for digest in value if isinstance(value, list) and value else (value,):
                if not isinstance(digest, str) or not _SHA256(digest):
                    raise _InvalidEvent(
                        GENERAL, f"{name} is not a SHA-256 in lower-case hexadecimal", f"{path}['{name}']"
                    )
                group = _SAME_RULES_AS.get(str(name), str(name))
                if digest in NOT_NORMALISED[""] or digest in NOT_NORMALISED.get(group, ()):
                    raise _InvalidEvent(GENERAL, f"{name} was hashed without being normalised", f"{path}['{name}']")
        elif name not in plain:
            raise _InvalidEvent(GENERAL, f'Unexpected key "{name[:100]}" on param "{path}"', path)
        elif name == "lead_id" and dialect is Dialect.CONVERSIONS:
            if not isinstance(value, int):
                raise _InvalidEvent(GENERAL, "lead_id must be an integer", f"{path}['lead_id']")
        elif name == "madid" and (not isinstance(value, str) or not _MADID(value)):
            raise _InvalidEvent(GENERAL, "madid must be lower case with hyphens, unhashed", f"{path}['madid']")
        elif not all(isinstance(text, str) and text for text in (value if isinstance(value, list) else (value,))):
            raise _InvalidEvent(GENERAL, f"{name} must be text", f"{path}['{name}']")
    if dialect is Dialect.CONVERSIONS and any(identity.keys() <= broad for broad in _TOO_BROAD):
        raise _InvalidEvent(NO_CUSTOMER, "Customer information is too broad", path)


def _check_event_values(event: JsonObject, path: str) -> None:
    """What `website` and `app` need, and the types of the values on the event."""
    source = event["action_source"]
    if source == "website" and not (event.get("event_source_url") and "client_user_agent" in event["user_data"]):
        raise _InvalidEvent(GENERAL, "website needs event_source_url and client_user_agent", path)
    if source == "app" and not event.get("app_data"):
        raise _InvalidEvent(GENERAL, "app needs app_data", path)
    for keys, kind in (
        (("opt_out", "advertiser_tracking_enabled"), bool),
        (("referrer_url", "customer_segmentation"), str),
        (("app_data", "attribution_data", "original_event_data"), dict),
    ):
        for key in keys:
            if key in event and not isinstance(event[key], kind):
                raise _InvalidEvent(GENERAL, f"{key} must be of type {kind.__name__}", f"{path}['{key}']")


def _check_money(name: str, holder: JsonObject, path: str) -> None:
    value, currency = holder.get("value"), holder.get("currency")
    if name == "Purchase":
        if value is None:
            raise _InvalidEvent(NO_VALUE, "value is missing for Purchase", path)
        if currency is None:
            raise _InvalidEvent(NO_CURRENCY, "currency is missing for Purchase", path)
    if value is not None and (
        not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value)
    ):
        raise _InvalidEvent(GENERAL, "value must be a number", path)
    if currency is not None and (not isinstance(currency, str) or currency.upper() not in currencies()):
        raise _InvalidEvent(GENERAL, "currency must be an ISO 4217 code", path)
    for key in ("order_id", "item_number", "content_name", "content_category"):
        if key in holder and not isinstance(holder[key], str):
            raise _InvalidEvent(GENERAL, f"{key} must be text", path)


def _check_contents(contents: Any, dialect: Dialect, path: str) -> None:
    if not isinstance(contents, list):
        raise _InvalidEvent(GENERAL, "contents must be an array", f"{path}['contents']")
    for position, entry in enumerate(contents):
        place = f"{path}['contents'][{position}]"
        if not isinstance(entry, dict):
            raise _InvalidEvent(GENERAL, "contents must hold objects", place)
        _check_keys(entry, CONTENTS_KEYS[dialect], place)
        if not isinstance(entry.get("id"), str) or not entry["id"]:
            raise _InvalidEvent(GENERAL, "id is missing", place)
        quantity = entry.get("quantity")
        if not isinstance(quantity, int | float) or isinstance(quantity, bool) or quantity <= 0:
            raise _InvalidEvent(GENERAL, "quantity must be above 0", place)


def _check_options(event: JsonObject, path: str) -> None:
    options = event.get("data_processing_options")
    if options is None:
        return
    if options not in ([], ["LDU"]):
        raise _InvalidEvent(GENERAL, 'data_processing_options may be [] or ["LDU"]', path)
    if options and event.get("data_processing_options_country") not in {0, 1}:
        raise _InvalidEvent(2804030, "data_processing_options_country is missing or unknown", path)
