"""Classifies a response of the Graph API: status, headers and body in, one outcome out. Pure.

    Outcome
    |- Delivered        Meta received the events, with the number that it reports
    |- CountMismatch    Meta received the call, but reports fewer events than were sent
    |- Temporary        the same call may succeed later
    |  `- in_doubt      Meta may have received the events: the response was lost
    |- Throttled        a rate limit was reached; nothing of the call was received
    |- Blocked          token, permission, event set, version or policy: no call of this lane can succeed
    |- EventsRefused    the whole call failed because of events that the response names by index
    `- BatchRefused     the whole call failed because of its content, and the response names no event

The classification goes by code and subcode first, then `is_transient`, then the HTTP status; the body is read whatever
the status is. Types and texts are ignored, because they are translated and change (Meta: Graph API error handling).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import orjson

from gateway.meta.error_codes import (
    REQUEST_CODES,
    TEMPORARY_CODES,
    THROTTLED_CODES,
    BlockCause,
    block_cause,
    is_already_uploaded,
)
from gateway.meta.usage_headers import retry_delay
from gateway.model import MetaFault


@dataclass(frozen=True, slots=True)
class Delivered:
    """Meta received the call."""

    count: int | None
    """Events that Meta says it received, at least as many as were sent; None: it did not say."""
    trace_id: str | None = None
    """Meta's ID of the call, for its support team."""


@dataclass(frozen=True, slots=True)
class CountMismatch:
    """Meta received the call, but says that it received fewer events than were sent. It does not say which."""

    received: int
    """Events that Meta says it received."""
    code: ClassVar[str] = "count_mismatch"


