"""The plan of one destination: everything that the compiler needs of the settings, resolved once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gateway.config import DestinationSettings
from gateway.mapping.coverage import Counters
from gateway.mapping.custom_properties import remove_path
from gateway.mapping.extract import Extractor
from gateway.mapping.fields import BY_NAME, CONVERTED, FIELDS, IDENTITY, NAME, Field, Special
from gateway.mapping.json_path import candidates, is_blank, text_of
from gateway.mapping.personal import is_personal_text
from gateway.mapping.routes import Route, routes_of
from gateway.mapping.rules import Rules
from gateway.model import Dialect, JsonObject, Lane

Targets = list[tuple[str, bool, list[tuple[str, Lane]]]]
"""Routes in the form in which the generated code reads them: standard event, whether `content_type` is `product_group`
without products, and the event sets, each with its lane for events without an upload tag."""


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
        self.paths = {field.name: self._paths(field) for field in FIELDS}
        """Source paths by field: those of the registry, and those of the settings."""
        self.count_wrong_type = self.counted("wrong_type")
        self.extractor = Extractor(
            self.rules, self.paths, count_wrong_type=self.count_wrong_type, count_dropped=self._count_dropped
        )
        self.targets = {event: self._targets(routes) for event, routes in routes_of(destination).items()}

    def counted(self, note: str) -> Callable[[], None]:
        """A function that increments one of the notes."""
        notes = self.counters.notes

        def count() -> None:
            notes[note] += 1

        return count

    def as_object(self, value: Any) -> dict[str, Any]:
        """An empty object, in place of a value that should be an object and is not. Counted unless it is blank."""
        if not is_blank(value):
            self.count_wrong_type()
        return {}

    def find_text(self, event: Any, field: str) -> str | None:
        """The first usable text of a field, trimmed. Texts that are too long count as of the wrong type."""
        return next((text.strip() for _, text in self.texts(event, BY_NAME[field])), None)

    def texts(self, event: Any, field: Field) -> Iterator[tuple[str, str]]:
        """The paths of a field that have a usable text, each with the text."""
        for path, text in candidates(event, self.paths[field.name], text_of, self.count_wrong_type):
            if len(text) > field.max_length:
                self.count_wrong_type()
            elif not (field.screened and is_personal_text(text)):
                yield path, text

    def event_values(self, event: Any, custom: dict[str, Any], count_wrong_type: Callable[[], None]) -> JsonObject:
        """The values of the fields of `CONVERTED`, by key. The properties from which they come leave `custom`."""
        values: JsonObject = {}
        for field in CONVERTED:
            [key] = field.keys(self.dialect)
            convert: Any = field.convert
            for path, value in candidates(event, self.paths[field.name], convert, count_wrong_type):
                values[key] = value
                if path.startswith("properties."):
                    remove_path(custom, path.split(".")[1:])
                break
        return values

    @property
    def personal_paths(self) -> Sequence[str]:
        """Additional paths of the settings for identity fields. Values at these paths are never passed on."""
        extra = self.destination.extra_fields
        return [path for field in (*IDENTITY, NAME) for path in extra.get(field.name, ())]

    def _paths(self, field: Field) -> tuple[str, ...]:
        additional = self.destination.extra_fields.get(field.name, ())
        if field.additional_paths_first:
            return (*additional, *field.paths)
        own: tuple[str, ...] = ()
        if field.special is Special.VALUE and (value_field := self.destination.value_field):
            own = (value_field,) if "." in value_field else (value_field, f"properties.{value_field}")
        return tuple(dict.fromkeys((*own, *field.paths, *additional)))

    def _count_dropped(self, field: str, cause: str) -> None:
        self.counters.dropped[field, cause] += 1

    def _targets(self, routes: Sequence[Route]) -> Targets:
        tag = self.destination.upload_tag
        return [
            (
                route.standard,
                route.group_without_products,
                [(event_set, Lane(self.name, event_set, tag)) for event_set in dict.fromkeys(route.event_sets)],
            )
            for route in routes
            if route.event_sets
        ]
