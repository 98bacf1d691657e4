"""Normalisation: one pure function for each kind of value, from the text that a sender sent to the text that is hashed.

The functions are `str -> str | None`, or `(str, country) -> str | None` where the country matters. They return None for
a text that has no usable value, and never the empty string. Countries are ISO 3166-1 alpha-2 codes in upper case. The
rules are Meta's (customer information parameters) unless a comment says otherwise. Hashing is done in `rules`.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from datetime import date
from functools import lru_cache

from gateway.mapping.reference_data import FULL_WIDTH, GENDERS, countries, letters, states

EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of the empty string. Senders send it by mistake; it identifies no customer."""
MAX_TEXT = 256
"""Characters of the longest text that is read as a name, address, number or ID."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+").fullmatch
_HEX64 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII).fullmatch
_HASH_WITH_APPENDIX = re.compile(r"([0-9a-fA-F]{64})\.[\w-]{2}(?:[\w-]{6})?", re.ASCII).fullmatch
_MD5 = re.compile(r"[0-9a-fA-F]{32}(?:\.[\w-]{2}(?:[\w-]{6})?)?", re.ASCII).fullmatch
_BRACKETED = re.compile(r"[^<>@]*<([^<>]*)>[\s;,.]*").fullmatch
_QUOTES = r"""\s"'`<>\u2018-\u201f"""
_EMAIL_DEBRIS = re.compile(rf"\A[{_QUOTES}]*(?:mailto:)?[{_QUOTES}]*|[{_QUOTES};,.]+\Z").sub
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII).fullmatch
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d\d?)\2(\d\d?)(?:[T ].*)?", re.ASCII | re.DOTALL).fullmatch
_YEAR_LAST = re.compile(r"(\d\d?)(?:\s?([,/.\-])\s?|\s)(\d\d?)(?:\s?([,/.\-])\s?|\s)(\d{4})", re.ASCII).fullmatch
_TWO_DIGITS = [f"{number:02}" for number in range(32)]
_ZIP_PARTS = re.compile(r"[-.\u2010-\u2015]").split
_ZIP_DASH = re.compile(r"[-\u2010-\u2015]").split
_ZIP_PLUS_4 = re.compile(r"\d{5}[-\u2010-\u2015]\d{4}", re.ASCII).fullmatch
_WEB_ADDRESS = re.compile(r"https?://[^\s/?#][^ ]*", re.IGNORECASE).fullmatch
_ISO_3166_2 = re.compile(r"([a-z]{2})-([a-z0-9]{1,3})", re.ASCII).fullmatch
_NOT_ALPHANUMERIC = bytes(code for code in range(128) if not chr(code).isalnum())
_PUNCTUATION = bytes(code for code in range(128) if not chr(code).isalnum() and not chr(code).isspace())


def given_hash(text: str) -> str | None:
    """The SHA-256 that the sender calculated, in lower case; that of Meta's Parameter Builder as it stands.

    None for any other text and for `EMPTY_HASH`. The Parameter Builder appends a dot and 2 or 8 characters.
    """
    text = text.strip()
    if len(text) == 64 and _HEX64(text) and (lower := text.lower()) != EMPTY_HASH:
        return lower
    if len(text) in {67, 73} and (match := _HASH_WITH_APPENDIX(text)) and match[1].lower() != EMPTY_HASH:
        return text
    return None


def is_empty_hash(text: str) -> bool:
    """Whether a text is the hash of the empty string, with or without the appendix of Meta's Parameter Builder."""
    text = text.strip()
    return text[:64].lower() == EMPTY_HASH and (len(text) == 64 or _HASH_WITH_APPENDIX(text) is not None)


def looks_like_md5(text: str) -> bool:
    """Whether a text has the form of an MD5, which Meta cannot match."""
    return _MD5(text.strip()) is not None


def trimmed(text: str) -> str | None:
    """The text without white space around it."""
    return text.strip() or None


def trimmed_lower(text: str) -> str | None:
    """The text in lower case without white space around it."""
    return text.strip().lower() or None


def email(text: str) -> str | None:
    """Trimmed, lower case, in the form of an address. What surrounds an address in exports and links is cut."""
    text = _folded(text).strip()
    if match := _BRACKETED(text):
        text = match[1]
    text = _EMAIL_DEBRIS("", text)
    return text if _EMAIL(text) else None


def name(text: str) -> str | None:
    """Lower case without punctuation and white space."""
    if text.isascii() and text.isalpha():
        return text.lower()
    return "".join(_words(text)) or None


def name_with_spaces(text: str) -> str | None:
    """The other form of a name with white space inside it: one space between the words. None for a single word."""
    if text.isalpha():
        return None
    words = _words(text)
    return " ".join(words) if len(words) > 1 else None


def _words(text: str) -> list[str]:
    """The words of a name in lower case without punctuation."""
    if text.isascii():
        return text.lower().encode().translate(None, _PUNCTUATION).decode().split()
    return _without_punctuation(_folded(text)).split()


def city(text: str) -> str | None:
    """Lower case without punctuation, special characters and spaces; letters of every script are kept."""
    if text.isascii() and text.isalpha():
        return text.lower()
    return _letters_and_digits(_folded(text)) or None


def state(text: str, country: str | None) -> str | None:
    """Two-letter code in the USA and in Canada, also for a state of theirs without a country; elsewhere like a city."""
    folded = _folded(text).strip()
    if (match := _ISO_3166_2(folded)) and match[1].upper() in countries().values():
        folded, country = match[2], country or match[1].upper()
    if (known := states().get(country)) and (code := known.get(letters(folded))):
        return code
    return _letters_and_digits(folded) or None


