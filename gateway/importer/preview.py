"""Looks at the first rows of a file without sending any: counts, rejections, and how the gateway would map them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from gateway.importer.plan import Plan
from gateway.mapping import Mapper
from gateway.model import Rejection

MAX_SHOWN = 10
"""Rejections that are listed."""


@dataclass(slots=True)
class Preview:
    """What would become of the first rows."""

    rows: int = 0
    sent: int = 0
    skipped: int = 0
    rejections: Counter[str] = field(default_factory=Counter)
    """Rows by code."""
    examples: list[tuple[int, Rejection]] = field(default_factory=list)
    """The first rejections, with their lines."""
    events: Counter[str] = field(default_factory=Counter)
    """Calls by event name."""
    coverage: dict[str, dict[str, float]] = field(default_factory=dict)
    """By destination and match key, the share of the mapped events that have it. Empty without settings."""

    def reject(self, line: int, rejection: Rejection) -> None:
        """Count a rejection."""
        self.rejections[rejection.code] += 1
        if len(self.examples) < MAX_SHOWN:
            self.examples.append((line, rejection))


def preview(plan: Plan, mappers: Sequence[tuple[str, Mapper]], now: float | None = None) -> Preview:
    """Convert the first rows, and map them if there are mappers (by destination)."""
    seconds = int(time.time() if now is None else now)
    result = Preview(rows=len(plan.sample))
    for row in plan.sample:
        converted = plan.converter.convert(row)
        if converted is None:
            result.skipped += 1
        elif isinstance(converted, Rejection):
            result.reject(row.line, converted)
        else:
            call = orjson.loads(converted)
            result.events[str(call.get("event"))] += 1
            mapped = [mapper.map(call, seconds) for _, mapper in mappers]
            rejections = [each for each in mapped if isinstance(each, Rejection)]
            if mapped and len(rejections) == len(mapped):
                result.reject(row.line, rejections[0])
            else:
                result.sent += 1
    for name, mapper in mappers:
        coverage = mapper.coverage()
        if coverage.events:
            result.coverage[name] = {
                key: counts.present / coverage.events for key, counts in coverage.keys.items() if counts.present
            }
    return result
