"""Normalisation for the reference mapper: one plain function for each field, without caches.

The functions are written from Meta's page of customer information parameters and from the mapping rules of the gateway,
and call the libraries at every call. They return the text to hash (or to send), or None for an unusable value.
"""

from __future__ import annotations

import datetime as dt
import gettext
import hashlib
import ipaddress
import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import phonenumbers
import pycountry

DATA = Path(__file__).parent / "data"
HASH = re.compile(r"[0-9a-f]{64}")
HASH_OF_PARAMETER_BUILDER = re.compile(r"[0-9a-fA-F]{64}\.(?:[\w-]{2}|[\w-]{8})", re.ASCII)
MD5 = re.compile(r"[0-9a-f]{32}(?:\.(?:[\w-]{2}|[\w-]{8}))?", re.ASCII)
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " "}
OTHER_STATE_NAMES = {"washingtondc": "dc", "virginislands": "vi"}
OTHER_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ß": "ss"}
)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def given_hash(text: str) -> str | None:
    """The text as it is sent, if it is a hash: in lower case, or as Meta's Parameter Builder wrote it."""
    text = text.strip()
    if HASH_OF_PARAMETER_BUILDER.fullmatch(text):
        return text
    return text.lower() if HASH.fullmatch(text.lower()) else None


def is_empty_hash(text: str) -> bool:
    return text[:64].lower() == EMPTY_HASH


def folded(text: str) -> str:
    """NFC with full-width forms as ASCII, without white space around it, lower case."""
    return unicodedata.normalize("NFC", text.translate(FULL_WIDTH)).strip().lower()


def compact(text: str) -> str:
    """Only letters, with their combining marks, and digits."""
    return "".join(char for char in folded(text) if unicodedata.category(char)[0] in "LMN")


def plain(text: str) -> str:
    """Only letters, without accents: the form in which names of countries, states and genders are compared."""
    decomposed = unicodedata.normalize("NFKD", text).lower().translate(OTHER_LETTERS)
    return "".join(char for char in decomposed if char.isalpha())


def email(text: str) -> str | None:
    text = folded(text)
    if found := re.fullmatch(r"[^<>@]*<([^<>]*)>[\s;,.]*", text):
        text = found[1]
    quotes = r"""[\s"'`<>\u2018-\u201f]*"""
    text = re.sub(rf"^{quotes}(mailto:)?{quotes}", "", text)
    text = re.sub(r"""[\s"'`<>\u2018-\u201f;,.]*$""", "", text)
    return text if re.fullmatch(r"[^\s@]+@[^\s@.]+(\.[^\s@.]+)+", text) else None


def phone(text: str, country: str | None) -> str | None:
    """Digits with the country code. `country` is ISO 3166-1 alpha-2 in lower case."""
    text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text.translate(FULL_WIDTH))
    text = re.sub(r"""[_{}<>|'"\\!?&%$@^`]""", " ", text)
    found = re.search(r"[+0-9].*", text, re.DOTALL)
    if found is None:
        return None
    text = found[0]
    region = country.upper() if country else None
    if text.startswith(("+", "00")):
        return read_phone("+" + re.sub(r"^[+0\s]*", "", text), None, valid=False)
    if text.startswith("0"):
        return read_phone(text, region, valid=False)
    digits = re.sub(r"\D", "", text)
    code = str(phonenumbers.country_code_for_region(region)) if region in phonenumbers.SUPPORTED_REGIONS else None
    readings = (
        read_phone("+" + text, None, valid=True) if code and digits.startswith(code) else None,
        read_phone(text, region, valid=True),
        read_phone("+" + text, None, valid=True),
        read_phone(text, region, valid=False),
    )
    return next((reading for reading in readings if reading), None)


def read_phone(text: str, region: str | None, *, valid: bool) -> str | None:
    """Read a number with the library; it must be valid, or at least possible."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if number.country_code == 52 and re.fullmatch(r"1\d{10}", str(number.national_number)):
        number.national_number = int(str(number.national_number)[1:])
    if not (phonenumbers.is_valid_number(number) if valid else phonenumbers.is_possible_number(number)):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)).removeprefix("+")


def name(text: str) -> list[str]:
    """Without white space, and the other form of a name that has some inside it: with single spaces."""
    kept = [char for char in folded(text) if unicodedata.category(char)[0] not in "PSC" or char.isspace()]
    words = "".join(kept).split()
    return list(dict.fromkeys(("".join(words), " ".join(words)))) if words else []


@cache
def genders() -> Mapping[str, str]:
    words = json.loads((DATA / "gender_words.json").read_text("utf-8"))
    return {word: code for code in ("f", "m") for word in words[code]}


def gender(text: str) -> str | None:
    return genders().get(plain(text))


def birthday(text: str, today: dt.date, country: str | None, order: str) -> dt.date | None:
    """`country` is the event's, else the default one; `order` is the setting `birthday_order`."""
    text = folded(text)
    if found := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", text, re.ASCII):
        return date_of(int(found[1]), int(found[2]), int(found[3]), today)
    if found := re.fullmatch(r"(\d{4})([-/.])(\d\d?)\2(\d\d?)(?:[t ].*)?", text, re.ASCII | re.DOTALL):
        month, day = int(found[3]), int(found[4])
        if month > 12:
            month, day = day, month
        return date_of(int(found[1]), month, day, today)
    found = re.fullmatch(r"(\d\d?)\s*([,/.\-\s])\s*(\d\d?)\s*([,/.\-\s])\s*(\d{4})", text, re.ASCII)
    if found is None:
        return None
    first, second = int(found[1]), int(found[3])
    if max(first, second) > 12:
        month_first = second > 12
    elif found[2] == found[4] == "/" and country == "us":
        month_first = True
    else:
        month_first = order == "month_first"
    month, day = (first, second) if month_first else (second, first)
    return date_of(int(found[5]), month, day, today)


