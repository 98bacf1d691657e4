"""What one destination makes of a field's text: normalised, then hashed or not, as its settings say.

Every function here takes a text (or what its field may be) and gives what is sent, or None. Values that repeat come
from bounded caches of what was sent for them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from gateway.config import DestinationSettings
from gateway.mapping import normalise
from gateway.mapping.fields import BY_NAME, Hashing
from gateway.mapping.json_path import text_of
from gateway.mapping.memo import MemoCache
from gateway.mapping.normalise import MAX_TEXT, given_hash, looks_like_md5
from gateway.model import Dialect

CACHED = 16384
"""Values in each cache of hashes."""

LONG_PAST = 20100101
"""A day, as YYYYMMDD, before which every birthday is in the past, whatever the time is now."""

NEVER = 99991231
"""A day before which every birthday lies."""

Birthday = tuple[str, str, str, str]
"""What is sent of a birthday: hashes of YYYYMMDD, YYYY, MM, DD; "" where one is not known."""


def digest(text: str) -> str:
    """SHA-256 of the UTF-8 text, lower-case hexadecimal."""
    return sha256(text.encode()).hexdigest()


class Rules:
    """The functions of one destination, by field. They are pure; only their caches remember."""

    def __init__(self, destination: DestinationSettings) -> None:
        self.hashing = destination.hashing
        self.dialect = destination.api
        self.default_country = (destination.default_country or "").upper() or None
        conversions = self.dialect is Dialect.CONVERSIONS
        hash_external_id = conversions if destination.hash_external_id is None else destination.hash_external_id
        self._is_hashed = {
            Hashing.ALWAYS: True,
            Hashing.NEVER: False,
            Hashing.AS_SET: hash_external_id,
            Hashing.OFFLINE: not conversions,
        }
        self.email = self._email()
        self.external_id = self._external_id()
        self.madid = self._plain("madid", normalise.madid)
        self.phone = self._phone()
        self.lead_id = self._lead_id
        # What repeats, and the functions that look there.
        state, zip_code = self._by_country("state", normalise.state), self._by_country("zip", normalise.zip_code)
        self.genders = MemoCache(self._plain("gender", normalise.gender), CACHED)
        self.first_names = MemoCache(self._plain("first_name", normalise.name), CACHED)
        self.last_names = MemoCache(self._plain("last_name", normalise.name), CACHED)
        self.cities = MemoCache(self._plain("city", normalise.city), CACHED)
        self.countries = MemoCache(self._country, CACHED)
        self.states = MemoCache[tuple[str, str | None], str | None](lambda key: state(*key), CACHED)
        self.zips = MemoCache[tuple[str, str | None], str | None](lambda key: zip_code(*key), CACHED)
        self.birthdays = MemoCache(self._long_past_birthday, CACHED)
        self.gender = self.genders.__getitem__
        self.first_name = self.first_names.__getitem__
        self.last_name = self.last_names.__getitem__
        self.city = self.cities.__getitem__
        self.country = self.countries.__getitem__
        self.state = lambda text, country: self.states[text, country]
        self.zip = lambda text, country: self.zips[text, country]

    def is_hashed(self, field: str) -> bool:
        """Whether what is sent of a field is a hash."""
        return self._is_hashed[BY_NAME[field].hashing]

    def text(self, field: str, text: str, country: str | None) -> Any:
        """What is sent of a text, whatever the field; the patient way, and the one that has no fast path."""
        if len(text) > MAX_TEXT and field not in UNCHANGED:
            return None
        match field:
            case "phone" | "state" | "zip":
                return getattr(self, field)(text, country or self.default_country)
            case "country":
                return self._country(text)[0]
            case "client_ip_address":
                return normalise.ip_address(text)
            case "lead_id":
                return self._lead_id(text)
            case _ if field in UNCHANGED:
                return text.strip() or None
            case _:
                return getattr(self, field)(text)

    def normalised(self, field: str, text: str, country: str | None) -> str | None:
        """The text before it is hashed, for whoever explains; a hash that was given is its own."""
        if given := given_hash(text):
            return given
        if field == "birthday":
            parts = normalise.birthday(text, NEVER)
            return "".join(parts) if parts else None
        plain: dict[str, Callable[[str], str | None]] = {
            "email": normalise.email,
            "first_name": normalise.name,
            "last_name": normalise.name,
            "gender": normalise.gender,
            "city": normalise.city,
            "country": normalise.country,
            "external_id": normalise.external_id,
            "madid": normalise.madid,
            "lead_id": normalise.lead_id,
            "client_ip_address": normalise.ip_address,
        }
        by_country = {"phone": normalise.phone, "state": normalise.state, "zip": normalise.zip_code}
        if field in by_country:
            return by_country[field](text, country or self.default_country)
        return plain.get(field, str.strip)(text)

    def cause(self, field: str, text: str, country: str | None) -> str:
        """Why a text gave nothing to send."""
        if text.strip().lower() == normalise.EMPTY_HASH:
            return "empty_hash"
        if field != "external_id" and looks_like_md5(text):
            return "md5"
        if len(text) > MAX_TEXT:
            return "too_long"
        if not self.hashing and self.is_hashed(field):
            return "not_hashed"
        no_country = country is None and self.default_country is None
        if field == "phone" and no_country and normalise.phone(text, "US"):
            return "no_country"
        return "malformed"

    def birthday(self, value: Any, today: int) -> Birthday | None:
        """The hashes of a birthday, from a text, a number, or an object of its parts or of their hashes."""
        if value.__class__ is dict:
            return self._birthday_parts(value, today)
        text = text_of(value)
        if text is None or len(text) > MAX_TEXT:
            return None
        if given := given_hash(text):
            return given, "", "", ""
        parts = normalise.birthday(text, today) if self.hashing else None
        return _birthday_hashes(*parts) if parts else None

    def _birthday_parts(self, value: dict[str, Any], today: int) -> Birthday | None:
        texts = [text_of(value.get(key)) or "" for key in ("db", "doby", "dobm", "dobd")]
        given = [given_hash(text) or "" for text in texts]
        if any(given):
            return given[0], given[1], given[2], given[3]
        _, year, month, day = texts
        parts = normalise.birthday(f"{year}-{month}-{day}", today) if self.hashing else None
        return _birthday_hashes(*parts) if parts else None

    def _plain(self, field: str, rule: Callable[[str], str | None]) -> Callable[[str], str | None]:
        if not self.is_hashed(field):
            return rule
        if not self.hashing:
            return given_hash

        def hashed(text: str) -> str | None:
            if len(text) >= 32:
                if len(text) > MAX_TEXT:
                    return None
                if given := given_hash(text):
                    return given
                if looks_like_md5(text) or text.strip().lower() == normalise.EMPTY_HASH:
                    return None
            normal = rule(text)
            return sha256(normal.encode()).hexdigest() if normal is not None else None

        return hashed

    def _phone(self) -> Callable[[str, str | None], str | None]:
        thorough = self._by_country("phone", normalise.phone)
        if not self.hashing:
            return thorough
        complete = MemoCache[tuple[str, int], Any](lambda key: normalise.completeness(*key), CACHED)

        def hashed(text: str, country: str | None) -> str | None:
            if text[:1] == "+" and len(text) < 24 and text.isascii() and "(0" not in text:
                digits = text[1:].encode().translate(None, normalise.PHONE_NOISE)
                if digits.isdigit():
                    verdict = complete[digits[:4].decode(), len(digits)]
                    if verdict is True or (verdict is not False and not verdict(digits.decode())):
                        return sha256(digits).hexdigest()
            if len(text) >= 32:
                return thorough(text, country)  # it may be a hash
            normal = normalise.phone(text, country)
            return sha256(normal.encode()).hexdigest() if normal is not None else None

        return hashed

    def _email(self) -> Callable[[str], str | None]:
        thorough = self._plain("email", normalise.email)
        if not self.hashing:
            return thorough

        def hashed(text: str) -> str | None:
            if "@" not in text:
                return thorough(text)  # it may be a hash
            normal = normalise.email(text) if len(text) <= MAX_TEXT else None
            return sha256(normal.encode()).hexdigest() if normal is not None else None

        return hashed

    def _long_past_birthday(self, text: str) -> str | tuple[str, str, str] | None:
        """What is sent of a birthday before `LONG_PAST`, as the dialect has it: one hash, or year, month and day."""
        parts = normalise.birthday(text, LONG_PAST) if self.hashing else None
        if parts is None:
            return None
        if self.dialect is Dialect.CONVERSIONS:
            return digest("".join(parts))
        year, month, day = parts
        return _part(year), _part(month), _part(day)

    def _by_country(
        self, field: str, rule: Callable[[str, str | None], str | None]
    ) -> Callable[[str, str | None], str | None]:
        def hashed(text: str, country: str | None) -> str | None:
            if len(text) >= 32:
                if len(text) > MAX_TEXT:
                    return None
                if given := given_hash(text):
                    return given
                if looks_like_md5(text) or text.strip().lower() == normalise.EMPTY_HASH:
                    return None
            normal = rule(text, country)
            return sha256(normal.encode()).hexdigest() if normal is not None else None

        def given(text: str, country: str | None) -> str | None:  # noqa: ARG001 (the same shape as the other)
            return given_hash(text)

        return hashed if self.hashing and self.is_hashed(field) else given

    def _external_id(self) -> Callable[[str], str | None]:
        if not self.is_hashed("external_id"):
            return _raw_external_id
        if not self.hashing:
            return given_hash

        def hashed(text: str) -> str | None:
            if len(text) >= 64:
                if len(text) > MAX_TEXT:
                    return None
                if given := given_hash(text):
                    return given
                if text.strip().lower() == normalise.EMPTY_HASH:
                    return None
            text = text.strip()
            return sha256(text.encode()).hexdigest() if text else None

        return hashed

    def _country(self, text: str) -> tuple[str | None, str | None]:
        """What is sent, and the code that other fields are read with."""
        if given := given_hash(text):
            return given, None
        code = normalise.country_code(text)
        return (digest(code.lower()) if code and self.hashing else None), code

    def _lead_id(self, text: str) -> str | int | None:
        digits = normalise.lead_id(text)
        return int(digits) if digits and self.dialect is Dialect.CONVERSIONS else digits


UNCHANGED = frozenset({"client_user_agent", "fbc", "fbp"})
"""Fields that are sent as they are, trimmed."""


def _raw_external_id(text: str) -> str | None:
    if given := given_hash(text):
        return given
    text = text.strip() if len(text) <= MAX_TEXT else ""
    return text if text and text.lower() != normalise.EMPTY_HASH else None


@lru_cache(CACHED)
def _part(text: str) -> str:
    return digest(text)


def _birthday_hashes(year: str, month: str, day: str) -> Birthday:
    return digest(year + month + day), _part(year), _part(month), _part(day)


def today_of(day: int) -> int:
    """YYYYMMDD as a number, from days since 1970 (UTC)."""
    moment = time.gmtime(day * 86400)
    return moment.tm_year * 10000 + moment.tm_mon * 100 + moment.tm_mday


def words_of(name: Any) -> Sequence[str]:
    """First and last word of a whole name; empty where it is none, or a hash that cannot be taken apart."""
    text = text_of(name)
    if text is None or len(text) > MAX_TEXT or given_hash(text) or looks_like_md5(text):
        return ()
    words = text.split()
    return (words[0], words[-1]) if len(words) > 1 else (words[0],)
