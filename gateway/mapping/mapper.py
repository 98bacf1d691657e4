"""The mapper of one destination: the compiled function, its counters, and redaction."""

from __future__ import annotations

from typing import Any

from gateway.config import DestinationSettings
from gateway.identifiers import EventIds
from gateway.mapping import reference_data
from gateway.mapping.compiler import Plan, compile_functions
from gateway.mapping.coverage import Counters
from gateway.mapping.encodable import make_encodable
from gateway.mapping.native import NativeMapper, compile_native
from gateway.mapping.redact import Redactor
from gateway.mapping.rejections import rejected
from gateway.model import Mapped
from gateway.telemetry import Coverage

DEFAULT_MAX_EVENT_BYTES = 32 * 1024


class Mapper:
    """Maps source events for one destination. Create it with `compile_mapper`."""

    def __init__(self, name: str, destination: DestinationSettings, max_event_bytes: int) -> None:
        self.name = name
        self.destination = destination
        reference_data.load()
        self._counters = Counters()
        plan = Plan(name, destination, max_event_bytes, self._counters)
        self.rules = plan.rules
        self.paths = plan.paths
        """Source paths by field, those of the settings included."""
        self.source_code, self.map = compile_functions(plan, self._map_encodable)
        native = compile_native(plan)
        self.native: NativeMapper | None = native if isinstance(native, NativeMapper) else None
        """Maps the usual events of a request's body; None: `map` maps all events."""
        self.path = "native" if isinstance(native, NativeMapper) else native
        """Which path maps the usual events, and why, for operators."""
        self._redactor = Redactor(destination, plan.rules, plan.paths, plan.personal_paths)

    def _map_encodable(self, event: Any, now: int) -> Mapped:
        """Map an event that cannot be encoded: one with lone surrogates, integers beyond 64 bits or extreme nesting.

        Such events are rare. They are recognised by the exception of the encoder, not by a check of every event.
        """
        self._counters.notes["unusable_property"] += 1
        encodable = make_encodable(event)
        if encodable == event:  # pragma: no cover (an encodable event is mapped by the slow path)
            return rejected("not_an_object", "The event cannot be read.")
        return self.map(encodable, now)

    def redact(self, event: Any, now: int | None = None) -> bytes | None:
        """The event with the values to send in place of the personal values.

        None for a value that is not an object, and for an event that denies consent, of which nothing may be kept.

        A birthday after `now` (unix seconds) is dropped; without `now`, every birthday is kept.
        """
        return self._redactor.redact(event, now)

    def ids(self, event: Any) -> EventIds:
        """The message ID and the order ID of a source event, of any type; none of an event that denies consent."""
        return self._redactor.ids(event)

    def coverage(self) -> Coverage:
        """How often each match key was present, and why values were dropped."""
        if self.native is not None:
            self.native.count()
        return self._counters.snapshot(self.destination.api)


def compile_mapper(
    name: str, destination: DestinationSettings, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES
) -> Mapper:
    """Compile the mapper of a destination.

    `mapper.map(event, now)` takes any JSON value and the time in unix seconds.
    """
    return Mapper(name, destination, max_event_bytes)