def date_of(year: int, month: int, day: int, today: dt.date) -> dt.date | None:
    try:
        date = dt.date(year, month, day)
    except ValueError:
        return None
    return date if dt.date(1900, 1, 1) <= date <= today else None


def city(text: str) -> str | None:
    return compact(text) or None


def subdivisions(country: str) -> Mapping[str, str]:
    """Name and code of each state and territory, both compared as `plain` writes them, to its code."""
    states = {one.code[3:].lower(): plain(one.name) for one in pycountry.subdivisions.get(country_code=country)}  # type: ignore[no-untyped-call]
    return {code: code for code in states} | {name: code for code, name in states.items()}


@cache
def known_states() -> Mapping[str | None, Mapping[str, str]]:
    """By country; None for a country that is not known."""
    us = {**subdivisions("US"), **OTHER_STATE_NAMES}
    canada = {**subdivisions("CA"), **json.loads((DATA / "canadian_provinces.json").read_text("utf-8"))}
    return {"us": us, "ca": canada, None: canada | us}


def state(text: str, country: str | None) -> str | None:
    """Two letters in the USA and Canada; elsewhere the name without spaces and punctuation."""
    text = folded(text)
    if re.fullmatch(r"[a-z]{2}-[a-z0-9]{1,3}", text):
        text = text[3:]
    return known_states().get(country, {}).get(plain(text)) or compact(text) or None


def zip_code(text: str, country: str | None) -> list[str]:
    """The zip, and the other form of one outside the USA that has a dash: cut at the dash."""
    text = folded(text)
    before, dash, _ = (re.sub(r"[\u2010-\u2015]", "-", text)).partition("-")
    if country is None and re.fullmatch(r"\d{5}[-\u2010-\u2015]\d{4}", text, re.ASCII):
        return [text[:5]]
    if country != "us":
        forms = [compact(text), compact(before)] if dash else [compact(text)]
        return list(dict.fromkeys(form for form in forms if len(form) > 1))
    text = re.split(r"[-.\u2010-\u2015]", text)[0]
    text = "".join(text.split())
    text = text.zfill(5) if len(text) in {3, 4} else text
    return [text[:5]] if re.fullmatch(r"\d{5,}", text, re.ASCII) else []


@cache
def countries() -> Mapping[str, str]:
    """Alpha-2, alpha-3, names in English and in the country's languages, to alpha-2 in lower case."""
    data = json.loads((DATA / "country_names.json").read_text("utf-8"))
    known: dict[str, str] = {}
    for one in pycountry.countries:
        names = [one.name, getattr(one, "common_name", "")]
        names += [translated(name, language) for language in data["languages"].get(one.alpha_2, ()) for name in names]
        names.append(getattr(one, "official_name", ""))
        known |= {plain(each): one.alpha_2.lower() for each in names if each}
    for code, names in data["names"].items():
        known |= {plain(each): code.lower() for each in names}
    for one in pycountry.countries:
        known |= {one.alpha_2.lower(): one.alpha_2.lower(), one.alpha_3.lower(): one.alpha_2.lower()}
    return known | {"uk": "gb"}


def translated(name: str, language: str) -> str:
    """The library's translation of a country's name."""
    return gettext.translation("iso3166-1", pycountry.LOCALES_DIR, [language]).gettext(name) if name else ""


def country(text: str) -> str | None:
    """Also with an article, and with a part in brackets: `US (United States)`."""
    outside, _, inside = folded(text).partition("(")
    candidates = (plain(text), plain(text).removeprefix("the"), plain(outside), plain(inside))
    return next((countries()[each] for each in candidates if each in countries()), None)


def external_id(text: str) -> str | None:
    return text.strip()


def madid(text: str) -> str | None:
    text = text.strip().lower()
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
