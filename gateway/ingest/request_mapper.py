"""Maps the events of a request in slices, so that other requests and tasks run in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import orjson

from gateway.config import ServerSettings
from gateway.ingest.body import Reservation
from gateway.ingest.decode import MAX_VALUES, BadRequest
from gateway.ingest.documents import MAX_EVENT_VALUES, SOURCE_FACTOR, DecodedBody, EventType, RequestDocument
from gateway.ingest.events import (
    IGNORED_TYPES,
    UNKNOWN_TYPE,
    RequestResult,
    Source,
    map_event,
    map_usual,
    reject_event,
)
from gateway.ingest.fair_scheduler import FairScheduler
from gateway.mapping.native import Document
from gateway.model import JsonObject, Rejection

EVENTS_PER_SLICE = 128
"""Events of one request that Python maps before other requests get a turn."""
SLICE_SECONDS = 0.005
"""Time after which they get one earlier: some events take longer to map than others."""
MAPPED_VALUES_PER_EVENT = 128
"""Values of events that Python maps in the time of a usual event, which has fewer."""
MIN_NATIVE_SLICE = 16
"""Events of the smallest slice that is mapped natively."""
NATIVE_FACTOR = 8
"""Events that the native path maps in the time in which Python maps one."""

NOT_AN_OBJECT = Rejection("not_an_object", "The event is not a JSON object. Send each event as an object.")
EVENT_TOO_LARGE = Rejection(
    "event_too_large",
    f"The event is larger than {SOURCE_FACTOR} times `server.max_event_bytes`, has more than {MAX_EVENT_VALUES} values "
    "or more than 250 levels. Send fewer or shorter properties.",
)

_SELECT_TRACK = bytes(event_type == EventType.TRACK for event_type in range(256))
"""Translates event types to a mask of the track calls."""


class MappedRequest(NamedTuple):
    """A request whose events are mapped."""

    source: Source
    result: RequestResult
    events: int
    """Source events in the request."""


class RequestMapper:
    """Maps all requests."""

    def __init__(self, settings: ServerSettings, scheduler: FairScheduler, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._scheduler = scheduler
        self._clock = clock

    async def map_single(self, source: Source, document: RequestDocument, call_type: str) -> MappedRequest:
        """Map the event that is the body of a request. Raises `BadRequest`."""
        result = RequestResult()
        if isinstance(document, DecodedBody):
            await self._map_decoded_event(source, document, call_type, result)
        elif call_type in IGNORED_TYPES:
            result.ignored = 1
        else:
            now, max_bytes = int(self._clock()), self._settings.max_event_bytes
            for rest in map_usual(source, document, b"\1", 0, now, result):
                event = orjson.loads(document.event(0))
                map_event(source, event, 0, now, result, max_bytes, rest.destinations, was_accepted=rest.is_accepted)
        return MappedRequest(source, result, 1)

    async def _map_decoded_event(
        self, source: Source, body: DecodedBody, call_type: str, result: RequestResult
    ) -> None:
        max_bytes, complexity = self._settings.max_event_bytes, body.complexity
        if complexity.size > max_bytes or complexity.values > MAX_EVENT_VALUES:
            message = f"The event is larger than {max_bytes} bytes or has more than {MAX_EVENT_VALUES} values."
            raise BadRequest(413, "event_too_large", f"{message} Send fewer or shorter properties.")
        if call_type in IGNORED_TYPES:
            result.ignored = 1
            return
        if complexity.values > MAPPED_VALUES_PER_EVENT:
            await self._scheduler.turn(complexity.values // MAPPED_VALUES_PER_EVENT)
        map_event(source, body.content, 0, int(self._clock()), result, max_bytes)

    async def map_batch(self, source: Source, document: RequestDocument, reservation: Reservation) -> MappedRequest:
        """Map the events of a batch. Raises `BadRequest`."""
        result = RequestResult()
        if isinstance(document, DecodedBody):
            events = await self._map_decoded_batch(source, document, result, reservation)
        else:
            events = document.events
            _check_count(events, self._settings.max_batch_events)
            await self._map_native_batch(source, document, result, reservation)
        return MappedRequest(source, result, events)

    async def _map_native_batch(
        self, source: Source, document: Document, result: RequestResult, reservation: Reservation
    ) -> None:
        now, max_bytes = int(self._clock()), self._settings.max_event_bytes
        slices = _Slices(self._scheduler, result, reservation)
        size, last = EVENTS_PER_SLICE, 0
        while last < document.events:
            first, last = last, min(document.events, last + size)
            await slices.begin(1 + (last - first) // NATIVE_FACTOR)
            types = document.types(first, last)
            began = time.monotonic()
            remaining = map_usual(source, document, types.translate(_SELECT_TRACK), first, now, result)
            size = _next_size(size, time.monotonic() - began)
            by_index = {rest.position: rest for rest in remaining}
            result.ignored += types.count(EventType.IGNORED)
            rejected = {
                index: UNKNOWN_TYPE if event_type == EventType.UNKNOWN else NOT_AN_OBJECT
                for index, event_type in enumerate(types, first)
                if event_type > EventType.IGNORED
            }
            for index in sorted((*by_index, *rejected)):
                if slices.is_over():
                    await slices.begin(EVENTS_PER_SLICE)
                event = orjson.loads(document.event(index))
                if index in rejected:
                    keeps = max_bytes if rejected[index] is UNKNOWN_TYPE else 0
                    reject_event(source, event, index, now, result, rejected[index], keeps)
                else:
                    _, destinations, is_accepted = by_index[index]
                    map_event(source, event, index, now, result, max_bytes, destinations, was_accepted=is_accepted)

    async def _map_decoded_batch(
        self, source: Source, body: DecodedBody, result: RequestResult, reservation: Reservation
    ) -> int:
        """Map a batch that Python decoded; the number of its events."""
        settings, now, complexity = self._settings, int(self._clock()), body.complexity
        max_bytes = settings.max_event_bytes
        events = _events_of(body.content, settings.max_batch_events)
        shared, shared_values = _shared_context(body.content, len(events), settings)
        turns = max(1.0, (complexity.values / len(events) + shared_values) / MAPPED_VALUES_PER_EVENT)
        has_large_events = complexity.size > max_bytes * SOURCE_FACTOR or complexity.values > MAX_EVENT_VALUES
        slices = _Slices(self._scheduler, result, reservation)
        for index, event in enumerate(events):
            if slices.is_over():
                await slices.begin(min(EVENTS_PER_SLICE, len(events) - index), turns)
            if event.__class__ is not dict:
                reject_event(source, event, index, now, result, NOT_AN_OBJECT)
                continue
            call_type = event.get("type")
            if call_type.__class__ is str and call_type in IGNORED_TYPES:
                result.ignored += 1
                continue
            is_large = has_large_events and _is_large(event, max_bytes * SOURCE_FACTOR)
            if shared:
                event = _with_shared_context(shared, event)  # noqa: PLW2901 (it may deny consent)
            if call_type != "track":
                reject_event(source, event, index, now, result, UNKNOWN_TYPE, 0 if is_large else max_bytes)
            elif is_large:
                reject_event(source, event, index, now, result, EVENT_TOO_LARGE)
            else:
                map_event(source, event, index, now, result, max_bytes)
        return len(events)


def _next_size(size: int, seconds: float) -> int:
    """The events of the next native slice, after one of `size` events took so long.

    Events whose values Python has to normalise take much longer than others, and a native slice cannot be interrupted.
    """
    if seconds > SLICE_SECONDS:
        return max(MIN_NATIVE_SLICE, size // 4)
    return min(EVENTS_PER_SLICE * NATIVE_FACTOR, 2 * size) if seconds < SLICE_SECONDS / 4 else size


class _Slices:
    """The slices of one request. Its result is reserved from the memory budget at the beginning of each."""

    __slots__ = ("_end", "_events", "_is_first", "_reservation", "_reserved", "_result", "_scheduler")

    def __init__(self, scheduler: FairScheduler, result: RequestResult, reservation: Reservation) -> None:
        self._scheduler = scheduler
        self._result = result
        self._reservation = reservation
        self._reserved = 0
        self._is_first = True
        self._events = 0  # that remain in this slice
        self._end = 0.0  # monotonic time

    def is_over(self) -> bool:
        """Count an event; whether a slice has to begin before it. Runs once an event."""
        self._events -= 1
        return self._events < 0 or time.monotonic() > self._end

    async def begin(self, events: int, turns: float = 1.0) -> None:
        """Wait for the turn to map more events, each of which takes as long as `turns` usual ones.

        Between two slices, other tasks run at least once. Raises `BadRequest` when the memory limit is reached.
        """
        self._reservation.grow(self._result.size - self._reserved)
        self._reserved = self._result.size
        if turn := self._scheduler.acquire(int(events * turns)):
            await turn
        elif not self._is_first:
            await asyncio.sleep(0)
        self._is_first = False
        self._events = events - 1
        self._end = time.monotonic() + SLICE_SECONDS


def _events_of(envelope: JsonObject, max_events: int) -> list[Any]:
    """The events of a batch. Raises `BadRequest`."""
    events = envelope.get("batch")
    if not isinstance(events, list):
        raise BadRequest(400, "no_batch", "`batch` is missing or not a list. Send the events as a list in `batch`.")
    _check_count(len(events), max_events)
    return events


def _check_count(events: int, max_events: int) -> None:
    """Raise `BadRequest` unless a batch may have so many events."""
    if not events:
        raise BadRequest(400, "empty_batch", "`batch` is empty. Send at least one event.")
    if events > max_events:
        message = f"The batch has {events} events; at most {max_events} are allowed. Send smaller batches."
        raise BadRequest(413, "too_many_events", message)


def _shared_context(envelope: JsonObject, events: int, settings: ServerSettings) -> tuple[JsonObject, int]:
    """What a batch says for all of its events, and the number of its values.

    Raises `BadRequest` when it is large: it costs as much as if each event contained it.
    """
    shared = {key: value for key in ("context", "integrations") if (value := envelope.get(key)).__class__ is dict}
    if not shared:
        return {}, 0
    encoded = _encoded(shared)
    values = _count_values(encoded)
    limit = min(settings.max_event_bytes, settings.max_request_bytes // events)
    if not encoded or len(encoded) > limit or values * events > MAX_VALUES:
        message = f"The batch's `context` and `integrations` are too large for {events} events: {limit} bytes and"
        message = f"{message} {MAX_VALUES // events} values are allowed, and 250 levels. Send less in them."
        raise BadRequest(413, "shared_context_too_large", message)
    return shared, values


def _is_large(event: JsonObject, max_bytes: int) -> bool:
    """Whether an event has more bytes, or more values or levels, than can be mapped in one piece."""
    encoded = _encoded(event)
    if not encoded or len(encoded) > max_bytes:
        return True
    # A value takes at least two bytes. The usual event is too short to have too many, so its values are not counted.
    return len(encoded) > 2 * MAX_EVENT_VALUES and _count_values(encoded) > MAX_EVENT_VALUES


def _encoded(value: JsonObject) -> bytes:
    """A decoded object as JSON; empty when it cannot be encoded, because it has too many levels."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return b""


def _count_values(encoded: bytes) -> int:
    """An upper bound of the number of values in a JSON text."""
    return 1 + encoded.count(b",") + encoded.count(b"{") + encoded.count(b"[")


def _with_shared_context(shared: Mapping[str, JsonObject], event: JsonObject) -> JsonObject:
    """A copy of the event with the `context` and `integrations` of its batch. Its own values take precedence."""
    merged = dict(event)
    for key, defaults in shared.items():
        own = event.get(key)
        if own is None:
            merged[key] = defaults
        elif own.__class__ is dict:
            merged[key] = {**defaults, **own}
    return merged
