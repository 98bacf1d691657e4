"""One event on its way through one destination, and how the reference mapper looks things up in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.config import DestinationSettings
from gateway.model import Dialect, JsonObject
from tests.mapping.reference_tables import IDS, PATHS
from tests.mapping.reference_values import LONGEST_VALUE, as_text, at, make_encodable


class Reading:
    """One event on its way through one destination."""

    def __init__(self, name: str, destination: DestinationSettings, event: JsonObject, now: int) -> None:
        self.name = name
        self.destination = destination
        self.event = event
        self.now = now
        self.conversions = destination.api is Dialect.CONVERSIONS
        self.used: set[tuple[str, ...]] = set()
        """Paths below `properties` that a field took its value from."""

    def found(self, field: str, usable: Callable[[Any], Any]) -> tuple[str, Any]:
        """The first path with a value that is present, and the value as `usable` reads it."""
        for path in [*PATHS[field], *self.destination.extra_fields.get(field, ())]:
            value = at(self.event, path)
            if isinstance(value, str) and make_encodable(value) is None and field != "event_time":
                continue
            read = usable(value)
            if field in IDS and isinstance(read, str) and len(read) > LONGEST_VALUE:
                continue
            if read is not None:
                return path, read
        return "", None

    def first(self, field: str, usable: Callable[[Any], Any]) -> Any:
        """The first value that is present. If it is a property, it has been used."""
        path, read = self.found(field, usable)
        self.use(path)
        return read

    def use(self, path: str) -> None:
        top, _, rest = path.partition(".")
        if top == "properties" and rest:
            self.used.add(tuple(rest.split(".")))

    def text(self, field: str, fit: Callable[[str], bool] = bool) -> str | None:
        """The field's text, trimmed; None where it is absent, is not `fit`, or cannot be written as UTF-8."""
        path, value = self.found(field, as_text)
        text = make_encodable((value or "").strip())
        if text is None or not fit(text):
            return None
        self.use(path)
        return text
