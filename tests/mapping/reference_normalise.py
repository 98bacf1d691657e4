"""Normalisation for the reference mapper: one plain function for each field, without caches.

The functions are written from Meta's page of customer information parameters and from the mapping rules of the gateway,
and call the libraries at every call. They return the text to hash (or to send), or None for an unusable value.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Mapping
from functools import cache

import phonenumbers
import pycountry

HASH = re.compile(r"[0-9a-f]{64}")
MD5 = re.compile(r"[0-9a-f]{32}")
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
OTHER_COUNTRY_NAMES = {"uk": "gb"}
OTHER_STATE_NAMES = {"washingtondc": "dc", "virginislands": "vi"}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def folded(text: str) -> str:
    """NFKC, without white space around it, lower case."""
    return unicodedata.normalize("NFKC", text).strip().lower()


def compact(text: str) -> str:
    """Only letters, with their combining marks, and digits."""
    return "".join(char for char in folded(text) if unicodedata.category(char)[0] in "LMN")


def email(text: str) -> str | None:
    text = folded(text)
    return text if re.fullmatch(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+", text) else None


def phone(text: str, country: str | None) -> str | None:
    """Digits with the country code. `country` is ISO 3166-1 alpha-2 in lower case."""
    text = unicodedata.normalize("NFKC", text).strip()
    if text.startswith(("00", "+0")):
        text = "+" + re.sub(r"^\+?[0\s]*", "", text)
    guessed = country is None and not text.startswith(("+", "0"))
    if guessed:
        text = "+" + text
    try:
        number = phonenumbers.parse(text, country.upper() if country else None)
    except phonenumbers.NumberParseException:
        return None
    if not (phonenumbers.is_valid_number(number) if guessed else phonenumbers.is_possible_number(number)):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)).removeprefix("+")


def name(text: str) -> str | None:
    kept = [char for char in folded(text) if unicodedata.category(char)[0] not in "PS"]
    visible = [char for char in kept if unicodedata.category(char) not in {"Cf", "Cs"}]
    return " ".join("".join(visible).split()) if compact(text) else None


def gender(text: str) -> str | None:
    return {"f": "f", "female": "f", "woman": "f", "m": "m", "male": "m", "man": "m"}.get(folded(text))


def birthday(text: str, today: dt.date) -> dt.date | None:
    text = folded(text)
    for pattern, order in (
        (r"(\d{4})(\d\d)(\d\d)", "ymd"),
        (r"(\d{4})-(\d\d)-(\d\d)(?:[t ].*)?", "ymd"),
        (r"(\d\d?)\s*[,/.\-\s]\s*(\d\d?)\s*[,/.\-\s]\s*(\d{4})", "dmy"),
    ):
        found = re.fullmatch(pattern, text, re.ASCII)
        if found:
            part = dict(zip(order, map(int, found.groups()), strict=True))
            try:
                date = dt.date(part["y"], part["m"], part["d"])
            except ValueError:
                return None
            return date if dt.date(1900, 1, 1) <= date <= today else None
    return None


def city(text: str) -> str | None:
    return compact(text) or None


@cache
def us_states() -> Mapping[str, str]:
    """Name and code of each state and territory, both compact, to its code."""
    states = {one.code[3:].lower(): compact(one.name) for one in pycountry.subdivisions.get(country_code="US")}  # type: ignore[no-untyped-call]
    return {code: code for code in states} | {name: code for code, name in states.items()} | OTHER_STATE_NAMES


def state(text: str, country: str | None) -> str | None:
    """A US state's two letters; elsewhere the name without spaces and punctuation."""
    text = folded(text)
    if re.fullmatch(r"[a-z]{2}-[a-z0-9]{1,3}", text):
        text = text[3:]
    text = compact(text)
    return (us_states().get(text, text) if country in {None, "us"} else text) or None


def zip_code(text: str, country: str | None) -> str | None:
    if country == "us":
        text = text.partition("-")[0]
    text = compact(text)
    if country != "us":
        return text if len(text) > 1 else None
    text = text.zfill(5) if len(text) in {3, 4} else text
    return text[:5] if re.fullmatch(r"\d{5,}", text, re.ASCII) else None


@cache
def countries() -> Mapping[str, str]:
    """Alpha-2, alpha-3 and names, all compact, to alpha-2 in lower case."""
    known: dict[str, str] = {}
    for one in pycountry.countries:
        names = [one.alpha_2, one.alpha_3, one.name, getattr(one, "official_name", ""), getattr(one, "common_name", "")]
        known |= {compact(each): one.alpha_2.lower() for each in names if each}
    return known | OTHER_COUNTRY_NAMES


def country(text: str) -> str | None:
    return countries().get(compact(text))


def external_id(text: str) -> str | None:
    return text.strip()


def madid(text: str) -> str | None:
    text = folded(text)
    return text if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) and text.strip("0-") else None


def lead_id(text: str) -> str | None:
    text = text.strip().removeprefix("l:")
    return text if re.fullmatch(r"\d+", text, re.ASCII) else None


def ip_address(text: str) -> str | None:
    text = text.strip()
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return text


def as_it_is(text: str) -> str | None:
    return text.strip()
