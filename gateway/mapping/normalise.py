"""What Meta hashes: one pure function for each field, from the text that a sender gave to the text that is hashed.

`str -> str | None`: None where nothing usable is there; the empty string is never a result. Rules are Meta's (customer
information parameters) unless a line says otherwise. Hashing is not done here.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from datetime import date
from functools import lru_cache

from gateway.mapping.reference_data import calling_codes, countries, letters, us_states

EMPTY_HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
"""SHA-256 of nothing: a known mistake of senders, never a customer."""
MAX_TEXT = 256
"""Characters beyond which a text is no name, address or number."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+").fullmatch
_HEX64 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII).fullmatch
_HEX32 = re.compile(r"[0-9a-fA-F]{32}", re.ASCII).fullmatch
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII).fullmatch
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d\d?)\2(\d\d?)(?:[T ].*)?", re.ASCII | re.DOTALL).fullmatch
_DAY_FIRST = re.compile(r"(\d\d?)(?:\s?[,/.\-]\s?|\s)(\d\d?)(?:\s?[,/.\-]\s?|\s)(\d{4})", re.ASCII).fullmatch
_ZIP_PARTS = re.compile(r"[-.\u2010-\u2015]").split
_WEB_ADDRESS = re.compile(r"https?://[^\s/?#][^ ]*", re.IGNORECASE).fullmatch
_ISO_3166_2 = re.compile(r"([a-z]{2})-([a-z0-9]{1,3})", re.ASCII).fullmatch
PHONE_NOISE = b" -.()/\t"
_NOT_TIGHT = bytes(code for code in range(128) if not chr(code).isalnum())
_PUNCTUATION = bytes(code for code in range(128) if not chr(code).isalnum() and not chr(code).isspace())


def given_hash(text: str) -> str | None:
    """A SHA-256 that the sender made, in lower case; the hash of nothing is none."""
    text = text.strip()
    if len(text) == 64 and _HEX64(text) and (lower := text.lower()) != EMPTY_HASH:
        return lower
    return None


def looks_like_md5(text: str) -> bool:
    """Whether it is the hash that Meta cannot match."""
    return _HEX32(text.strip()) is not None


def email(text: str) -> str | None:
    """Trimmed, lower case, shaped like an address. Full-width forms are folded (our choice)."""
    text = _folded(text).strip()
    return text if _EMAIL(text) else None


def name(text: str) -> str | None:
    """Lower case without punctuation; inner spaces stay, one each (our choice: Meta's tools disagree)."""
    if text.isascii() and text.isalpha():
        return text.lower()
    if text.isascii():
        kept = text.lower().encode().translate(None, _PUNCTUATION).decode()
    else:
        kept = _without_punctuation(_folded(text))
    return " ".join(kept.split()) or None


def city(text: str) -> str | None:
    """Lower case without punctuation, special characters and spaces; letters of every script stay."""
    if text.isascii() and text.isalpha():
        return text.lower()
    return _tight(_folded(text)) or None


def state(text: str, country: str | None) -> str | None:
    """Two-letter code in the USA, also when no country is known but the state is American; elsewhere like a city."""
    folded = _folded(text).strip()
    if (match := _ISO_3166_2(folded)) and match[1].upper() in countries().values():
        folded, country = match[2], country or match[1].upper()
    if country in {None, "US"} and (code := us_states().get(letters(folded))):
        return code
    return _tight(folded) or None


def zip_code(text: str, country: str | None) -> str | None:
    """Lower case without spaces and dashes; in the USA the first five digits, with the zeros that a number lost."""
    if country == "US" and len(text) == 5 and text.isascii() and text.isdecimal():
        return text
    folded = _folded(text).strip()
    if country == "US":
        digits = "".join(_ZIP_PARTS(folded, 1)[0].split())
        if not (digits.isascii() and digits.isdecimal()):
            return None
        return digits[:5] if len(digits) >= 5 else digits.rjust(5, "0") if len(digits) >= 3 else None
    tight = _tight(folded)
    return tight if len(tight) >= 2 else None


def country_code(text: str) -> str | None:
    """ISO 3166-1 alpha-2, upper case, from alpha-2, alpha-3 or a name."""
    return countries().get(letters(text))


def country(text: str) -> str | None:
    """ISO 3166-1 alpha-2, lower case."""
    code = country_code(text)
    return code.lower() if code else None


def gender(text: str) -> str | None:
    """`f` or `m`; there is no other."""
    return {"f": "f", "female": "f", "woman": "f", "m": "m", "male": "m", "man": "m"}.get(_folded(text).strip())


def phone(text: str, country: str | None) -> str | None:
    """Digits with the country code. A number without one takes the country's, and is nothing without a country.

    The common forms are read here; whatever is unusual goes to phonenumbers, and both agree on every number.
    """
    if text.isascii() and "(0" not in text:
        digits = text.encode().translate(None, PHONE_NOISE).decode()
        if digits[:1] == "+":
            if (national := digits[1:]).isdecimal() and is_complete(national):
                return national
        elif digits.isdecimal():
            if digits[:2] == "00":
                if text[:2] == "00" and is_complete(digits[2:]):
                    return digits[2:]
            elif country in {"US", "CA"} and len(digits) == 10 and digits[0] not in "01":
                return "1" + digits
            elif country is not None and (match := _national(country)(digits)):
                return calling_codes()[country] + match["number"]
    return _unusual_phone(text, country)


