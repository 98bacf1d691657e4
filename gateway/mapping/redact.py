"""Redaction: the form in which a rejected event is stored, with the values to send in place of the personal values.

A redacted event has the match keys at the paths at which mapping looks first, and only those other values that mapping
reads. Mapped later, after the settings were fixed, it gives the same upload as the original. A value that could not be
normalised is lost: a phone number without a country stays lost when a country is configured later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.identifiers import NO_IDS, EventIds, short_id
from gateway.mapping import consent
from gateway.mapping.contents import CONTENT_KEYS, SINGLE_PRODUCT
from gateway.mapping.custom_properties import Screen, remove_path
from gateway.mapping.dialects import processing_options
from gateway.mapping.encodable import make_encodable
from gateway.mapping.extract import Extractor, click_id
from gateway.mapping.fields import CUSTOM, EVENT, IDENTITY, Field, MatchKey, Special, is_derived
from gateway.mapping.json_path import MAX_LONG_TEXT, at, candidates, text_of
from gateway.mapping.personal import clean_url, is_personal_text
from gateway.mapping.routes import switches_of
from gateway.mapping.rules import BIRTHDAY_KEYS, NEVER, Rules, today_of
from gateway.model import JsonObject

ROOT = ("type", "event", "messageId", "originalTimestamp", "timestamp", "sentAt")
"""Keys of the event of which a text or number is kept."""
OPTIONS = "context.dataProcessingOptions"
PRODUCT_KEYS = frozenset(key for _, sources in CONTENT_KEYS for key in sources)
"""Keys of a product that are read."""


class Redactor:
    """Redacts events for one destination."""

    def __init__(
        self,
        destination: DestinationSettings,
        rules: Rules,
        paths: Mapping[str, Sequence[str]],
        personal: Sequence[str],
    ) -> None:
        """`personal` are the paths that the settings add to identity fields."""
        self._denies_consent = consent.denier(destination.consent) if destination.consent else None
        self._switches = ("All", *switches_of(destination.api))
        self._screen = Screen(destination.allow_properties)
        self._rules = rules
        self._extractor = Extractor(rules, paths)
        self._order_id_paths = paths["order_id"]
        self._personal = [path.split(".") for path in personal]
        self._fields = [field for field in IDENTITY if not is_derived(field)]
        self._read = [
            (field, path)
            for field in (*EVENT, *CUSTOM)
            if field.keys(destination.api)
            for path in paths[field.name]
            if path not in ROOT
        ]

    def redact(self, event: Any, now: int | None = None) -> bytes | None:
        """The redacted event as JSON; None for a value that is not an object, and for an event that denies consent.

        A birthday after `now` (unix seconds) is dropped; without `now`, every birthday is kept.
        """
        if event.__class__ is not dict:
            return None
        if self._denies_consent is not None and self._denies_consent(event):
            return None
        today = NEVER if now is None else today_of(now // 86400)
        try:
            return _encode(self._redacted(event, today))
        except (TypeError, ValueError, RecursionError):
            return _encode(self._redacted(make_encodable(event), today))

    def ids(self, event: Any) -> EventIds:
        """The message ID and the order ID of an event, of any type; none of an event that denies consent.

        An ID that looks personal, such as an email address, is left out.
        """
        if event.__class__ is not dict or (self._denies_consent is not None and self._denies_consent(event)):
            return NO_IDS
        order_id = next((text for _, text in candidates(event, self._order_id_paths, text_of, lambda: None)), None)
        return EventIds(_impersonal_id(event.get("messageId")), _impersonal_id(order_id))

    def _redacted(self, event: JsonObject, today: int) -> JsonObject:
        redacted: JsonObject = {key: _root_value(event[key]) for key in ROOT if key in event}
        if redacted.get("type").__class__ is str and is_personal_text(redacted["type"]):
            del redacted["type"]  # mapping does not read it
        integrations = event.get("integrations")
        if integrations.__class__ is dict:
            entries = {name: _switch(integrations[name]) for name in self._switches if name in integrations}
            redacted["integrations"] = {name: entry for name, entry in entries.items() if entry is not None}
        for path, value in consent.redacted(event):
            _put(redacted, path, value)
        options = processing_options(at(event, OPTIONS), lambda: None)
        if options is not None:
            _put(redacted, OPTIONS, list(options.values()))
        properties = event.get("properties")
        if properties.__class__ is dict:
            redacted["properties"] = self._screen.value("", properties, [])
            for name in SINGLE_PRODUCT:
                if _is_flat(properties.get(name)):
                    redacted["properties"][name] = properties[name]
        for field, path in self._read:
            value = at(event, path)
            if value is not None and (kept := self._kept_value(field, path, value)) is not None:
                _put(redacted, path, kept)
        self._replace_property_url(event, redacted)
        for steps in self._personal:
            remove_path(redacted, steps)
        country = self._extractor.country(event)
        for field, found in self._extractor.extract(event, self._fields, today):
            if found.sent is not None:
                _put(redacted, field.redacted_path, self._value(field, found.raw, found.sent, country))
        return redacted

    @staticmethod
    def _replace_property_url(event: JsonObject, redacted: JsonObject) -> None:
        """Keep the click ID of a relative `properties.url` that was left out because it contains an email address."""
        given, page_url = at(event, "properties.url"), at(event, "context.page.url")
        if given.__class__ is str and text_of(page_url) is None and at(redacted, "properties.url") is None:
            click = click_id(page_url, given)
            _put(redacted, "context.page.url", f"?fbclid={click}" if click is not None else "/")

    def _kept_value(self, field: Field, path: str, value: Any) -> Any:
        """The value of a field that is no identity, in the form in which mapping reads it; None: it reads nothing."""
        if field.convert is not None and (path in field.paths or not path.startswith("properties.")):
            return field.convert(value)
        if field.screened:
            return value if not (value.__class__ is str and is_personal_text(value)) and _is_flat(value) else None
        match field.special:
            case Special.PAGE_URL:
                if path.startswith("properties."):
                    return None  # it is kept as what `custom_data` would have
                if value.__class__ is not str:
                    return value if _is_flat(value) else {}
                if len(value) > MAX_LONG_TEXT:
                    return ""
                return clean_url(value) or ("/" if value else "")
            case Special.CONTENTS:
                return self._products(value)
            case _:
                return value if _is_flat(value) else self._screen.value("", value, [])

    def _products(self, value: Any) -> Any:
        if value.__class__ is list:
            return [self._products(product) if product.__class__ is dict else None for product in value]
        if value.__class__ is not dict:
            return None
        read = {key: inner for key, inner in value.items() if key in PRODUCT_KEYS and _is_flat(inner)}
        return {**self._screen.value("", value, []), **read}

    def _value(self, field: MatchKey, raw: Any, sent: Any, country: str | None) -> Any:
        """The value of a match key in the form in which mapping reads it."""
        match field.special:
            case Special.LEAD_ID:
                return [{"type": "LeadId", "id": str(sent)}]
            case Special.BIRTHDAY:
                hashes = self._rules.birthday(raw, NEVER, country) or ("", "", "", "")
                return {key: part for key, part in zip(BIRTHDAY_KEYS, hashes, strict=True) if part}
            case _:
                return sent


def _impersonal_id(value: Any) -> str | None:
    """A text as an ID; None if it looks personal, is longer than any text that is read, or is no text."""
    text = text_of(value) if value.__class__ is str else None
    return short_id(text) if text is not None and not is_personal_text(text) else None


def _root_value(value: Any) -> Any:
    """A value of `ROOT`. Mapping treats all lists and objects as of the wrong type, so their content is left out."""
    return value if value is None or _is_flat(value) else {}


def _is_flat(value: Any) -> bool:
    return value.__class__ in {str, int, float, bool}


def _switch(entry: Any) -> Any:
    """What mapping reads of an entry of `integrations`: whether it is false, and its content type."""
    if entry.__class__ is dict:
        content_type = text_of(entry.get("contentType"))
        return {"contentType": content_type} if content_type is not None else {}
    return entry if entry is None else entry is not False


def _put(tree: JsonObject, path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        inner = tree.get(parent)
        if inner.__class__ is not dict:
            inner = tree[parent] = {}
        tree = inner
    tree[leaf] = value


def _encode(event: JsonObject) -> bytes:
    """The event as JSON, with sorted keys, in a copy of its own size: orjson's keeps the buffer that it grew in."""
    return bytes(memoryview(orjson.dumps(event, option=orjson.OPT_SORT_KEYS)))
