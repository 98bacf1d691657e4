"""The identity part of the reference mapper: `user_data` and `match_keys`."""

from __future__ import annotations

import datetime as dt
from typing import Any

from gateway.model import JsonObject
from tests.mapping import reference_normalise as normalise
from tests.mapping.reference_reading import Reading
from tests.mapping.reference_tables import HAS_VARIANTS, IDENTITY_KEYS, NAME_STARTS, NEVER_HASHED, PATHS
from tests.mapping.reference_values import LONGEST_TEXT, LONGEST_VALUE, as_text, at, make_encodable


class Identity(Reading):
    """Reads the identity fields of one event."""

    def identity(self, event_time: int) -> JsonObject:
        country = self.country() or (self.destination.default_country or "").lower() or None
        keys: JsonObject = self.birthday(country)
        for field, (conversions, offline) in IDENTITY_KEYS.items():
            key = conversions if self.conversions else offline
            sent = self.sent(field, country, event_time) if key else None
            if key and sent is not None:
                keys[key] = sent
        return keys

    def country(self) -> str | None:
        """The event's country as a two-letter code in lower case."""
        text = self.first("country", as_text)
        return normalise.country(text) if text is not None else None

    def sent(self, field: str, country: str | None, event_time: int) -> Any:
        """The value to send for a field."""
        if field in {"email", "phone"}:
            converted = [sent for value in self.values(field) for sent in self.converted(field, value, country)]
            return list(dict.fromkeys(converted)) or None
        if field == "lead_id":
            return self.lead_id()
        if field in NAME_STARTS:
            return self.start_of_name(*NAME_STARTS[field])
        value = self.first(field, self.text_or_hashes if field in HAS_VARIANTS else as_text)
        if value is None and field in {"first_name", "last_name"}:
            value = self.part_of_name(field)
        if value is None and field == "fbc":
            value = self.click(event_time)
        if value is None:
            return None
        if isinstance(value, list):
            sent = list(dict.fromkeys(given for each in value if (given := normalise.given_hash(each))))
        else:
            sent = self.converted(field, value, country)
        if field == "external_id" and self.conversions:
            return sent or None
        return sent if len(sent) > 1 and self.sends_variants() else next(iter(sent), None)

    def sends_variants(self) -> bool:
        return self.conversions and self.destination.match_variants

    def text_or_hashes(self, value: Any) -> Any:
        """A text, or a list of hashes."""
        if not isinstance(value, list):
            return as_text(value)
        given = [isinstance(each, str) and normalise.given_hash(each) for each in value]
        usable = value and all(given) and not any(map(normalise.is_empty_hash, map(str.strip, value)))
        return value if usable else None

    def converted(self, field: str, value: Any, country: str | None) -> list[str]:
        """The values to send: none, one, or those of the two forms of a value."""
        text = as_text(value) or ""
        hashed = self.is_hashed(field)
        if len(text) > LONGEST_VALUE and field not in {"client_user_agent", "fbc", "fbp"}:
            return []
        if field not in NEVER_HASHED and (hashed or field != "madid"):
            if given := normalise.given_hash(text):
                return [] if normalise.is_empty_hash(given) else [given]
            if normalise.MD5.fullmatch(text.strip().lower()) and field != "external_id":
                return []
        if hashed and not self.destination.hashing:
            return []
        normalised = self.normalised(field, text, country)
        forms = normalised if isinstance(normalised, list) else [normalised]
        usable = [form for form in forms if form and make_encodable(form)]
        return [normalise.sha256(form) if hashed else form for form in usable]

    def is_hashed(self, field: str) -> bool:
        if field == "external_id":
            setting = self.destination.hash_external_id
            return (self.conversions and self.destination.hashing) if setting is None else setting
        if field == "madid":
            return not self.conversions
        return field not in NEVER_HASHED

    def normalised(self, field: str, text: str, country: str | None) -> str | list[str] | None:
        match field:
            case "email":
                return normalise.email(text)
            case "phone":
                return normalise.phone(text, country)
            case "gender":
                return normalise.gender(text)
            case "first_name" | "last_name":
                return normalise.name(text)
            case "city":
                return normalise.city(text)
            case "state":
                return normalise.state(text, country)
            case "zip":
                return normalise.zip_code(text, country)
            case "country":
                return normalise.country(text)
            case "madid":
                return normalise.madid(text)
            case "external_id":
                return text.strip().lower() if self.destination.external_id_case == "lower" else text.strip()
            case "client_ip_address":
                return normalise.ip_address(text)
            case _:
                return text.strip()

    def values(self, field: str) -> list[Any]:
        """The usable values of an email or a phone, at the first path that has any."""

        def usable(value: Any) -> list[Any] | None:
            values = value if isinstance(value, list) else [value]
            return [each for each in values if as_text(each) is not None] or None

        values = self.first(field, usable)
        if values is None and field == "email":
            external_ids = at(self.event, "context.externalId")
            if isinstance(external_ids, list) and external_ids and isinstance(external_ids[0], dict):
                text = as_text(external_ids[0].get("id"))
                values = [text] if text is not None and normalise.email(text) else None
        return values or []

    def lead_id(self) -> int | str | None:
        for path in ("context.externalId", "externalId"):
            entries = at(self.event, path)
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, dict) and entry.get("type") == "LeadId" and as_text(entry.get("id")) is not None:
                    return self.lead_sent(str(as_text(entry["id"])))
        text = self.first("lead_id", as_text)
        return self.lead_sent(text) if text is not None else None

    def lead_sent(self, text: str) -> int | str | None:
        digits = normalise.lead_id(text)
        return int(digits) if digits and self.conversions else digits

    def part_of_name(self, field: str) -> str | None:
        words = (self.first("name", as_text) or "").split()
        if field == "first_name":
            return words[0] if words else None
        return words[-1] if len(words) > 1 else None

    def start_of_name(self, field: str, letters: int) -> str | None:
        """The hash of the first letters of a first or last name that is sent and did not come as a hash."""
        name = self.first(field, self.text_or_hashes) or self.part_of_name(field) or ""
        if isinstance(name, list) or normalise.given_hash(name) or not self.converted(field, name, None):
            return None
        return normalise.sha256(normalise.name(name)[0][:letters])

    def click(self, event_time: int) -> str | None:
        urls = (at(self.event, path) for path in PATHS["event_source_url"])
        url = next((url for url in urls if url is not None), None)
        query = url.partition("?")[2].partition("#")[0] if isinstance(url, str) and len(url) <= LONGEST_TEXT else ""
        clicks = [part.removeprefix("fbclid=") for part in query.split("&") if part.startswith("fbclid=")]
        first = next(filter(None, clicks), None)
        return f"fb.1.{event_time * 1000}.{first}" if first else None

    def birthday(self, country: str | None) -> JsonObject:
        parts = ("db",) if self.conversions else ("doby", "dobm", "dobd")

        def usable(value: Any) -> Any:
            if isinstance(value, dict):
                return value if {"db", "doby", "dobm", "dobd"} & value.keys() else None
            return value if as_text(value) is not None else None

        value = self.first("birthday", usable)
        if value is None:
            return {}
        if isinstance(value, dict):
            given = {part: normalise.given_hash(str(value.get(part))) for part in parts}
            return {part: text for part, text in given.items() if text and not normalise.is_empty_hash(text)}
        text = str(as_text(value))
        if hashed := normalise.given_hash(text):
            return {"db": hashed} if self.conversions and not normalise.is_empty_hash(hashed) else {}
        today = dt.datetime.fromtimestamp(self.now, dt.UTC).date()
        date = normalise.birthday(text, today, country, self.destination.birthday_order)
        if date is None or not self.destination.hashing:
            return {}
        whole = date.strftime("%Y%m%d")
        values = {"db": whole, "doby": whole[:4], "dobm": whole[4:6], "dobd": whole[6:]}
        return {part: normalise.sha256(values[part]) for part in parts}
