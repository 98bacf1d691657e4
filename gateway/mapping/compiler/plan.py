"""What the parts need to know of a destination, resolved once: rules, paths, routes, counters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gateway.config import DestinationSettings
from gateway.mapping.coverage import Counters
from gateway.mapping.extract import Extractor
from gateway.mapping.fields import BY_NAME, IDENTITY, NAME
from gateway.mapping.json_path import candidates, is_blank, text_of
from gateway.mapping.normalise import MAX_TEXT
from gateway.mapping.routes import Route, routes_of
from gateway.mapping.rules import Rules, today_of
from gateway.model import Dialect, Lane

IDS = frozenset({"event_id", "order_id", "item_number"})
MAX_LONG_TEXT = 4096

Targets = list[tuple[str, bool, list[tuple[str, Lane]]]]
"""Routes as the function walks them: standard event, content type rule, event sets with their usual lane."""


def max_length(field: str) -> int:
    """Characters beyond which a text of the field counts as absent."""
    return MAX_TEXT if field in IDS else MAX_LONG_TEXT


class Plan:
    """One destination, as the compiler sees it."""

    def __init__(self, name: str, destination: DestinationSettings, max_event_bytes: int, counters: Counters) -> None:
        self.name = name
        self.destination = destination
        self.dialect = destination.api
        self.is_conversions = destination.api is Dialect.CONVERSIONS
        self.max_event_bytes = max_event_bytes
        self.counters = counters
        self.rules = Rules(destination)
        self.paths = {
            field.name: (*field.paths, *destination.extra_fields.get(field.name, ())) for field in BY_NAME.values()
        }
        self.paths["value"] = tuple(dict.fromkeys((destination.value_field, *self.paths["value"])))
        self.count_wrong_type = self.counted("wrong_type")
        self.extractor = Extractor(
            self.rules, self.paths, count_wrong_type=self.count_wrong_type, dropped=self._dropped
        )
        self.targets = {event: self._targets(found) for event, found in routes_of(destination).items()}

    def counted(self, note: str) -> Callable[[], None]:
        """A function that counts one of the notes."""
        notes = self.counters.notes

        def count() -> None:
            notes[note] += 1

        return count

    def as_object(self, value: Any) -> dict[str, Any]:
        """What stands for a value that should be an object and is none."""
        if not is_blank(value):
            self.count_wrong_type()
        return {}

    def find(self, event: Any, field: str, country: str | None, now: int) -> Any:
        """What is sent of a match key, found the patient way."""
        return self.extractor.sent(event, field, country, today_of(now // 86400))

    def find_text(self, event: Any, field: str) -> str | None:
        """The first usable text of a field, found the patient way."""
        maximum = max_length(field)
        for _, text in candidates(event, self.paths[field], text_of, self.count_wrong_type):
            if len(text) <= maximum:
                return str(text).strip()
            self.count_wrong_type()
        return None

    @property
    def personal_paths(self) -> Sequence[str]:
        """Paths that the settings name as an identity: what stands there is never passed on."""
        extra = self.destination.extra_fields
        return [path for field in (*IDENTITY, NAME) for path in extra.get(field.name, ())]

    def _dropped(self, field: str, cause: str) -> None:
        self.counters.dropped[field, cause] += 1

    def _targets(self, routes: Sequence[Route]) -> Targets:
        tag = self.destination.upload_tag
        return [
            (
                route.standard,
                route.group_without_products,
                [(one, Lane(self.name, one, tag)) for one in dict.fromkeys(route.event_sets)],
            )
            for route in routes
            if route.event_sets
        ]
