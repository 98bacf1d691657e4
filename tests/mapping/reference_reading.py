"""Lookup of values in a source event, for the reference mapper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.config import DestinationSettings
from gateway.model import Dialect, JsonObject
from tests.mapping.reference_tables import IDS, PATHS
from tests.mapping.reference_values import LONGEST_VALUE, as_text, at, make_encodable


class Reading:
    """Reads one event for one destination."""

    def __init__(self, name: str, destination: DestinationSettings, event: JsonObject, now: int) -> None:
        self.name = name
        self.destination = destination
        self.event = event
        self.now = now
        self.conversions = destination.api is Dialect.CONVERSIONS
        self.used: set[tuple[str, ...]] = set()
        """Paths below `properties` from which a field has its value."""

    def find(self, field: str, usable: Callable[[Any], Any]) -> tuple[str, Any]:
        """The first path with a value that is present, and the result of `usable` for the value."""
        extra = self.destination.extra_fields.get(field, ())
        for path in [*extra, *PATHS[field]] if field == "event_id" else [*PATHS[field], *extra]:
            value = at(self.event, path)
            if isinstance(value, str) and make_encodable(value) is None and field != "event_time":
                continue
            result = usable(value)
            if field in IDS and isinstance(result, str) and len(result) > LONGEST_VALUE:
                continue
            if result is not None:
                return path, result
        return "", None

    def first(self, field: str, usable: Callable[[Any], Any]) -> Any:
        """The first value that is present. If it is a property, the property is marked as used."""
        path, value = self.find(field, usable)
        self.use(path)
        return value

    def use(self, path: str) -> None:
        top, _, rest = path.partition(".")
        if top == "properties" and rest:
            self.used.add(tuple(rest.split(".")))

    def text(
        self, field: str, accepts: Callable[[str], bool] = bool, passes: Callable[[str], bool] = bool
    ) -> str | None:
        """The field's text, trimmed. None if it is absent, is not accepted, or cannot be encoded as UTF-8.

        A text that does not pass counts as absent: the next path is read.
        """

        def passing(value: Any) -> str | None:
            text = as_text(value)
            return text if text is not None and passes(text) else None

        path, value = self.find(field, passing)
        text = make_encodable((value or "").strip())
        if text is None or not accepts(text):
            return None
        self.use(path)
        return text