@dataclass(frozen=True, slots=True)
class Temporary:
    """The same call may succeed later."""

    code: str
    fault: MetaFault | None = None
    in_doubt: bool = False
    """Whether Meta may have received the events: the response was lost after the request was sent."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """A rate limit of Meta was reached."""

    code: str
    seconds: float | None
    """Seconds to wait before the next call; None: the response does not say."""
    fault: MetaFault | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """No call of this lane can succeed until an operator acts. Its events are kept."""

    kind: BlockCause
    code: str
    fault: MetaFault | None = None


@dataclass(frozen=True, slots=True)
class EventsRefused:
    """The whole call failed because of these events."""

    indices: tuple[int, ...]
    code: str
    fault: MetaFault | None = None


@dataclass(frozen=True, slots=True)
class BatchRefused:
    """The whole call failed because of its content; the events at fault are not named."""

    code: str
    fault: MetaFault | None = None


Outcome: TypeAlias = Delivered | CountMismatch | Temporary | Throttled | Blocked | EventsRefused | BatchRefused

_SUCCESS_KEYS = frozenset({"events_received", "num_processed_entries", "id", "fbtrace_id"})
"""Keys of which a successful response of Meta has at least one."""

_EVENT_INDEX = re.compile(r"\[\s*'?\"?data'?\"?\s*\]\s*\[\s*(\d{1,5})\s*\]|\bdata\[(\d{1,5})\]", re.ASCII)
"""Matches `$['data'][14]['user_data']` and `data[14]`, the two forms in which Meta names the place of a fault."""

_INTEGER = re.compile(r"-?\d{1,11}", re.ASCII).fullmatch

_MAX_TEXT = 100_000
"""Characters of a text that are searched for event indices."""


def classify(status: int, headers: Mapping[str, str], body: bytes, events: int) -> Outcome:
    """The outcome of a call that carried `events` events and got this response."""
    try:
        response = orjson.loads(body)
    except orjson.JSONDecodeError:
        response = None
    if isinstance(response, dict):
        error = response.get("error")
        if isinstance(error, dict):
            return _classify_error(status, headers, error, events)
        if 200 <= status < 300 and error is None and (received := _read_success(response, headers, events)):
            return received
    if 200 <= status < 300:
        return Temporary("unreadable_response" if body.strip() else "empty_response", in_doubt=True)
    return _classify_status(status, headers)


def _read_success(
    response: Mapping[str, Any], headers: Mapping[str, str], events: int
) -> Delivered | CountMismatch | None:
    """Either form of success; None for a body that is not Meta's: a proxy's page may have status 200 as well."""
    trace_id = _trace_id(response.get("fbtrace_id") or headers.get("X-FB-Trace-ID"))
    for key in ("events_received", "num_processed_entries"):
        if (value := response.get(key)) is not None:
            count = _integer(value)
            if count is None or count < 0:
                return None
            return Delivered(count, trace_id) if count >= events else CountMismatch(count)
    success = response.get("success")
    is_success = success is True or (success is None and response.keys() & _SUCCESS_KEYS)
    return Delivered(None, trace_id) if is_success else None


def _classify_error(status: int, headers: Mapping[str, str], error: Mapping[str, Any], events: int) -> Outcome:
    number = _integer(error.get("code"))
    subcode = _integer(error.get("error_subcode"))
    fault = MetaFault(number, subcode, _trace_id(error.get("fbtrace_id")))
    if number is None:
        return _classify_status(status, headers, fault)
    code = f"meta_{number}" if subcode is None else f"meta_{number}_{subcode}"
    if number in THROTTLED_CODES:
        return Throttled(code, retry_delay(headers), fault)
    if is_already_uploaded(number, subcode):
        return Delivered(events)
    if number in TEMPORARY_CODES or number < 0 or error.get("is_transient") is True:
        return Temporary(code, fault)
    if cause := block_cause(number, subcode):
        return Blocked(cause, code, fault)
    if number in REQUEST_CODES or 200 <= status < 300 or status == 400:
        return _refused(code, fault, error, events)
    # An unknown code: the status decides. Where the status says "temporary" below 500, the events may be the cause.
    outcome = _classify_status(status, headers, fault)
    return _refused(code, fault, error, events) if isinstance(outcome, Temporary) and status < 500 else outcome


def _trace_id(value: Any) -> str | None:
    return value[:64] if isinstance(value, str) else None


def _refused(code: str, fault: MetaFault, error: Mapping[str, Any], events: int) -> Outcome:
    for named in _named_events(error):
        if indices := tuple(sorted(index for index in named if 0 <= index < events)):
            return EventsRefused(indices, code, fault)
    return BatchRefused(code, fault)


def _named_events(error: Mapping[str, Any]) -> Iterator[set[int]]:
    """Indices of the events at fault, most reliable source first: `event_index`, `blame_field_specs`, paths in texts.

    Only the path is taken from a text; the wording decides nothing.
    """
    details = error.get("error_data")
    if isinstance(details, str):
        try:
            details = orjson.loads(details)
        except orjson.JSONDecodeError:
            details = None
    if isinstance(details, dict):
        index = _integer(details.get("event_index"))
        if index is not None:
            yield {index}
        yield _indices_in(_encode(details.get("blame_field_specs")))
    for key in ("error_user_msg", "message"):
        yield _indices_in(error.get(key))


def _indices_in(text: Any) -> set[int]:
    if not isinstance(text, str):
        return set()
    return {int(match[1] or match[2]) for match in _EVENT_INDEX.finditer(text[:_MAX_TEXT].replace('\\"', '"'))}


def _classify_status(status: int, headers: Mapping[str, str], fault: MetaFault | None = None) -> Outcome:
    """The outcome by HTTP status, for a body without a code: a proxy's page, an empty body."""
    code = f"http_{status}"
    if status == 429:
        return Throttled(code, retry_delay(headers), fault)
    if status == 401:
        return Blocked(BlockCause.TOKEN, code, fault)
    if status in {403, 407}:
        return Blocked(BlockCause.PERMISSION, code, fault)
    if status in {404, 405, 410}:
        return Blocked(BlockCause.OBJECT, code, fault)
    if status == 413:
        return BatchRefused(code, fault)
    return Temporary(code, fault)


def _encode(value: Any) -> str | None:
    """A value as JSON; None if it is nested too deeply for orjson, which decodes deeper values than it encodes."""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        return None


def _integer(value: Any) -> int | None:
    """An integer, or a text with one of at most 11 digits; None for any other value."""
    if isinstance(value, str):
        return int(value) if _INTEGER(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None
