"""Describes the events of a request for the live view, without personal data. Runs only while somebody looks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import orjson

from gateway.escaping import printable
from gateway.identifiers import ids_of_mapped, short_id
from gateway.ingest.events import RejectedEvent, RequestResult
from gateway.mapping.fields import IDENTITY
from gateway.mapping.personal import is_personal_text
from gateway.model import Dialect, JsonObject, MappedEvent, UnixSeconds
from gateway.tap import TapEntry, TapOutcome

MAX_NAME = 100
"""Characters of the name of an event."""
PREFIX_DIGITS = 6
"""Digits of a hash that are shown: enough to compare two events, too few to look up a person."""
HIDDEN = "(hidden)"
_KEY_NAMES = {key: field.name for field in IDENTITY for dialect in Dialect for key in field.keys(dialect)}
_HASH = re.compile(r"[0-9a-f]{64}(?:\.[A-Za-z0-9_-]{1,16})?").fullmatch


def tap_entries(
    source: str, document: JsonObject, result: RequestResult, limit: int, at: UnixSeconds
) -> Sequence[TapEntry]:
    """At most `limit` entries for the events of a request. `document`: its decoded body."""
    batch = document.get("batch")
    events: Sequence[Any] = batch if isinstance(batch, list) else [document]
    return list(islice(_entries(source, events, result, at), limit))


def _entries(source: str, events: Sequence[Any], result: RequestResult, at: UnixSeconds) -> Iterator[TapEntry]:
    yield from _accepted(source, result, at)
    rejecting = sorted({destination for destination, _ in result.rejections})
    for rejected in result.rejected:
        yield _rejected(source, events, rejected, rejecting, at)
    # Of the others only the counts are known: of events without any destination that takes them, and by destination of
    # deduplicated events and those that deny consent. In a request with one event, all of them are about that event.
    name = _event_name(events[0]) if len(events) == 1 else ""
    explained = 0
    for outcome, counts in (
        (TapOutcome.DEDUPLICATED, result.deduplicated),
        (TapOutcome.CONSENT_DENIED, result.consent_denied),
    ):
        if counts:
            count = max(counts.values())
            explained += count
            yield TapEntry(at, source, outcome, name, destinations=sorted(counts), count=count)
    if result.ignored > explained:
        yield TapEntry(at, source, TapOutcome.IGNORED, name, count=result.ignored - explained)


def _accepted(source: str, result: RequestResult, at: UnixSeconds) -> Iterator[TapEntry]:
    """One entry for consecutive mapped events of the same source event."""
    current: TapEntry | None = None
    for event in result.mapped:
        entry = _mapped(source, event, at)
        if current is None:
            current = entry
        elif result.accepted == 1 or _is_same(current, entry):
            current = _joined(current, entry)
        else:
            yield current
            current = entry
    if current is not None:
        yield current


def _is_same(one: TapEntry, other: TapEntry) -> bool:
    """Whether two entries have the same message ID or, where one has none (`offline`), the same order ID."""
    if one.message_id is not None and other.message_id is not None:
        return one.message_id == other.message_id
    return one.order_id is not None and one.order_id == other.order_id


def _mapped(source: str, event: MappedEvent, at: UnixSeconds) -> TapEntry:
    body = orjson.loads(event.body)
    identity = body.get("user_data") or body.get("match_keys") or {}
    keys: dict[str, str] = {}
    for key, value in identity.items():
        keys.setdefault(_KEY_NAMES.get(key, key), _prefix(value))
    ids = ids_of_mapped(event.body)
    return TapEntry(
        at=at,
        source=source,
        outcome=TapOutcome.ACCEPTED,
        event=_name(body.get("event_name")),
        destinations=[event.lane.destination],
        event_sets=[event.lane.event_set],
        message_id=ids.message_id,
        order_id=ids.order_id,
        keys=keys,
        properties=len(body.get("custom_data") or ()),
    )


def _joined(one: TapEntry, other: TapEntry) -> TapEntry:
    names = dict.fromkeys((*one.event.split(", "), other.event))
    return replace(
        one,
        message_id=one.message_id or other.message_id,
        event=", ".join(names)[:MAX_NAME],
        destinations=list(dict.fromkeys((*one.destinations, *other.destinations))),
        event_sets=list(dict.fromkeys((*one.event_sets, *other.event_sets))),
        keys={**other.keys, **one.keys},
    )


def _rejected(
    source: str, events: Sequence[Any], rejected: RejectedEvent, destinations: Sequence[str], at: UnixSeconds
) -> TapEntry:
    event = events[rejected.index] if rejected.index < len(events) else None
    return TapEntry(
        at=at,
        source=source,
        outcome=TapOutcome.REJECTED,
        event=_event_name(event),
        code=rejected.rejection.code,
        destinations=destinations,
        message_id=short_id(rejected.message_id),
    )


def _event_name(event: Any) -> str:
    if not isinstance(event, Mapping):
        return ""
    return _name(event.get("event") or event.get("type"))


def _name(name: Any) -> str:
    """The name of an event as it may be shown."""
    if not isinstance(name, str):
        return ""
    return HIDDEN if is_personal_text(name) else printable(name[:MAX_NAME])[:MAX_NAME]


def _prefix(value: Any) -> str:
    """The first digits of a hash, or of the first of several; empty for a value that is not hashed."""
    first = value[0] if isinstance(value, list) and value else value
    return first[:PREFIX_DIGITS] if isinstance(first, str) and _HASH(first) else ""
