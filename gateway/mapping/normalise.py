"""Normalisation: one pure function for each kind of value, from the text that a sender sent to the text that is hashed.

The functions are `str -> str | None`, or `(str, country) -> str | None` where the country matters. They return None for
a text that has no usable value, and never the empty string. Countries are ISO 3166-1 alpha-2 codes in upper case. The
rules are Meta's (customer information parameters) unless a comment says otherwise. Hashing is done in `rules`.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from functools import lru_cache

from gateway.mapping.memo import MemoCache
from gateway.mapping.reference_data import calling_codes, countries, letters, us_states

EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of the empty string. Senders send it by mistake; it identifies no customer."""
MAX_TEXT = 256
"""Characters of the longest text that is read as a name, address, number or ID."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+").fullmatch
_HEX64 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII).fullmatch
_HEX32 = re.compile(r"[0-9a-fA-F]{32}", re.ASCII).fullmatch
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII).fullmatch
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d\d?)\2(\d\d?)(?:[T ].*)?", re.ASCII | re.DOTALL).fullmatch
_DAY_FIRST = re.compile(r"(\d\d?)(?:\s?[,/.\-]\s?|\s)(\d\d?)(?:\s?[,/.\-]\s?|\s)(\d{4})", re.ASCII).fullmatch
_ZIP_PARTS = re.compile(r"[-.\u2010-\u2015]").split
_WEB_ADDRESS = re.compile(r"https?://[^\s/?#][^ ]*", re.IGNORECASE).fullmatch
_ISO_3166_2 = re.compile(r"([a-z]{2})-([a-z0-9]{1,3})", re.ASCII).fullmatch
_PHONE_SEPARATORS = b" -.()/\t"
_NOT_ALPHANUMERIC = bytes(code for code in range(128) if not chr(code).isalnum())
_PUNCTUATION = bytes(code for code in range(128) if not chr(code).isalnum() and not chr(code).isspace())


def given_hash(text: str) -> str | None:
    """The SHA-256 that the sender calculated, in lower case. None for any other text and for `EMPTY_HASH`."""
    text = text.strip()
    if len(text) == 64 and _HEX64(text) and (lower := text.lower()) != EMPTY_HASH:
        return lower
    return None


def looks_like_md5(text: str) -> bool:
    """Whether a text has the form of an MD5, which Meta cannot match."""
    return _HEX32(text.strip()) is not None


def trimmed(text: str) -> str | None:
    """The text without white space around it."""
    return text.strip() or None


def email(text: str) -> str | None:
    """Trimmed, lower case, in the form of an address. Full-width forms are folded (our choice)."""
    text = _folded(text).strip()
    return text if _EMAIL(text) else None


def name(text: str) -> str | None:
    """Lower case without punctuation; words are separated by one space (our choice: Meta's tools disagree)."""
    if text.isascii() and text.isalpha():
        return text.lower()
    if text.isascii():
        kept = text.lower().encode().translate(None, _PUNCTUATION).decode()
    else:
        kept = _without_punctuation(_folded(text))
    return " ".join(kept.split()) or None


def city(text: str) -> str | None:
    """Lower case without punctuation, special characters and spaces; letters of every script are kept."""
    if text.isascii() and text.isalpha():
        return text.lower()
    return _letters_and_digits(_folded(text)) or None


def state(text: str, country: str | None) -> str | None:
    """Two-letter code in the USA, also for an American state without a country; elsewhere like a city."""
    folded = _folded(text).strip()
    if (match := _ISO_3166_2(folded)) and match[1].upper() in countries().values():
        folded, country = match[2], country or match[1].upper()
    if country in {None, "US"} and (code := us_states().get(letters(folded))):
        return code
    return _letters_and_digits(folded) or None


def zip_code(text: str, country: str | None) -> str | None:
    """Lower case without spaces and dashes; in the USA the first five digits.

    An American zip of three or four digits gets the leading zeros that it lost when it was stored as a number.
    """
    if country == "US" and len(text) == 5 and text.isascii() and text.isdecimal():
        return text
    folded = _folded(text).strip()
    if country == "US":
        digits = "".join(_ZIP_PARTS(folded, 1)[0].split())
        if not (digits.isascii() and digits.isdecimal()):
            return None
        return digits[:5] if len(digits) >= 5 else digits.rjust(5, "0") if len(digits) >= 3 else None
    compact = _letters_and_digits(folded)
    return compact if len(compact) >= 2 else None


def country_code(text: str) -> str | None:
    """ISO 3166-1 alpha-2, upper case, from alpha-2, alpha-3 or a name."""
    return countries().get(letters(text))


def country(text: str) -> str | None:
    """ISO 3166-1 alpha-2, lower case."""
    code = country_code(text)
    return code.lower() if code else None


def gender(text: str) -> str | None:
    """`f` or `m`; Meta accepts no other value."""
    return {"f": "f", "female": "f", "woman": "f", "m": "m", "male": "m", "man": "m"}.get(_folded(text).strip())


def birthday(text: str, today: int) -> tuple[str, str, str] | None:
    """Year, month and day as YYYY, MM, DD. The date must lie between 1900-01-01 and `today`, the number YYYYMMDD.

    Reads `DD, MM, YYYY` with any common separator, `YYYYMMDD`, ISO dates and ISO times. Two-digit years and the
    American order are ambiguous and are not read.
    """
    text = text.strip()
    if match := text[:4].isdecimal() and _YEAR_FIRST(text):
        year, month, day = match[1], match[3], match[4]
        if not match[2] and len(month) + len(day) != 4:
            return None
    elif match := _DAY_FIRST(text):
        day, month, year = match.groups()
    else:
        return None
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return None
    if int(year) < 1900 or int(year) * 10000 + int(month) * 100 + int(day) > today:
        return None
    return year, month.rjust(2, "0"), day.rjust(2, "0")


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
    """Lower case, with compatible forms (such as full-width letters) folded.

    Raises `UnicodeEncodeError` when the text contains a lone surrogate.
    """
    if text.isascii():
        return text.lower()
    text.encode()
    return unicodedata.normalize("NFKC", text).lower()


def _letters_and_digits(text: str) -> str:
    """Letters, their combining marks, and digits."""
    if text.isascii():
        return text.encode().translate(None, _NOT_ALPHANUMERIC).decode()
    return "".join(char for char in text if unicodedata.category(char)[0] in "LMN")


# Phone numbers. Reading the common forms here avoids most calls of phonenumbers, which are slow.


def phone(text: str, country: str | None) -> str | None:
    """Digits with the calling code. A number without a calling code takes the country's; without a country it is None.

    The common forms are read here and all others by phonenumbers; the results are the same for every number.
    """
    if text.isascii() and "(0" not in text:
        digits = text.encode().translate(None, _PHONE_SEPARATORS).decode()
        if digits[:1] == "+":
            if (international := digits[1:]).isdecimal() and is_complete(international):
                return international
        elif digits.isdecimal():
            if digits[:2] == "00":
                if text[:2] == "00" and is_complete(digits[2:]):
                    return digits[2:]
            elif country in {"US", "CA"} and len(digits) == 10 and digits[0] not in "01":
                return "1" + digits
            elif country is not None and (match := _national_pattern(country)(digits)):
                return calling_codes()[country] + match["number"]
    return _parse_phone(text, country)


def complete_phone(text: str) -> bytes | None:
    """The digits of a number that begins with `+`, as ASCII bytes. None: only `phone` can say whether it is usable."""
    if text[:1] == "+" and len(text) < 24 and text.isascii() and "(0" not in text:
        digits = text[1:].encode().translate(None, _PHONE_SEPARATORS)
        if digits.isdigit():
            verdict = _completeness_cache[digits[:4].decode(), len(digits)]
            if verdict is True or (verdict is not False and not verdict(digits.decode())):
                return digits
    return None


def is_complete(digits: str) -> bool:
    """Whether digits are certainly a calling code and a national number, of which nothing is removed or refused."""
    verdict = completeness(digits[:4], len(digits))
    return verdict is True or (verdict is not False and not verdict(digits))


def completeness(beginning: str, length: int) -> bool | Callable[[str], object]:
    """Whether a number with this beginning and length is complete.

    `beginning` is the first four digits, which contain any calling code and the digit after it. The result is a
    function when the other digits matter: the number is complete unless the function finds something in it.
    """
    for size in (1,) if beginning[:1] in "17" else (2, 3):
        code = beginning[:size]
        if code in _CODES or _load_code(code):
            lengths, carrier_prefix = _CODES[code]
            next_digit = beginning[size : size + 1]
            if length not in lengths or next_digit in {"0", ""} or code in _KEEPS_ZERO:
                return False
            return carrier_prefix or True
    return False


_completeness_cache = MemoCache[tuple[str, int], bool | Callable[[str], object]](lambda key: completeness(*key), 16384)

_CODES: dict[str, tuple[frozenset[int], Callable[[str], object] | None]] = {}
"""Calling code to the possible lengths of its numbers, code included, and a function that finds a carrier prefix after
the code, which would have to be removed. Entries are added when a code is first met."""
_KEEPS_ZERO = frozenset({"39", "378", "225", "241", "242"})
"""Calling codes after which a zero may be part of the number. phonenumbers reads these."""
_MATCHES_NOTHING = re.compile(r"(?!)").fullmatch


def _load_code(code: str) -> bool:
    """Add a calling code to `_CODES`. Returns whether there is such a code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata  # noqa: PLC0415

    regions = COUNTRY_CODE_TO_REGION_CODE.get(int(code)) if code[:1] not in {"0", ""} else None
    if not regions:
        return False
    lengths: set[int] = set()
    for region in regions:
        metadata = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
        if metadata is not None and metadata.general_desc is not None:
            lengths.update(length + len(code) for length in metadata.general_desc.possible_length)
    main = PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])
    prefix = (main.national_prefix_for_parsing if main is not None else None) or ""
    # A prefix of digits only needs no search: it ends in a zero, which `completeness` excludes, or no number with this
    # code begins with it.
    find_prefix = re.compile(f"{code}(?:{prefix})", re.ASCII).match if prefix and not prefix.isdecimal() else None
    _CODES[code] = frozenset(lengths), find_prefix
    return True


@lru_cache(512)
def _national_pattern(country: str) -> Callable[[str], re.Match[str] | None]:
    """Match digits that can only be a national number of a country; group `number` leaves out the national prefix.

    It does not match, and phonenumbers reads, numbers that could also begin with a calling code, with a prefix for
    international calls or with a zero that belongs to them, and numbers of countries with a complex national prefix.
    """
    from phonenumbers import PhoneMetadata, region_code_for_country_code  # noqa: PLC0415

    code = calling_codes().get(country)
    if code is None:
        return _MATCHES_NOTHING
    metadata = PhoneMetadata.metadata_for_region(country)
    main = PhoneMetadata.metadata_for_region(region_code_for_country_code(int(code)))
    if metadata is None or main is None or metadata.general_desc is None or main.general_desc is None:
        return _MATCHES_NOTHING
    general = metadata.general_desc
    prefix = metadata.national_prefix_for_parsing or ""
    if (
        general.national_number_pattern is None
        or not (prefix + "0").isdecimal()
        or metadata.national_prefix_transform_rule
    ):
        return _MATCHES_NOTHING
    possible = set(general.possible_length) & set(main.general_desc.possible_length)
    lengths = "|".join(rf"\d{{{length}}}" for length in sorted(possible))
    international_prefix = metadata.international_prefix or "00"
    return re.compile(
        rf"(?!{code})(?!{international_prefix}){prefix}(?!0)(?=(?:{lengths})$)"
        rf"(?P<number>{general.national_number_pattern})",
        re.ASCII,
    ).fullmatch


@lru_cache(8192)
def _parse_phone(text: str, country: str | None) -> str | None:
    """Read a number with phonenumbers. Returns its digits with the calling code."""
    import phonenumbers  # noqa: PLC0415 (takes 21 ms, and most numbers do not need it)

    text = unicodedata.normalize("NFKC", text).strip()
    if text.startswith("+"):
        text = "+" + text[1:].lstrip("0 ")
    digits = "".join(char for char in text if char in "0123456789")
    if not digits.strip("0"):
        return None
    international = text.startswith(("+", "00")) or text.lower().startswith("tel:+")
    try:
        if international:
            number = phonenumbers.parse("+" + text[2:].lstrip("0") if text.startswith("00") else text, None)
        elif country in calling_codes():
            number = phonenumbers.parse(text, country)
        elif digits.startswith("0"):
            return None
        else:
            number = phonenumbers.parse("+" + text, None)
            if not phonenumbers.is_valid_number(number):
                return None
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)).lstrip("+")
