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
from gateway.ingest.documents import RequestDocument, event_count, event_of
from gateway.ingest.events import RejectedEvent, RequestResult
from gateway.mapping.fields import IDENTITY
from gateway.mapping.personal import is_personal_text
from gateway.model import Dialect, Lane, UnixSeconds, split_events
from gateway.tap import TapEntry, TapOutcome

MAX_NAME = 100
"""Characters of the name of an event."""
PREFIX_DIGITS = 6
"""Digits of a hash that are shown: enough to compare two events, too few to look up a person."""
HIDDEN = "(hidden)"
_KEY_NAMES = {key: field.name for field in IDENTITY for dialect in Dialect for key in field.keys(dialect)}
_HASH = re.compile(r"[0-9a-f]{64}(?:\.[A-Za-z0-9_-]{1,16})?").fullmatch


def tap_entries(
    source: str, document: RequestDocument, result: RequestResult, limit: int, at: UnixSeconds
) -> Sequence[TapEntry]:
    """At most `limit` entries for the events of a request."""
    return list(islice(_entries(source, document, result, limit, at), limit))


def _entries(
    source: str, document: RequestDocument, result: RequestResult, limit: int, at: UnixSeconds
) -> Iterator[TapEntry]:
    yield from _accepted(source, result, limit, at)
    rejecting = sorted({destination for destination, _ in result.rejections})
    for rejected in result.rejected:
        yield _rejected(source, document, rejected, rejecting, at)
    # Of the others only the counts are known: of events without any destination that takes them, and by destination of
    # deduplicated events and those that deny consent. In a request with one event, all of them are about that event.
    name = _event_name(event_of(document, 0)) if event_count(document) == 1 else ""
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


def _accepted(source: str, result: RequestResult, limit: int, at: UnixSeconds) -> Iterator[TapEntry]:
    """One entry for the mapped events of the same source event, from the first `limit` of each run."""
    entries: list[TapEntry] = []
    places: dict[str | None, int] = {}  # by message ID and by order ID, the place of an entry
    for run in result.all_runs():
        for body in split_events(run.payload)[:limit]:
            entry = _mapped(source, run.lane, body, at)
            place = 0 if result.accepted == 1 else places.get(entry.message_id, places.get(entry.order_id))
            if place is not None and entries and (result.accepted == 1 or _is_same(entries[place], entry)):
                entries[place] = _joined(entries[place], entry)
            else:
                place = len(entries)
                entries.append(entry)
            places |= {identifier: place for identifier in (entry.message_id, entry.order_id) if identifier}
    yield from entries


def _is_same(one: TapEntry, other: TapEntry) -> bool:
    """Whether two entries have the same message ID or, where one has none (`offline`), the same order ID."""
    if one.message_id is not None and other.message_id is not None:
        return one.message_id == other.message_id
    return one.order_id is not None and one.order_id == other.order_id


def _mapped(source: str, lane: Lane, event: bytes, at: UnixSeconds) -> TapEntry:
    body = orjson.loads(event)
    identity = body.get("user_data") or body.get("match_keys") or {}
    keys: dict[str, str] = {}
    for key, value in identity.items():
        keys.setdefault(_KEY_NAMES.get(key, key), _prefix(value))
    ids = ids_of_mapped(event)
    return TapEntry(
        at=at,
        source=source,
        outcome=TapOutcome.ACCEPTED,
        event=_name(body.get("event_name")),
        destinations=[lane.destination],
        event_sets=[lane.event_set],
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
    source: str, document: RequestDocument, rejected: RejectedEvent, destinations: Sequence[str], at: UnixSeconds
) -> TapEntry:
    event = event_of(document, rejected.index)
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
