"""Who the customer is: what the reference mapper puts into `user_data` and `match_keys`."""

from __future__ import annotations

import datetime as dt
from typing import Any

from gateway.model import JsonObject
from tests.mapping import reference_normalise as normalise
from tests.mapping.reference_reading import Reading
from tests.mapping.reference_tables import IDENTITY_KEYS, NEVER_HASHED, PATHS
from tests.mapping.reference_values import LONGEST_TEXT, LONGEST_VALUE, as_text, at, make_encodable


class Identity(Reading):
    """A reading that knows how every identity is normalised and whether it is hashed."""

    def identity(self, event_time: int) -> JsonObject:
        known = self.country() or (self.destination.default_country or "").lower() or None
        keys: JsonObject = self.birthday()
        for field, (conversions, offline) in IDENTITY_KEYS.items():
            key = conversions if self.conversions else offline
            sent = self.sent(field, known, event_time) if key else None
            if key and sent is not None:
                keys[key] = sent
        return keys

    def country(self) -> str | None:
        """The event's country in two letters, lower case."""
        found = self.first("country", as_text)
        return normalise.country(found) if found is not None else None

    def sent(self, field: str, known_country: str | None, event_time: int) -> Any:
        """What the upload carries for a field."""
        if field in {"email", "phone"}:
            addresses = self.addresses(field)
            sent = [one for one in (self.one_sent(field, each, known_country) for each in addresses) if one is not None]
            return list(dict.fromkeys(sent)) or None
        if field == "lead_id":
            return self.lead_id()
        found = self.first(field, lambda value: value if as_text(value) else None)
        if found is None and field in {"first_name", "last_name"}:
            found = self.part_of_name(field)
        if found is None and field == "fbc":
            found = self.click(event_time)
        if found is None:
            return None
        sent_one = self.one_sent(field, found, known_country)
        return [sent_one] if sent_one is not None and field == "external_id" and self.conversions else sent_one

    def one_sent(self, field: str, value: Any, known_country: str | None) -> str | None:
        text = as_text(value) or ""
        hashed = self.is_hashed(field)
        if len(text) > LONGEST_VALUE and field not in {"client_user_agent", "fbc", "fbp"}:
            return None
        if field not in NEVER_HASHED and (hashed or field != "madid"):
            word = text.strip().lower()
            if normalise.HASH.fullmatch(word):
                return None if word == normalise.HASH_OF_NOTHING else word
            if normalise.MD5.fullmatch(word) and field != "external_id":
                return None
        if hashed and not self.destination.hashing:
            return None
        normalised = make_encodable(self.normalised(field, text, known_country) or "")
        if not normalised:
            return None
        return normalise.sha256(normalised) if hashed else normalised

    def is_hashed(self, field: str) -> bool:
        if field == "external_id":
            chosen = self.destination.hash_external_id
            return self.conversions if chosen is None else chosen
        if field == "madid":
            return not self.conversions
        return field not in NEVER_HASHED

    def normalised(self, field: str, text: str, known_country: str | None) -> str | None:
        match field:
            case "email":
                return normalise.email(text)
            case "phone":
                return normalise.phone(text, known_country)
            case "gender":
                return normalise.gender(text)
            case "first_name" | "last_name":
                return normalise.name(text)
            case "city":
                return normalise.city(text)
            case "state":
                return normalise.state(text, known_country)
            case "zip":
                return normalise.zip_code(text, known_country)
            case "country":
                return normalise.country(text)
            case "madid":
                return normalise.madid(text)
            case "client_ip_address":
                return normalise.ip_address(text)
            case _:
                return text.strip()

    def addresses(self, field: str) -> list[Any]:
        """The usable texts of an email or a phone: of the first place that has any, one or a list of them."""

        def some(value: Any) -> list[Any] | None:
            many = value if isinstance(value, list) else [value]
            return [one for one in many if as_text(one) is not None] or None

        found = self.first(field, some)
        if found is None and field == "email":
            last_resort = at(self.event, "context.externalId")
            if isinstance(last_resort, list) and last_resort and isinstance(last_resort[0], dict):
                text = as_text(last_resort[0].get("id"))
                found = [text] if text is not None and normalise.email(text) else None
        return found or []

    def lead_id(self) -> int | str | None:
        for path in ("context.externalId", "externalId"):
            entries = at(self.event, path)
            for entry in entries if isinstance(entries, list) else []:
                if isinstance(entry, dict) and entry.get("type") == "LeadId" and as_text(entry.get("id")) is not None:
                    return self.lead_sent(str(as_text(entry["id"])))
        found = self.first("lead_id", as_text)
        return self.lead_sent(found) if found is not None else None

    def lead_sent(self, text: str) -> int | str | None:
        digits = normalise.lead_id(text)
        return int(digits) if digits and self.conversions else digits

    def part_of_name(self, field: str) -> str | None:
        words = (self.first("name", as_text) or "").split()
        if field == "first_name":
            return words[0] if words else None
        return words[-1] if len(words) > 1 else None

    def click(self, event_time: int) -> str | None:
        places = (at(self.event, path) for path in PATHS["event_source_url"])
        url = next((place for place in places if place is not None), None)
        query = url.partition("?")[2].partition("#")[0] if isinstance(url, str) and len(url) <= LONGEST_TEXT else ""
        clicks = [part.removeprefix("fbclid=") for part in query.split("&") if part.startswith("fbclid=")]
        first = next(filter(None, clicks), None)
        return f"fb.1.{event_time * 1000}.{first}" if first else None

    def birthday(self) -> JsonObject:
        parts = ("db",) if self.conversions else ("doby", "dobm", "dobd")

        def usable(value: Any) -> Any:
            if isinstance(value, dict):
                return value if {"db", "doby", "dobm", "dobd"} & value.keys() else None
            return value if as_text(value) is not None else None

        found = self.first("birthday", usable)
        if found is None:
            return {}
        if isinstance(found, dict):
            given = {part: str(found.get(part)).strip().lower() for part in parts}
            return {
                part: one
                for part, one in given.items()
                if normalise.HASH.fullmatch(one) and one != normalise.HASH_OF_NOTHING
            }
        text = str(as_text(found))
        word = text.strip().lower()
        if normalise.HASH.fullmatch(word):
            return {"db": word} if self.conversions and word != normalise.HASH_OF_NOTHING else {}
        today = dt.datetime.fromtimestamp(self.now, dt.UTC).date()
        date = normalise.birthday(text, today)
        if date is None or not self.destination.hashing:
            return {}
        whole = date.strftime("%Y%m%d")
        values = {"db": whole, "doby": whole[:4], "dobm": whole[4:6], "dobd": whole[6:]}
        return {part: normalise.sha256(values[part]) for part in parts}