def birthday(text: str, today: int) -> tuple[str, str, str] | None:
    """Year, month, day as YYYY, MM, DD. `today` as the number YYYYMMDD bounds it; the first year is 1900.

    `DD, MM, YYYY` with any common separator, `YYYYMMDD`, ISO dates and times. Two-digit years and the American order
    have more than one reading and are not read.
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


def external_id(text: str) -> str | None:
    """Any stable identifier, trimmed; its case is its own."""
    return text.strip() or None


def madid(text: str) -> str | None:
    """Lower case with hyphens; the all-zero one means that tracking is off."""
    text = text.strip().lower()
    return text if _UUID(text) and text.strip("0-") else None


def lead_id(text: str) -> str | None:
    """Digits, without the `l:` of an export."""
    text = text.strip().removeprefix("l:")
    return text if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def ip_address(text: str) -> str | None:
    """A valid IPv4 or IPv6 address as it was given."""
    return _ip_address(text.strip()) if len(text) <= 64 else None


@lru_cache(4096)
def _ip_address(text: str) -> str | None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return text


def url(text: str) -> str | None:
    """An absolute web address; a relative or malformed one is none."""
    text = text.strip()
    return text if _WEB_ADDRESS(text) else None


def _without_punctuation(text: str) -> str:
    return "".join(char for char in text if unicodedata.category(char)[0] not in "PSC" or char.isspace())


def _folded(text: str) -> str:
    """Compatible forms folded (full-width letters), lower case. Half a character is a `UnicodeEncodeError`."""
    if text.isascii():
        return text.lower()
    text.encode()
    return unicodedata.normalize("NFKC", text).lower()


def _tight(text: str) -> str:
    """Letters, their marks and digits."""
    if text.isascii():
        return text.encode().translate(None, _NOT_TIGHT).decode()
    return "".join(char for char in text if unicodedata.category(char)[0] in "LMN")


_CODES: dict[str, tuple[frozenset[int], Callable[[str], object] | None]] = {}
"""Calling code to the lengths that a number with it may have, code included, and what finds a carrier's prefix after
it, which is cut. Filled as codes are met."""
_KEEPS_ZERO = frozenset({"39", "378", "225", "241", "242"})
"""Calling codes after which a zero may belong to the number; those go to the library."""


_NEVER = re.compile(r"(?!)").fullmatch


def is_complete(digits: str) -> bool:
    """Whether these are surely calling code and national number: nothing has to be cut or refused."""
    verdict = completeness(digits[:4], len(digits))
    return verdict is True or (verdict is not False and not verdict(digits))


def completeness(beginning: str, length: int) -> bool | Callable[[str], object]:
    """Whether digits that begin so are complete; a function: unless it finds something in the whole of them.

    `beginning` is the first four digits, which hold any code and the digit after it.
    """
    for size in (1,) if beginning[:1] in "17" else (2, 3):
        code = beginning[:size]
        if code in _CODES or _learn(code):
            lengths, cut = _CODES[code]
            after = beginning[size : size + 1]
            return length in lengths and after not in {"0", ""} and code not in _KEEPS_ZERO and (cut or True)
    return False


def _learn(code: str) -> bool:
    """Enter a calling code into `_CODES`; whether it is one."""
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
    # A plain prefix ends in a zero, which is looked for already, or is no beginning of a number with its code.
    cut = re.compile(f"{code}(?:{prefix})", re.ASCII).match if prefix and not prefix.isdecimal() else None
    _CODES[code] = frozenset(lengths), cut
    return True


@lru_cache(512)
def _national(country: str) -> Callable[[str], re.Match[str] | None]:
    """Matches digits that can only be a number as it is dialled within a country, without the prefix for that.

    Numbers that could also begin with a calling code or a code for calls abroad, or with a zero of their own, are left
    to the library, as are countries whose prefix carries more than itself.
    """
    from phonenumbers import PhoneMetadata, region_code_for_country_code  # noqa: PLC0415

    known = calling_codes().get(country)
    if known is None:
        return _NEVER
    metadata = PhoneMetadata.metadata_for_region(country)
    main = PhoneMetadata.metadata_for_region(region_code_for_country_code(int(known)))
    if metadata is None or main is None or metadata.general_desc is None or main.general_desc is None:
        return _NEVER
    general = metadata.general_desc
    prefix = metadata.national_prefix_for_parsing or ""
    if (
        general.national_number_pattern is None
        or not (prefix + "0").isdecimal()
        or metadata.national_prefix_transform_rule
    ):
        return _NEVER
    possible = set(general.possible_length) & set(main.general_desc.possible_length)
    lengths = "|".join(rf"\d{{{length}}}" for length in sorted(possible))
    abroad = metadata.international_prefix or "00"
    return re.compile(
        rf"(?!{known})(?!{abroad}){prefix}(?!0)(?=(?:{lengths})$)(?P<number>{general.national_number_pattern})",
        re.ASCII,
    ).fullmatch


@lru_cache(8192)
def _unusual_phone(text: str, country: str | None) -> str | None:
    """The library's reading of a number, as digits."""
    import phonenumbers  # noqa: PLC0415 (21 ms, and most numbers do without)

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
