"""What an answer of Meta means. Pure: status, headers and body in, one outcome out.

    Outcome
    |- Delivered        Meta took the call; how many events it says it took
    |- Temporary        nothing is known to be wrong with the call: again, later
    |  `- in_doubt      the call may have been taken before the answer was lost
    |- Throttled        too much was asked; nothing of the call was taken
    |- Blocked          token, permission, object, version or policy: no call of this lane can succeed
    |- EventsRefused    the call failed for events that are known by their index
    `- BatchRefused     the call failed for what it carries, and nobody says which event

Decided by code and subcode first, then `is_transient`, then the status; never by type or text, which are translated and
change (Meta: Graph API error handling). A body counts whatever the status is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import orjson

from gateway.model import MetaFault


class Kind(StrEnum):
    """What has to be mended before any call of a lane can succeed."""

    TOKEN = "token"  # noqa: S105 (a word, not a secret)
    PERMISSION = "permission"
    OBJECT = "object"
    VERSION = "version"
    POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Delivered:
    """Meta took the call."""

    count: int | None
    """Events that it says it took; None: it did not say."""


@dataclass(frozen=True, slots=True)
class Temporary:
    """The same call may succeed later."""

    code: str
    fault: MetaFault | None = None
    in_doubt: bool = False
    """Whether Meta may have taken it: the answer was lost after the request was sent."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """Meta asks for less."""

    code: str
    seconds: float | None
    """How long it wants to be left alone, where it says so."""
    fault: MetaFault | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing of this lane can pass until somebody acts; its events are kept."""

    kind: Kind
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
    """The whole call failed because of something that it carries."""

    code: str
    fault: MetaFault | None = None


Outcome: TypeAlias = Delivered | Temporary | Throttled | Blocked | EventsRefused | BatchRefused

LONGEST_WAIT = 86_400.0
"""Seconds; a longer wait than a day is not believed."""
NEARLY_ALL = 90.0
"""Percent of an account's allowance from which its headers are meant."""

_TEMPORARY = frozenset({1, 2, 5000, 21009})
_THROTTLED = frozenset({4, 17, 32, 341, 613, *range(80000, 80015)})
_TOKEN = frozenset({102, 104, 190})
_TOKEN_SUBCODES = frozenset({458, 459, 460, 463, 464, 467, 492, 493})
_PERMISSION = frozenset({3, 10, *range(200, 300)})
_VERSION = frozenset({2635})
_POLICY = frozenset({368})
_REQUEST = frozenset({100, 105})
_OBJECT_SUBCODES = frozenset({33, 34, 2044055})
"""Of code 100: the event set is not there, or not for this token."""
_TAKEN_BEFORE = 2044011
"""Of code 100: the slice of an upload was taken already. Meta's own uploader counts it as delivered."""
_DUPLICATE_POST = 506
_SIGNS = frozenset({"events_received", "num_processed_entries", "id", "fbtrace_id"})
"""Keys by which an answer of Meta's is known."""

_INDEX = re.compile(r"\[\s*'?\"?data'?\"?\s*\]\s*\[\s*(\d{1,5})\s*\]|\bdata\[(\d{1,5})\]", re.ASCII)
"""`$['data'][14]['user_data']` and `data[14]`, as Meta names the place of a fault."""


def read(status: int, headers: Mapping[str, str], body: bytes, events: int) -> Outcome:
    """The outcome of an answered call that carried so many events."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, dict):
        error = answer.get("error")
        if isinstance(error, dict):
            return _of_error(status, headers, error, events)
        if 200 <= status < 300 and error is None and (success := _of_success(answer)):
            return success
    if 200 <= status < 300:
        return Temporary("unreadable_answer" if body.strip() else "empty_answer", in_doubt=True)
    return _of_status(status, headers)


def _of_success(answer: Mapping[str, Any]) -> Delivered | None:
    """Either shape of success; None for what is not Meta's: a page of somebody on the way may say 200 as well."""
    for key in ("events_received", "num_processed_entries"):
        count = _integer(answer.get(key))
        if count is not None and count >= 0:
            return Delivered(count)
    return Delivered(None) if answer.get("success") is True or answer.keys() & _SIGNS else None


