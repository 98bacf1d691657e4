"""Comparison of the compiled mapper with the reference mapper on generated events, and reduction of failing events.

A test run compares `EVENTS` events. `GATEWAY_PROPERTY_EVENTS=1000000` sets another number.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from hypothesis import Phase, settings

from gateway.config import DestinationSettings
from gateway.mapping import Mapper, compile_mapper
from gateway.model import JsonObject, Mapped, NotSent, Rejection
from tests.mapping import event_generator
from tests.mapping.builders import NOW
from tests.mapping.reference_mapper import map_event

EVENTS = int(os.environ.get("GATEWAY_PROPERTY_EVENTS", "4000"))
SECONDS = 60 + EVENTS // 100
"""Timeout of a property test, in seconds. It allows 100 events a second, a tenth of the usual speed."""
EVENTS_A_SEED = 40
"""Events for each generated destination. Compiling its mapper takes as long as mapping some hundred events."""

Outcome: TypeAlias = str | list[tuple[str, int, bytes]] | None
"""The compared result: a rejection code, a text for a `NotSent`, None for an ignored event, or lane, `expires_at` and
canonical JSON of each mapped event."""


def property_settings(events: int = EVENTS) -> settings:
    """Settings without shrinking: a smaller seed is not a simpler case. `smallest` reduces the event instead."""
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    return settings(max_examples=max(1, events // EVENTS_A_SEED), deadline=None, phases=phases)


@dataclass(frozen=True, slots=True)
class Case:
    """A generated destination with its mapper, and events for it."""

    tree: JsonObject
    destination: DestinationSettings
    mapper: Mapper
    max_event_bytes: int
    events: list[Any]

    def reference(self, event: Any) -> Mapped:
        return map_event("store", self.destination, event, NOW, self.max_event_bytes)


def case(seed: int, events: int = EVENTS_A_SEED) -> Case:
    rng = random.Random(seed)
    tree = event_generator.settings(rng)
    destination = DestinationSettings.model_validate(tree)
    max_event_bytes = rng.choice((32_768, 32_768, 700))
    mapper = compile_mapper("store", destination, max_event_bytes)
    return Case(tree, destination, mapper, max_event_bytes, [event_generator.event(rng) for _ in range(events)])


def outcome(mapped: Mapped) -> Outcome:
    """The result to compare: without the order of keys and the message of a rejection."""
    if mapped is None:
        return None
    if isinstance(mapped, NotSent):
        return f"not sent: {mapped}"
    if isinstance(mapped, Rejection):
        return mapped.code
    return [(str(each.lane), each.expires_at, canonical(each.body)) for each in mapped]


def canonical(body: bytes) -> bytes:
    """The body with sorted keys. Fails if it is not on one line, has spaces, or has a key twice."""
    decoded = orjson.loads(body)
    assert b"\n" not in body
    assert len(orjson.dumps(decoded)) == len(body), body
    return orjson.dumps(decoded, option=orjson.OPT_SORT_KEYS)


def smallest(event: Any, fails: Callable[[Any], bool]) -> Any:
    """The event without all parts that are not needed for it to fail."""
    shrinking = True
    while shrinking:
        shrinking = False
        for smaller in reductions(event):
            if fails(smaller):
                event, shrinking = smaller, True
                break
    return event


def reductions(value: Any) -> Iterator[Any]:
    """The value without one of its parts, for each part at any depth."""
    if isinstance(value, dict):
        for key in value:
            yield {other: inner for other, inner in value.items() if other != key}
            yield from (value | {key: smaller} for smaller in reductions(value[key]))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield value[:index] + value[index + 1 :]
            yield from ([*value[:index], smaller, *value[index + 1 :]] for smaller in reductions(value[index]))
