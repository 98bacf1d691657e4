"""Comparison of the native mapper with the Python path: the same bytes, lanes and counters for every event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.mapping import Mapper, compile_mapper
from gateway.mapping.native import Document, NativeMapper, read
from gateway.model import MappedEvent, join_mapped
from tests.mapping.builders import NOW

MAX_VALUES = 1_000_000
MAX_DEPTH = 250


def read_body(body: bytes) -> Document | None:
    return read(body, MAX_VALUES, MAX_DEPTH)


def document_of(body: bytes) -> Document:
    """The document of a body that the extension must be able to read."""
    document = read_body(body)
    assert document is not None, "the extension does not read the body"
    return document


def encoded(event: Any) -> bytes | None:
    """The event as a sender writes it; None for one that cannot be written as JSON."""
    try:
        return orjson.dumps(event)
    except orjson.JSONEncodeError:
        return None


def bodies(events: Sequence[Any]) -> Iterator[bytes]:
    """The events as bodies that the extension reads."""
    for event in events:
        body = encoded(event)
        if body is not None and read_body(body) is not None:
            yield body


def native_of(mapper: Mapper) -> NativeMapper:
    assert mapper.native is not None, mapper.path
    return mapper.native


class Pair:
    """Two mappers of one destination: one maps natively, the other one the same events with the Python path."""

    def __init__(self, destination: DestinationSettings, max_event_bytes: int = 32_768) -> None:
        self.native = compile_mapper("store", destination, max_event_bytes)
        self.python = compile_mapper("store", destination, max_event_bytes)
        self.mapped = 0
        """Events that were mapped natively."""

    @property
    def is_native(self) -> bool:
        """Whether the settings allow native mapping at all."""
        return self.native.native is not None

    def difference(self, body: bytes, now: int = NOW) -> str | None:
        """Map the event or batch of a body with both; None if the results are the same."""
        document = document_of(body)
        runs, fall_back = native_of(self.native).map(document, bytes([1]) * document.events, now)
        decoded = orjson.loads(body)
        events = decoded["batch"] if document.is_batch else [decoded]
        mapped: list[MappedEvent] = []
        for index, event in enumerate(events):
            if index not in fall_back:
                self.mapped += 1
                result = self.python.map(event, now)
                if not isinstance(result, list):
                    return f"mapped natively, but the Python path says {result}"
                mapped += result
        native, python = sorted(runs), sorted(join_mapped(mapped))
        return None if native == python else f"native {native}\npython {python}"

    def counter_difference(self) -> str | None:
        """None if both have counted the same."""
        native, python = self.native.coverage(), self.python.coverage()
        return None if native == python else f"counters: native {native}\npython {python}"
