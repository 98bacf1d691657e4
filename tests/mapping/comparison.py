"""The generated mapper beside the reference, over generated events: where do they differ, and on how small an event?

How many events a test run compares is `EVENTS`; `GATEWAY_PROPERTY_EVENTS=1000000` runs for as long as that takes.
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
from gateway.model import JsonObject, Mapped, Rejection
from tests.mapping import strategies
from tests.mapping.builders import NOW
from tests.mapping.reference_mapper import map_event

EVENTS = int(os.environ.get("GATEWAY_PROPERTY_EVENTS", "4000"))
SECONDS = 60 + EVENTS // 100
"""After which a property test has hung; a hundred events a second is a tenth of what is usual."""
EVENTS_A_SEED = 40
"""Events that share one destination: to compile its mapper costs as much as mapping some hundred events."""

Seen: TypeAlias = str | list[tuple[str, int, bytes]] | None
"""What is compared: the rejection's code, None for ignored, or lane, end of time and canonical JSON of each upload."""


def property_settings(events: int = EVENTS) -> settings:
    """Seeds do not shrink to anything simpler, so nothing is shrunk; `smallest` does it on the event."""
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    return settings(max_examples=max(1, events // EVENTS_A_SEED), deadline=None, phases=phases)


@dataclass(frozen=True, slots=True)
class Case:
    """A destination with its mapper, and events for it."""

    tree: JsonObject
    destination: DestinationSettings
    mapper: Mapper
    max_event_bytes: int
    events: list[Any]

    def reference(self, event: Any) -> Mapped:
        return map_event("store", self.destination, event, NOW, self.max_event_bytes)


def case(seed: int, events: int = EVENTS_A_SEED) -> Case:
    rng = random.Random(seed)
    tree = strategies.settings(rng)
    destination = DestinationSettings.model_validate(tree)
    max_event_bytes = rng.choice((32_768, 32_768, 700))
    mapper = compile_mapper("store", destination, max_event_bytes)
    return Case(tree, destination, mapper, max_event_bytes, [strategies.event(rng) for _ in range(events)])


def seen(mapped: Mapped) -> Seen:
    """What of a mapping is compared: not the order of keys, not a rejection's sentence."""
    if mapped is None:
        return None
    if isinstance(mapped, Rejection):
        return mapped.code
    return [(str(one.lane), one.expires_at, canonical(one.body)) for one in mapped]


def canonical(body: bytes) -> bytes:
    """JSON with sorted keys. Fails where the body is not on one line, or has spaces or a key twice."""
    decoded = orjson.loads(body)
    assert b"\n" not in body
    assert len(orjson.dumps(decoded)) == len(body), body
    return orjson.dumps(decoded, option=orjson.OPT_SORT_KEYS)


def smallest(event: Any, fails: Callable[[Any], bool]) -> Any:
    """The event with everything taken out that is not needed for it to fail."""
    shrinking = True
    while shrinking:
        shrinking = False
        for smaller in cut(event):
            if fails(smaller):
                event, shrinking = smaller, True
                break
    return event


def cut(value: Any) -> Iterator[Any]:
    """The value with one thing less, wherever that thing is."""
    if isinstance(value, dict):
        for key in value:
            yield {other: one for other, one in value.items() if other != key}
            yield from (value | {key: smaller} for smaller in cut(value[key]))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield value[:index] + value[index + 1 :]
            yield from ([*value[:index], smaller, *value[index + 1 :]] for smaller in cut(value[index]))