def zip_code(text: str, country: str | None) -> str | None:
    """Lower case without spaces and dashes; in the USA the first five digits.

    Five digits, a dash and four digits are American when no country is known. An American zip of three or four digits
    gets the leading zeros that it lost when it was stored as a number.
    """
    if country == "US" and len(text) == 5 and text.isascii() and text.isdecimal():
        return text
    folded = _folded(text).strip()
    if country is None and _ZIP_PLUS_4(folded):
        return folded[:5]
    if country == "US":
        digits = "".join(_ZIP_PARTS(folded, 1)[0].split())
        if not (digits.isascii() and digits.isdecimal()):
            return None
        return digits[:5] if len(digits) >= 5 else digits.rjust(5, "0") if len(digits) >= 3 else None
    compact = _letters_and_digits(folded)
    return compact if len(compact) >= 2 else None


def zip_before_dash(text: str, country: str | None) -> str | None:
    """The other form of a zip with a dash outside the USA: Meta's code cuts it there. None without a dash."""
    if country == "US" or (text.isascii() and "-" not in text):
        return None
    folded = _folded(text).strip()
    before, *rest = _ZIP_DASH(folded, 1)
    compact = _letters_and_digits(before)
    return compact if rest and len(compact) >= 2 and not (country is None and _ZIP_PLUS_4(folded)) else None


def country_code(text: str) -> str | None:
    """ISO 3166-1 alpha-2, upper case, from alpha-2, alpha-3 or a name.

    A name may have an article, or a second name in brackets: `The Netherlands`, `US (United States)`.
    """
    known, whole = countries(), letters(text)
    if code := known.get(whole):
        return code
    outside, _, inside = text.translate(FULL_WIDTH).partition("(")
    forms = (whole.removeprefix("the"), letters(outside), letters(inside))
    return next((known[form] for form in forms if form in known), None)


def country(text: str) -> str | None:
    """ISO 3166-1 alpha-2, lower case."""
    code = country_code(text)
    return code.lower() if code else None


def gender(text: str) -> str | None:
    """`f` or `m`; Meta accepts no other value."""
    return GENDERS.get(letters(text))


def birthday(
    text: str, today: int, *, month_first: bool = False, slashes_month_first: bool = False
) -> tuple[str, str, str] | None:
    """Year, month and day as YYYY, MM, DD. The date must lie between 1900-01-01 and `today`, the number YYYYMMDD.

    Reads `DD, MM, YYYY` with any common separator, `YYYYMMDD`, ISO dates and ISO times. Where both day and month could
    be the month, `month_first` decides, with slashes between them also `slashes_month_first`. Two-digit years are
    ambiguous and are not read.
    """
    text = text.strip()
    if match := text[:4].isdecimal() and _YEAR_FIRST(text):
        year, separator, month_text, day_text = match.groups()
        if not separator and len(month_text) + len(day_text) != 4:
            return None
        month, day = int(month_text), int(day_text)
        if month > 12 and separator:
            month, day = day, month
    elif match := _YEAR_LAST(text):
        first, before, second, after, year = match.groups()
        day, month = int(first), int(second)
        if month > 12 or (day <= 12 and (month_first or (slashes_month_first and before == after == "/"))):
            month, day = day, month
    else:
        return None
    return _date(year, month, day, today)


def date_parts(year: str, month: str, day: str, today: int) -> tuple[str, str, str] | None:
    """The parts of a date as `birthday` returns them, from its parts."""
    match = _YEAR_FIRST(f"{year}-{month}-{day}")
    return _date(match[1], int(match[3]), int(match[4]), today) if match else None


def _date(year: str, month: int, day: int, today: int) -> tuple[str, str, str] | None:
    number = int(year)
    try:
        date(number, month, day)
    except ValueError:
        return None
    if number < 1900 or number * 10000 + month * 100 + day > today:
        return None
    return year, _TWO_DIGITS[month], _TWO_DIGITS[day]


def madid(text: str) -> str | None:
    """A mobile advertiser ID: lower case with hyphens. All zeros mean that the user turned tracking off: None."""
    text = text.strip().lower()
    return text if _UUID(text) and text.strip("0-") else None


def lead_id(text: str) -> str | None:
    """Digits, without the prefix `l:` of Meta's lead exports."""
    text = text.strip().removeprefix("l:")
    return text if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def ip_address(text: str) -> str | None:
    """A valid IPv4 or IPv6 address, unchanged."""
    return _ip_address(text.strip()) if len(text) <= 64 else None


@lru_cache(4096)
def _ip_address(text: str) -> str | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return text


def url(text: str) -> str | None:
    """An absolute web address; None for a relative or malformed one."""
    text = text.strip()
    return text if _WEB_ADDRESS(text) else None


def _without_punctuation(text: str) -> str:
    return "".join(char for char in text if unicodedata.category(char)[0] not in "PSC" or char.isspace())


def _folded(text: str) -> str:
    """Lower case in NFC, with full-width forms of ASCII as ASCII.

    Raises `UnicodeEncodeError` when the text contains a lone surrogate.
    """
    if text.isascii():
        return text.lower()
    text.encode()
    return unicodedata.normalize("NFC", text.translate(FULL_WIDTH)).lower()


def _letters_and_digits(text: str) -> str:
    """Letters, their combining marks, and digits."""
    if text.isascii():
        return text.encode().translate(None, _NOT_ALPHANUMERIC).decode()
    return "".join(char for char in text if unicodedata.category(char)[0] in "LMN")
