"""Reads the JSON of request bodies: natively where it has the usual form, otherwise by Python's decoders.

Both ways cost memory and time that is reserved before. The native way takes a tenth of either, so that only the body's
length is looked at; for the other the values are counted first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import orjson

from gateway.config import ServerSettings
from gateway.ingest.body import BYTES_PER_EVENT, ExpandedBody, Reservation
from gateway.ingest.decode import MAX_VALUES, UNZIP_BYTES, BadRequest, Complexity, decode_leniently, decode_strictly
from gateway.ingest.fair_scheduler import EVENTS_PER_ROUND, FairScheduler
from gateway.mapping import native
from gateway.mapping.native import Document
from gateway.model import JsonObject

DECODED_VALUES_PER_EVENT = 1000
"""Values that Python decodes in the time that it takes to map one event. A container takes as long as three others."""
SOURCE_FACTOR = 4
"""An event of a batch may have this many times `max_event_bytes` before it is mapped, and `max_event_bytes` after."""
MAX_EVENT_VALUES = 16_000
"""Values of an event. Mapping and redacting it in Python takes up to 15 ms for each destination, in one piece."""

NATIVE_LEVELS = 32
BYTES_PER_NATIVE_VALUE = 4
"""Bytes of the body for each value or name that the native reader may find in it. A usual body has twice as many."""
MIN_NATIVE_VALUES = 256
NATIVE_VALUE_BYTES = 48
"""Bytes of memory for each of them: 32, and 16 while their array grows."""


class EventType(IntEnum):
    """The values of `Document.types`."""

    TRACK = 0
    IGNORED = 1
    """A call that is no conversion, of one of `IGNORED_TYPES`."""
    UNKNOWN = 2
    NOT_AN_OBJECT = 3


@dataclass(frozen=True, slots=True)
class DecodedBody:
    """A body that Python decoded."""

    content: JsonObject
    complexity: Complexity

    @property
    def write_key(self) -> object:
        """The value of `writeKey`."""
        return self.content.get("writeKey")


def _complexity_of(body: bytes) -> Complexity:
    """What a body costs. Raises `BadRequest` when it would block the event loop too long."""
    complexity = Complexity()
    for start in range(0, len(body), UNZIP_BYTES):
        complexity.add(body[start : start + UNZIP_BYTES])
    return complexity


RequestDocument: TypeAlias = Document | DecodedBody


def event_count(document: RequestDocument) -> int:
    """The number of events of a document; 1 for a single call."""
    return len(_decoded_events(document)) if isinstance(document, DecodedBody) else document.events


def event_of(document: RequestDocument, index: int) -> object:
    """An event of a document, decoded."""
    if isinstance(document, DecodedBody):
        return _decoded_events(document)[index]
    event: object = orjson.loads(document.event(index))
    return event


def _decoded_events(body: DecodedBody) -> Sequence[object]:
    batch = body.content.get("batch")
    return batch if isinstance(batch, list) else [body.content]


class DocumentReader:
    """Reads the documents of all requests."""

    def __init__(self, settings: ServerSettings, scheduler: FairScheduler) -> None:
        self._max_event_bytes = settings.max_event_bytes
        self._max_memory = settings.max_memory // 2  # for one body
        self._scheduler = scheduler

    async def read(self, body: ExpandedBody, reservation: Reservation, *, is_batch: bool) -> RequestDocument:
        """Read a body. Raises `BadRequest`.

        A native document is a batch if and only if `is_batch`, has no shared context, and its events are not large.
        """
        document = self._read_natively(body.content, reservation, is_batch=is_batch)
        return document if document is not None else await self._decode(body, reservation)

    def _read_natively(self, body: bytes, reservation: Reservation, *, is_batch: bool) -> Document | None:
        if native.load() is None:
            return None
        max_values = min(2 * MAX_VALUES, MIN_NATIVE_VALUES + len(body) // BYTES_PER_NATIVE_VALUE)
        size = NATIVE_VALUE_BYTES * max_values + len(body)  # the texts with escapes are copied
        if size > self._max_memory // 4:
            return None  # a large body: its values are counted first
        reservation.grow(size)
        document = native.read(body, max_values, NATIVE_LEVELS)
        if document is not None and self._is_usual(document, is_batch=is_batch):
            return document
        reservation.shrink(size)
        return None

    def _is_usual(self, document: Document, *, is_batch: bool) -> bool:
        if document.is_batch != is_batch or (is_batch and document.has_shared_context):
            return False
        max_bytes = self._max_event_bytes * (SOURCE_FACTOR if is_batch else 1)
        largest, values = document.largest(0, document.events)
        return largest <= max_bytes and values <= MAX_EVENT_VALUES

    async def _decode(self, expanded: ExpandedBody, reservation: Reservation) -> DecodedBody:
        body = expanded.content
        complexity = expanded.complexity or _complexity_of(body)
        memory = complexity.memory
        if memory > self._max_memory:
            message = "Decoding the body takes more memory than server.max_memory allows. Send smaller batches."
            raise BadRequest(413, "request_too_large", message)
        reservation.grow(memory)
        if complexity.size > UNZIP_BYTES or complexity.values > DECODED_VALUES_PER_EVENT:
            usual = complexity.size // BYTES_PER_EVENT  # the turn in which the body was uncompressed
            turns = (complexity.values + 2 * complexity.containers) // DECODED_VALUES_PER_EVENT
            if complexity.size > UNZIP_BYTES or turns > 1 + usual:
                await self._scheduler.turn(max(turns, usual))
        content: object
        try:
            content = decode_strictly(body)
        except orjson.JSONDecodeError as error:
            await self._scheduler.turn(EVENTS_PER_ROUND)
            content = decode_leniently(body, error)
        if not isinstance(content, dict):
            raise BadRequest(
                400, "not_an_object", "The body is not a JSON object. Send an event or a batch as an object."
            )
        return DecodedBody(content, complexity)
