"""One destination's mapper: the compiled function, its counters, and what stands around them."""

from __future__ import annotations

import math
from typing import Any

from gateway.config import DestinationSettings
from gateway.mapping import reference_data
from gateway.mapping.compiler import Plan, compile_functions
from gateway.mapping.coverage import Counters
from gateway.mapping.custom_properties import MAX_DEPTH
from gateway.mapping.redact import Redactor
from gateway.mapping.rejections import rejected
from gateway.model import Mapped
from gateway.telemetry import Coverage

DEFAULT_MAX_EVENT_BYTES = 32 * 1024


class Mapper:
    """Maps source events for one destination. Made by `compile_mapper`."""

    def __init__(self, name: str, destination: DestinationSettings, max_event_bytes: int) -> None:
        self.name = name
        self.destination = destination
        reference_data.load()
        self._counters = Counters()
        plan = Plan(name, destination, max_event_bytes, self._counters)
        self.rules = plan.rules
        self.paths = plan.paths
        self.source_code, self.map = compile_functions(plan, self._map_encodable)
        self._redactor = Redactor(plan.rules, plan.paths, plan.personal_paths)

    def _map_encodable(self, event: Any, now: int) -> Mapped:
        """What cannot be encoded as it is: lone surrogates, integers beyond 64 bits, bottomless nesting.

        They are rare, so nothing looks for them beforehand.
        """
        self._counters.notes["unusable_property"] += 1
        readable = make_encodable(event)
        if readable == event:  # pragma: no cover (what is encodable does not get here)
            return rejected("not_an_object", "The event cannot be read.")
        return self.map(readable, now)

    def redact(self, event: Any, now: int | None = None) -> bytes | None:
        """The event with every personal value replaced by what would have been sent; None for what is no object."""
        return self._redactor.redact(event, now)

    def coverage(self) -> Coverage:
        """How often each match key was there, and why it was dropped."""
        return self._counters.snapshot(self.destination.api)


def compile_mapper(
    name: str, destination: DestinationSettings, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES
) -> Mapper:
    """The mapper of a destination. `mapper.map(event, now)` takes any JSON value and the time in unix seconds."""
    return Mapper(name, destination, max_event_bytes)


def make_encodable(value: Any, depth: int = 0) -> Any:
    """A copy in which what JSON bytes cannot hold is null."""
    match value:
        case str():
            return value if not any("\ud800" <= char <= "\udfff" for char in value) else None
        case bool() | None:
            return value
        case int():
            return value if -(2**63) <= value < 2**64 else None
        case float():
            return value if math.isfinite(value) else None
        case dict() if depth < MAX_DEPTH:
            return {
                name: make_encodable(inner, depth + 1)
                for name, inner in value.items()
                if isinstance(name, str) and make_encodable(name) is not None
            }
        case list() if depth < MAX_DEPTH:
            return [make_encodable(inner, depth + 1) for inner in value]
        case _:
            return None