def _of_error(status: int, headers: Mapping[str, str], error: Mapping[str, Any], events: int) -> Outcome:
    number = _integer(error.get("code"))
    subcode = _integer(error.get("error_subcode"))
    trace = error.get("fbtrace_id")
    fault = MetaFault(number, subcode, trace[:64] if isinstance(trace, str) else None)
    if number is None:
        return _of_status(status, headers, fault)
    code = f"meta_{number}" if subcode is None else f"meta_{number}_{subcode}"
    if number in _THROTTLED:
        return Throttled(code, wait_from(headers), fault)
    if number == _DUPLICATE_POST or (number == 100 and subcode == _TAKEN_BEFORE):
        return Delivered(events)
    if number in _TEMPORARY or number < 0 or error.get("is_transient") is True:
        return Temporary(code, fault)
    if kind := _block(number, subcode):
        return Blocked(kind, code, fault)
    if number in _REQUEST or 200 <= status < 300 or status == 400:
        return _refused(code, fault, error, events)
    # A code that nobody knows: the status decides, and what it does not decide either is looked for in the events.
    outcome = _of_status(status, headers, fault)
    return _refused(code, fault, error, events) if isinstance(outcome, Temporary) and status < 500 else outcome


def _block(number: int, subcode: int | None) -> Kind | None:
    if number in _TOKEN or subcode in _TOKEN_SUBCODES:
        return Kind.TOKEN
    if number in _VERSION:
        return Kind.VERSION
    if number in _POLICY:
        return Kind.POLICY
    if number in _PERMISSION:
        return Kind.PERMISSION
    if number == 100 and subcode in _OBJECT_SUBCODES:
        return Kind.OBJECT
    return None


def _refused(code: str, fault: MetaFault, error: Mapping[str, Any], events: int) -> Outcome:
    for found in _named(error):
        if indices := tuple(sorted(index for index in found if 0 <= index < events)):
            return EventsRefused(indices, code, fault)
    return BatchRefused(code, fault)


def _named(error: Mapping[str, Any]) -> Iterator[set[int]]:
    """Indices of the events at fault, the surest source first: `event_index`, `blame_field_specs`, JSON paths in texts.

    A path is read out of a text; the text itself decides nothing.
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
        yield _paths(orjson.dumps(details.get("blame_field_specs")).decode())
    for key in ("error_user_msg", "message"):
        yield _paths(error.get(key))


def _paths(text: Any) -> set[int]:
    if not isinstance(text, str):
        return set()
    return {int(match[1] or match[2]) for match in _INDEX.finditer(text[:100_000].replace('\\"', '"'))}


def _of_status(status: int, headers: Mapping[str, str], fault: MetaFault | None = None) -> Outcome:
    """Where the body says nothing: a proxy's page, an empty answer, an error without a code."""
    code = f"http_{status}"
    if status == 429:
        return Throttled(code, wait_from(headers), fault)
    if status == 401:
        return Blocked(Kind.TOKEN, code, fault)
    if status in {403, 407}:
        return Blocked(Kind.PERMISSION, code, fault)
    if status in {404, 405, 410}:
        return Blocked(Kind.OBJECT, code, fault)
    if status == 413:
        return BatchRefused(code, fault)
    return Temporary(code, fault)


def wait_from(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, as the headers of a throttled answer say; the longest of them, at most a day.

    `estimated_time_to_regain_access` is in minutes, `reset_time_duration` and `Retry-After` in seconds. An account that
    is far from its limit was not what throttled the call: how long its window still runs says nothing.
    """
    waits = [0.0]
    for name, value in headers.items():
        lower = name.lower()
        if lower == "retry-after" and value.strip().isdecimal():
            waits.append(float(value))
        elif lower.startswith("x-business-use-case"):
            waits += [60.0 * one for one in _numbers(value, "estimated_time_to_regain_access")]
        elif lower == "x-ad-account-usage" and max(_numbers(value, "acc_id_util_pct"), default=100.0) >= NEARLY_ALL:
            waits += _numbers(value, "reset_time_duration")
    return min(max(waits), LONGEST_WAIT) or None


def usage_from(headers: Mapping[str, str]) -> float | None:
    """Share of the allowed use that is spent, 1.0 at the limit; the highest that any header names."""
    found: list[float] = []
    for name, value in headers.items():
        lower = name.lower()
        if lower == "x-app-usage" or lower.startswith("x-business-use-case"):
            for key in ("call_count", "total_time", "total_cputime"):
                found += _numbers(value, key)
        elif lower in {"x-ad-account-usage", "x-fb-ads-insights-throttle"}:
            for key in ("acc_id_util_pct", "app_id_util_pct"):
                found += _numbers(value, key)
    return max(found) / 100 if found else None


def _numbers(text: str, key: str) -> list[float]:
    """All numbers under a key, however deep."""
    try:
        tree = orjson.loads(text)
    except orjson.JSONDecodeError:
        return []
    found: list[float] = []
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            value = node.get(key)
            if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
                found.append(float(value))
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return found


def _integer(value: Any) -> int | None:
    if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 12:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def version_warning(headers: Mapping[str, str]) -> str | None:
    """What Meta says of the version that was called, where it does; one line, bounded."""
    for name, value in headers.items():
        if name.lower() == "x-ad-api-version-warning" and value.strip():
            return " ".join(value.split())[:300]
    return None
