"""Converts a row to a `track` call as JSON. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol

import orjson

from gateway.importer.amounts import NumberReader
from gateway.importer.fields import FIELDS, Place
from gateway.importer.headers import simplified
from gateway.importer.ndjson import parse_object
from gateway.importer.rows import Row, as_text
from gateway.importer.settings import ImportSettings
from gateway.importer.times import TimeReader, Unreadable
from gateway.mapping.routes import BUILT_IN
from gateway.model import GatewayError, JsonObject, Rejection

STANDARD_TO_SOURCE = {standard: name for name, standard in reversed([*BUILT_IN.items()])}
"""Event names that the gateway maps without a setting, by Meta's standard event: Meta's template has the latter."""
NO_TIME = Rejection("no_event_time", "The row has no time of the event. Fill in its column.")
DIGEST_BYTES = 16
MAX_LISTED = 30
"""Columns that an error message lists."""
_MARKED = frozenset("0123456789+")
_PLACES = (Place.TRAITS, Place.ADDRESS, Place.CONTEXT, Place.PAGE, Place.DEVICE, Place.PROPERTIES, Place.ROOT)


class Converter(Protocol):
    """Converts the rows of one file."""

    def convert(self, row: Row) -> bytes | Rejection | None:
        """The call as JSON; the reason why the row cannot be sent; or None if it is to be skipped."""
        ...


class RowConverter:
    """Converts rows of a table, by settings in which everything is decided."""

    def __init__(self, columns: Sequence[str], settings: ImportSettings, key: bytes) -> None:
        """`key`: up to 64 bytes that say which file it is. Raises `GatewayError` for a column that does not exist."""
        self._key = key
        self._settings = settings
        fields = {name: _indexes(columns, names) for name, names in settings.columns.items()}
        self._fields = fields
        self._texts = [
            (_PLACES.index(FIELDS[name].place), FIELDS[name].key, indexes)
            for name, indexes in fields.items()
            if FIELDS[name].place is not Place.SPECIAL
        ]
        self._lists = [(FIELDS[name].key, fields[name]) for name in ("email", "phone") if name in fields]
        self._properties = [(name, _indexes(columns, (column,))) for name, column in settings.properties.items()]
        self._only = [
            (_indexes(columns, (column,)), {value.strip().lower() for value in values})
            for column, values in settings.only.items()
        ]
        self._constants = {
            key: value
            for key, value in (
                ("currency", settings.currency),
                ("action_source", settings.action_source),
                ("upload_tag", settings.upload_tag),
            )
            if value
        }
        self._events = {**STANDARD_TO_SOURCE, **settings.events}
        self._times = TimeReader(settings.date_order, settings.time_zone)
        self._birthdays = TimeReader(settings.birthday_order, "UTC", "birthday_order")
        self._numbers = NumberReader(settings.decimal)

    def convert(self, row: Row) -> bytes | Rejection | None:
        """See `Converter`. Runs once a row."""
        if row.fault is not None:
            return row.fault
        cells = row.cells
        for indexes, values in self._only:
            if not any(as_text(cells[index]).strip().lower() in values for index in indexes):
                return None
        try:
            call = self._call(cells)
        except Unreadable as error:
            return error.rejection
        call["messageId"] = self.message_id(row)
        try:
            return orjson.dumps(call)
        except orjson.JSONEncodeError:
            return Rejection("not_encodable", "The row has characters that are no text in UTF-8. Correct them.")

    def message_id(self, row: Row) -> str:
        """An ID that depends on the file, the row number and the row: the same in every run."""
        try:
            cells = "\x1f".join(row.cells)
        except TypeError:  # not all of them are texts
            cells = "\x1f".join(map(as_text, row.cells))
        content = f"{row.number}\0{cells}".encode("utf-8", "surrogatepass")
        return f"backfill-{blake2b(content, key=self._key, digest_size=DIGEST_BYTES).hexdigest()}"

    def _call(self, cells: Sequence[Any]) -> JsonObject:
        """The call without its ID. Raises `Unreadable`."""
        parts: tuple[JsonObject, ...] = ({}, {}, {}, {}, {}, dict(self._constants), {"type": "track"})
        traits, address, context, page, device, properties, call = parts
        for place, key, indexes in self._texts:
            for index in indexes:
                value = cells[index]
                if value != "" and (text := (value if value.__class__ is str else as_text(value)).strip()):
                    parts[place][key] = _without_mark(text)
                    break
        if self._settings.country and "country" not in address:
            address["country"] = self._settings.country
        for key, indexes in self._lists:
            values = [_without_mark(text) for index in indexes if (text := as_text(cells[index]).strip())]
            if values:
                traits[key] = values[0] if len(values) == 1 else values
        self._add_special(cells, traits, context, properties, call)
        for key, indexes in self._properties:
            if (value := cells[indexes[0]]) != "":
                properties[key] = value if isinstance(value, str | int | float | bool) else as_text(value)
        for owner, key, part in ((traits, "address", address), (context, "page", page), (context, "device", device)):
            if part:
                owner[key] = part
        context["traits"] = traits
        call["context"] = context
        call["properties"] = properties
        return call

    def _add_special(
        self, cells: Sequence[Any], traits: JsonObject, context: JsonObject, properties: JsonObject, call: JsonObject
    ) -> None:
        name = as_text(self._first(cells, "event")).strip()
        call["event"] = self._events.get(name, name) if name else self._settings.event
        moment = self._first(cells, "event_time")
        if moment == "":
            raise Unreadable(NO_TIME)
        call["originalTimestamp"] = self._times.time(
            moment, as_text(self._first(cells, "time_of_day")).strip(), as_text(self._first(cells, "time_zone")).strip()
        )
        if (value := self._first(cells, "value")) != "":
            properties["total"] = self._numbers.number(value)
        if (birthday := self._first(cells, "birthday")) != "":
            traits["birthday"] = self._birthdays.date(birthday) if not _is_hash(birthday) else birthday
        elif (year := self._first(cells, "birth_year")) != "":
            month, day = self._first(cells, "birth_month"), self._first(cells, "birth_day")
            parts = [as_text(part).strip() for part in (year, month, day)]
            if all(part.isascii() and part.isdecimal() for part in parts):
                traits["birthday"] = "{:0>4}-{:0>2}-{:0>2}".format(*parts)
        if (lead := self._first(cells, "lead_id")) != "":
            context["externalId"] = [{"type": "LeadId", "id": as_text(lead).strip()}]

    def _first(self, cells: Sequence[Any], field: str) -> Any:
        """The first value of a field that is not blank; "" if there is none."""
        if field in self._fields:
            for index in self._fields[field]:
                value = cells[index]
                if value != "" and not (value.__class__ is str and value.isspace()):
                    return value
        return ""


def _without_mark(text: str) -> str:
    """A value without the apostrophe that makes a spreadsheet show digits as a text (Shopify: zip, phone)."""
    return text[1:] if text[0] == "'" and text[1:2] in _MARKED and len(text) > 1 else text


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value.strip()) == 64


def _indexes(columns: Sequence[str], names: Sequence[str]) -> list[int]:
    """The positions of the columns with these names; a name that occurs several times has several."""
    found: list[int] = []
    for name in names:
        indexes = [index for index, column in enumerate(columns) if column == name]
        indexes = indexes or [index for index, column in enumerate(columns) if simplified(column) == simplified(name)]
        if not indexes:
            known = ", ".join(map(repr, columns[:MAX_LISTED]))
            raise GatewayError(f"there is no column {name!r}; the first columns are {known}")
        found += indexes
    return found


class CallConverter:
    """Passes `track` calls on. A call without a `messageId` gets one, so that a repeated request is recognised."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def convert(self, row: Row) -> bytes | Rejection | None:
        """See `Converter`."""
        if row.fault is not None:
            return row.fault
        document, fault = parse_object(row.raw or "")
        if document is None:
            return fault
        if not isinstance(document.get("messageId"), str) or not document["messageId"]:
            digest = blake2b(f"{row.number}\0{row.raw}".encode("utf-8", "surrogatepass"), key=self._key)
            document["messageId"] = f"backfill-{digest.hexdigest()[: 2 * DIGEST_BYTES]}"
        try:
            return orjson.dumps(document)
        except orjson.JSONEncodeError:
            return Rejection("invalid_json", "The line has too many levels, or a number beyond 64 bits. Correct it.")
