"""Redaction: the form in which a rejected event is stored, with the values to send in place of the personal values.

A redacted event has the match keys at the paths at which mapping looks first, and only those other values that mapping
reads. Mapped later, after the settings were fixed, it gives the same upload as the original. A value that could not be
normalised is lost: a phone number without a country stays lost when a country is configured later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.mapping.custom_properties import is_personal, remove_path, scrub_any
from gateway.mapping.encodable import make_encodable
from gateway.mapping.extract import Extractor
from gateway.mapping.fields import CUSTOM, EVENT, IDENTITY, MatchKey, Special, is_derived
from gateway.mapping.json_path import at
from gateway.mapping.rules import BIRTHDAY_KEYS, NEVER, Rules, today_of
from gateway.model import JsonObject

ROOT = ("type", "event", "messageId", "originalTimestamp", "timestamp", "sentAt", "integrations")
"""Keys of the event that are kept without their personal names."""
CONTEXT = ("context.page.url", "context.dataProcessingOptions")
"""Paths in the context that are kept without their personal names."""


class Redactor:
    """Redacts events for one destination."""

    def __init__(self, rules: Rules, paths: Mapping[str, Sequence[str]], personal: Sequence[str]) -> None:
        """`personal` are the paths that the settings add to identity fields."""
        self._rules = rules
        self._extractor = Extractor(rules, paths)
        self._personal = [path.split(".") for path in personal]
        self._fields = [field for field in IDENTITY if not is_derived(field)]
        self._kept = [
            path
            for field in (*EVENT, *CUSTOM)
            for path in paths[field.name]
            if path.split(".")[0] not in {"properties", *ROOT}
        ]

    def redact(self, event: Any, now: int | None = None) -> bytes | None:
        """The redacted event as JSON; None for a value that is not an object.

        A birthday after `now` (unix seconds) is dropped; without `now`, every birthday is kept.
        """
        if event.__class__ is not dict:
            return None
        today = NEVER if now is None else today_of(now // 86400)
        try:
            return orjson.dumps(self._redacted(event, today))
        except (TypeError, ValueError, RecursionError):
            return orjson.dumps(self._redacted(make_encodable(event), today))

    def _redacted(self, event: JsonObject, today: int) -> JsonObject:
        redacted: JsonObject = {key: event[key] for key in ROOT if key in event}
        if "integrations" in redacted:
            redacted["integrations"] = scrub_any(redacted["integrations"])
        for path in CONTEXT:
            if (value := at(event, path)) is not None:
                _put(redacted, path, scrub_any(value))
        properties = event.get("properties")
        if properties.__class__ is dict:
            redacted["properties"] = {
                name: scrub_any(value) for name, value in properties.items() if not is_personal(name)
            }
        for path in self._kept:
            if (value := at(event, path)) is not None:
                _put(redacted, path, scrub_any(value))
        for steps in self._personal:
            remove_path(redacted, steps)
        country = self._extractor.country(event)
        for field, found in self._extractor.extract(event, self._fields, today):
            if found.sent is not None:
                _put(redacted, field.redacted_path, self._value(field, found.raw, found.sent, country))
        return redacted

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


def _put(tree: JsonObject, path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        inner = tree.get(parent)
        if inner.__class__ is not dict:
            inner = tree[parent] = {}
        tree = inner
    tree[leaf] = value
