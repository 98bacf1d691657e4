"""Conversion of a text to the value that one destination sends: normalised, then hashed where its settings say so.

The functions return None for a text that has no usable value. Results for values that repeat come from bounded caches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Any

from gateway.config import DestinationSettings
from gateway.mapping import normalise
from gateway.mapping.fields import IDENTITY, Hashing, MatchKey, Special
from gateway.mapping.json_path import text_of
from gateway.mapping.memo import MemoCache
from gateway.mapping.normalise import MAX_TEXT, given_hash, is_empty_hash, looks_like_md5
from gateway.model import Dialect

CACHED = 16384
"""Entries of each cache."""

LONG_PAST = 20100101
"""A day as YYYYMMDD. A birthday before it is in the past whatever the time is, so the result can be cached."""

US = "US"
"""The country in which a birthday with slashes has the month first."""

NEVER = 99991231
"""A day as YYYYMMDD that is after every birthday."""

BIRTHDAY_KEYS = ("db", "doby", "dobm", "dobd")
"""Keys of a birthday that is an object: of its parts (all but `db`), or of their hashes, as in a redacted event."""

Birthday = tuple[str, str, str, str]
"""Hashes of YYYYMMDD, YYYY, MM and DD; "" where one is not known."""


def digest(text: str) -> str:
    """SHA-256 of the UTF-8 text, lower-case hexadecimal."""
    return sha256(text.encode()).hexdigest()


class Rules:
    """The conversions of one destination. They are pure functions; the only state is their caches."""

    def __init__(self, destination: DestinationSettings) -> None:
        self.hashing = destination.hashing
        self.dialect = destination.api
        self.default_country = (destination.default_country or "").upper() or None
        conversions = self.dialect is Dialect.CONVERSIONS
        hash_external_id = destination.hash_external_id
        if hash_external_id is None:
            hash_external_id = conversions and self.hashing
        self.month_first = destination.birthday_order == "month_first"
        self.has_variants = conversions and destination.match_variants
        self.lowers_external_id = destination.external_id_case == "lower"
        self._is_hashed = {
            Hashing.ALWAYS: True,
            Hashing.NEVER: False,
            Hashing.AS_SET: hash_external_id,
            Hashing.OFFLINE: not conversions,
        }
        self.countries = MemoCache(self._country, CACHED)
        """Text to the value to send and to the code with which other fields are normalised."""
        self.birthdays = MemoCache[str, Any](lambda text: self._long_past_birthday(text, american=False), CACHED)
        """Text of a birthday before `LONG_PAST` to the value to send: one hash, or those of year, month and day."""
        self.us_birthdays = MemoCache[str, Any](lambda text: self._long_past_birthday(text, american=True), CACHED)
        """The same for customers in the USA."""
        self.caches: dict[str, MemoCache[Any, Any]] = {}
        """Field to its cache. The key is the text, or text and country."""
        self.functions: dict[str, Callable[..., Any]] = {}
        """Field to its conversion, a function of the text, or of text and country. The birthday has none."""
        for field in IDENTITY:
            if field.special is not Special.BIRTHDAY:
                self.functions[field.name] = self._cached(field) if field.cached else self._conversion(field)

    def is_hashed(self, field: MatchKey) -> bool:
        """Whether the value to send is a hash."""
        return field.hashing is not None and self._is_hashed[field.hashing]

    def convert(self, field: MatchKey, text: str, country: str | None) -> Any:
        """The value to send for a text. `country` is the event's own code."""
        if len(text) > field.max_length:
            return None
        if field.normalise_by_country is not None:
            return self.functions[field.name](text, country or self.default_country)
        return self.functions[field.name](text)

    def given_hashes(self, texts: Sequence[str]) -> Any:
        """The value to send for a list of hashes: as many as a value with a variant has."""
        hashes = list(dict.fromkeys(filter(None, map(given_hash, texts))))
        return hashes if self.has_variants and len(hashes) > 1 else hashes[0]

    def normalised(self, field: MatchKey, text: str, country: str | None) -> str | None:
        """The normalised text before it is hashed, for `explain`; both forms of a value with a variant.

        For a hash, the hash itself.
        """
        if given := given_hash(text):
            return given
        arguments = (text,) if field.normalise_by_country is None else (text, country or self.default_country)
        rule = self._rule(field)
        if rule is None:
            parts = self._date(text, NEVER, american=self._is_american(country))
            return "".join(parts) if parts else None
        forms = (rule(*arguments), field.variant(*arguments) if field.variant and self.has_variants else None)
        return ", ".join(dict.fromkeys(form for form in forms if form)) or None

    def cause(self, field: MatchKey, text: str, country: str | None) -> str:
        """The cause for which a text has no usable value: a key of `coverage.CAUSES`."""
        if is_empty_hash(text):
            return "empty_hash"
        if not field.accepts_md5 and looks_like_md5(text):
            return "md5"
        if len(text) > field.max_length:
            return "too_long"
        if not self.hashing and self.is_hashed(field):
            return "not_hashed"
        if field.normalise_by_country is not None and country is None and self.default_country is None:
            # Would it be usable if the country were known? Only a phone number can be refused for the lack of one.
            return "no_country" if field.normalise_by_country(text, US) else "malformed"
        return "malformed"

    def birthday(self, value: Any, today: int, country: str | None) -> Birthday | None:
        """The hashes of a birthday, from a text, a number, or an object of its parts or of their hashes.

        `country` is the event's own code.
        """
        if value.__class__ is dict:
            return self._birthday_parts(value, today)
        text = text_of(value)
        if text is None or len(text) > MAX_TEXT:
            return None
        if given := given_hash(text):
            return given, "", "", ""
        parts = self._date(text, today, american=self._is_american(country)) if self.hashing else None
        return _birthday_hashes(*parts) if parts else None

    def _birthday_parts(self, value: dict[str, Any], today: int) -> Birthday | None:
        texts = [text_of(value.get(key)) or "" for key in BIRTHDAY_KEYS]
        given = [given_hash(text) or "" for text in texts]
        if any(given):
            return given[0], given[1], given[2], given[3]
        _, year, month, day = texts
        parts = normalise.date_parts(year, month, day, today) if self.hashing else None
        return _birthday_hashes(*parts) if parts else None

    def _is_american(self, country: str | None) -> bool:
        return (country or self.default_country) == US

    def _date(self, text: str, today: int, *, american: bool) -> tuple[str, str, str] | None:
        return normalise.birthday(text, today, month_first=self.month_first, slashes_month_first=american)

    def _long_past_birthday(self, text: str, *, american: bool) -> str | tuple[str, str, str] | None:
        parts = self._date(text, LONG_PAST, american=american) if self.hashing else None
        if parts is None:
            return None
        if self.dialect is Dialect.CONVERSIONS:
            return digest("".join(parts))
        year, month, day = parts
        return _part(year), _part(month), _part(day)

    def _country(self, text: str) -> tuple[str | None, str | None]:
        if given := given_hash(text):
            return given, None
        code = normalise.country_code(text)
        return (digest(code.lower()) if code and self.hashing else None), code

    def _lead_id(self, text: str) -> str | int | None:
        digits = normalise.lead_id(text)
        return int(digits) if digits and self.dialect is Dialect.CONVERSIONS else digits

    def _cached(self, field: MatchKey) -> Callable[..., Any]:
        conversion = self._conversion(field)
        if field.normalise_by_country is None:
            self.caches[field.name] = MemoCache(conversion, CACHED)
            return self.caches[field.name].__getitem__
        cache = MemoCache[tuple[str, str | None], Any](lambda key: conversion(*key), CACHED)
        self.caches[field.name] = cache
        return lambda text, country: cache[text, country]

    def _conversion(self, field: MatchKey) -> Callable[..., Any]:
        rule = self._rule(field)
        if field.special is Special.COUNTRY:
            return lambda text: self.countries[text][0]
        if field.special is Special.LEAD_ID:
            return self._lead_id
        if rule is None:
            raise ValueError(f"field {field.name!r} has no normaliser")  # `check_registry` excludes it
        if field.derived_from is not None:
            return self._derived(field, rule)
        if self.is_hashed(field):
            return self._hashed(field, rule)
        return self._optional_hash(field, rule) if field.hashing is Hashing.AS_SET else rule

    def _rule(self, field: MatchKey) -> Callable[..., str | None] | None:
        """The normaliser of a field, as the settings want it. The birthday has none."""
        if field.case_as_set and self.lowers_external_id:
            return normalise.trimmed_lower
        return field.normalise_by_country or field.normalise

    def _hashed(self, field: MatchKey, rule: Callable[..., str | None]) -> Callable[..., Any]:
        """A conversion of the text, or of text and country. A value with a variant becomes two hashes."""
        if not self.hashing:
            return lambda text, _country=None: given_hash(text)
        max_length, accepts_md5 = field.max_length, field.accepts_md5

        def convert_long(text: str, *country: str | None) -> str | None:
            """For a text that may be a hash."""
            if len(text) > max_length:
                return None
            if given := given_hash(text):
                return given
            if (looks_like_md5(text) and not accepts_md5) or is_empty_hash(text):
                return None
            normal = rule(text, *country)
            return sha256(normal.encode()).hexdigest() if normal is not None else None

        def convert(text: str) -> str | None:
            if len(text) >= 32:
                return convert_long(text)
            normal = rule(text)
            return sha256(normal.encode()).hexdigest() if normal is not None else None

        def convert_by_country(text: str, country: str | None) -> str | None:
            if len(text) >= 32:
                return convert_long(text, country)
            normal = rule(text, country)
            return sha256(normal.encode()).hexdigest() if normal is not None else None

        conversion: Callable[..., str | None] = convert if field.normalise_by_country is None else convert_by_country
        if field.variant is None or not self.has_variants:
            return conversion
        return _with_variant(conversion, field.variant)

    @staticmethod
    def _optional_hash(field: MatchKey, rule: Callable[[str], str | None]) -> Callable[[str], str | None]:
        """For a value that is sent as a hash or as it is: a hash is written in lower case."""
        max_length = field.max_length

        def convert(text: str) -> str | None:
            if given := given_hash(text):
                return given
            normal = rule(text) if len(text) <= max_length else None
            return normal if normal and not is_empty_hash(normal) else None

        return convert

    def _derived(self, field: MatchKey, rule: Callable[[str], str | None]) -> Callable[[str], str | None]:
        """For a value that can only be calculated from a plain text: None for a hash."""
        convert = self._hashed(field, rule)
        return lambda text: convert(text) if self.hashing and not given_hash(text) else None


def _with_variant(
    conversion: Callable[..., str | None], variant: Callable[..., str | None]
) -> Callable[..., str | list[str] | None]:
    """A conversion to two hashes, if the variant of a text that is not a hash differs from its usual form."""

    def convert(*arguments: Any) -> str | list[str] | None:
        sent = conversion(*arguments)
        if sent is None or (other := variant(*arguments)) is None or given_hash(arguments[0]):
            return sent
        hashed = digest(other)
        return sent if hashed == sent else [sent, hashed]

    return convert


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
    """First and last word of a whole name. Empty for an unusable name and for a hash, which cannot be split."""
    text = text_of(name)
    if text is None or len(text) > MAX_TEXT or given_hash(text) or looks_like_md5(text):
        return ()
    words = text.split()
    return (words[0], words[-1]) if len(words) > 1 else (words[0],)
