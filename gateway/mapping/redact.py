"""A rejected event as it may be kept: every personal value replaced by what would have been sent.

The identity stands in `traits`, where the table looks first; what mapping never reads is left out. A sealed event maps,
after the settings were mended, to what the original would have been. A value that could not be normalised is gone: a
phone number without a country stays lost when a country is set later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.mapping.custom_properties import is_personal, remove_path, scrub
from gateway.mapping.extract import Extractor
from gateway.mapping.fields import CUSTOM, EVENT
from gateway.mapping.json_path import at
from gateway.mapping.rules import NEVER, Rules, today_of
from gateway.model import JsonObject

ROOT = ("type", "event", "messageId", "originalTimestamp", "timestamp", "sentAt", "integrations")
"""What is kept of the event itself, unchanged."""
CONTEXT = ("context.page.url", "context.dataProcessingOptions")
"""What is kept of the context, unchanged."""

PLACES: Mapping[str, str] = {
    "email": "traits.email",
    "phone": "traits.phone",
    "gender": "traits.gender",
    "birthday": "traits.birthday",
    "first_name": "traits.firstName",
    "last_name": "traits.lastName",
    "city": "traits.address.city",
    "state": "traits.state",
    "zip": "traits.zip",
    "country": "traits.country",
    "external_id": "userId",
    "madid": "context.device.advertisingId",
    "client_user_agent": "context.userAgent",
    "fbc": "context.fbc",
    "fbp": "context.fbp",
    "client_ip_address": "context.ip",
}
"""Where the sealed event has each match key: the first place at which mapping looks."""


class Redactor:
    """Seals events for one destination."""

    def __init__(self, rules: Rules, paths: Mapping[str, Sequence[str]], personal: Sequence[str]) -> None:
        """`personal` are paths that the settings name as an identity, beside those of the table."""
        self._rules = rules
        self._extractor = Extractor(rules, paths)
        self._personal = [path.split(".") for path in personal]
        others = [field.name for field in (*EVENT, *CUSTOM)]
        self._kept = [
            path for name in others for path in paths[name] if path.split(".")[0] not in {"properties", *ROOT}
        ]

    def redact(self, event: Any, now: int | None = None) -> bytes | None:
        """JSON without a personal value in it; None for what is no object, or what cannot be encoded.

        `now` (unix seconds) tells a birthday in the future, which is none; without it every one counts.
        """
        if event.__class__ is not dict:
            return None
        today = NEVER if now is None else today_of(now // 86400)
        try:
            return orjson.dumps(self._redacted(event, today))
        except (TypeError, ValueError, RecursionError):
            from gateway.mapping.mapper import make_encodable  # noqa: PLC0415 (the rare way; the mapper imports this room)

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
        for field, found in self._extractor.everything(event, today).items():
            if found.sent is None:
                continue
            if field == "lead_id":
                _put(redacted, "context.externalId", [{"type": "LeadId", "id": str(found.sent)}])
            elif field == "birthday":
                _put(redacted, PLACES[field], self._birthday(found.raw))
            else:
                _put(redacted, PLACES[field], found.sent)
        return redacted

    def _birthday(self, raw: Any) -> dict[str, str]:
        hashes = self._rules.birthday(raw, NEVER) or ("", "", "", "")
        return {key: part for key, part in zip(("db", "doby", "dobm", "dobd"), hashes, strict=True) if part}


def scrub_any(value: Any) -> Any:
    """A value without what is personal in it."""
    return scrub(value) if value.__class__ in {dict, list} else value


def _put(tree: JsonObject, path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        inner = tree.get(parent)
        if inner.__class__ is not dict:
            inner = tree[parent] = {}
        tree = inner
    tree[leaf] = value
