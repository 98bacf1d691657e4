"""Phone numbers: digits with the calling code, from every common way of writing them.

phonenumbers decides what a number is. It is slow, so the common forms are read here without it; the results are the
same for every number. *Valid* and *possible* are its words: a valid number is in the numbering plan, a possible one has
a length that occurs in it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gateway.mapping.memo import MemoCache
from gateway.mapping.reference_data import FULL_WIDTH, calling_codes

if TYPE_CHECKING:
    from phonenumbers import PhoneMetadata, PhoneNumber

_SEPARATORS = b" -.()[]{}_/\t"
_ODD_SEPARATORS = str.maketrans(dict.fromkeys("_{}<>|'\"\\!?&%$@^`", " "))
"""Characters between digits at which phonenumbers would stop to read."""
_NUMBER = re.compile(r"[+0-9].*", re.DOTALL).search
_PLUS_AND_ZEROS = re.compile(r"[+0\s]*").match


def phone(text: str, country: str | None) -> str | None:
    """The digits of a number with its calling code.

    With `+` or `00` the number is international. With another zero it is a number of the country. Other digits are the
    first of these: the country's calling code and a valid number; a valid number of the country; any calling code and a
    valid number; a possible number of the country. Without a country, only the third remains.
    """
    if text.isascii() and "(0" not in text:
        digits = text.encode().translate(None, _SEPARATORS).decode()
        if digits[:1] == "+":
            if (international := digits[1:]).isdecimal() and is_complete(international):
                return international
        elif digits.isdecimal() and (number := _read_digits(digits, text[:2] == "00", country)) is not None:
            return number
    return _parse_phone(text, country)


def _read_digits(digits: str, is_international: bool, country: str | None) -> str | None:
    """A number without `+` of which the result is certain. None: only phonenumbers can say."""
    if digits[:2] == "00":
        return digits[2:] if is_international and is_complete(digits[2:]) else None
    if country is None:
        return digits if is_certainly_valid(digits) else None
    code = calling_codes().get(country)
    if code is None:
        return None
    if digits[0] == "0":
        match = _national_pattern(country)(digits)
        return code + match["number"] if match else None
    if digits.startswith(code):
        return digits if is_certainly_valid(digits) else None
    if _valid_pattern(country)(digits) and not _prefix_pattern(country)(digits):
        return code + digits
    return None


def complete_phone(text: str) -> bytes | None:
    """The digits of a number that begins with `+`, as ASCII bytes. None: only `phone` can say whether it is usable."""
    if text[:1] == "+" and len(text) < 24 and text.isascii() and "(0" not in text:
        digits = text[1:].encode().translate(None, _SEPARATORS)
        if digits.isdigit():
            verdict = _completeness_cache[digits[:4].decode(), len(digits)]
            if verdict is True or (verdict is not False and not verdict(digits.decode())):
                return digits
    return None


def is_complete(digits: str) -> bool:
    """Whether digits are certainly a calling code and a national number, of which nothing is removed or refused."""
    verdict = completeness(digits[:4], len(digits))
    return verdict is True or (verdict is not False and not verdict(digits))


def is_certainly_valid(digits: str) -> bool:
    """Whether digits are certainly a calling code and a valid number of the main country with this code."""
    from phonenumbers import region_code_for_country_code  # noqa: PLC0415

    code = _calling_code(digits)
    if code is None or not is_complete(digits):
        return False
    return _valid_pattern(region_code_for_country_code(int(code)))(digits[len(code) :]) is not None


def completeness(beginning: str, length: int) -> bool | Callable[[str], object]:
    """Whether a number with this beginning and length is complete.

    `beginning` is the first four digits, which contain any calling code and the digit after it. The result is a
    function when the other digits matter: the number is complete unless the function finds something in it.
    """
    code = _calling_code(beginning)
    if code is None:
        return False
    lengths, carrier_prefix = _CODES[code]
    next_digit = beginning[len(code) : len(code) + 1]
    if length not in lengths or next_digit in {"0", ""} or code in _KEEPS_ZERO:
        return False
    return carrier_prefix or True


_completeness_cache = MemoCache[tuple[str, int], bool | Callable[[str], object]](lambda key: completeness(*key), 16384)

_CODES: dict[str, tuple[frozenset[int], Callable[[str], object] | None]] = {}
"""Calling code to the possible lengths of its numbers, code included, and a function that finds a carrier prefix after
the code, which would have to be removed. Entries are added when a code is first met."""
_KEEPS_ZERO = frozenset({"39", "378", "225", "241", "242"})
"""Calling codes after which a zero may be part of the number. phonenumbers reads these."""
_MATCHES_NOTHING = re.compile(r"(?!)").fullmatch


def _calling_code(digits: str) -> str | None:
    """The calling code with which the digits begin."""
    for size in (1,) if digits[:1] in "17" else (2, 3):
        code = digits[:size]
        if code in _CODES or _load_code(code):
            return code
    return None


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


@lru_cache(512)
def _valid_pattern(country: str) -> Callable[[str], re.Match[str] | None]:
    """Match national numbers of a country, without a prefix, that are certainly valid: those of one of its kinds.

    Where countries share a calling code, phonenumbers takes the first country whose leading digits fit, or whose kinds
    fit if it has none.
    """
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata  # noqa: PLC0415

    code = calling_codes().get(country)
    metadata = PhoneMetadata.metadata_for_region(country) if code else None
    if code is None or metadata is None:
        return _MATCHES_NOTHING
    regions = COUNTRY_CODE_TO_REGION_CODE[int(code)]
    earlier = [PhoneMetadata.metadata_for_region(region) for region in regions[: regions.index(country)]]
    others = "".join(rf"(?!{each.leading_digits})" for each in earlier if each is not None and each.leading_digits)
    own = rf"(?={metadata.leading_digits})" if metadata.leading_digits else ""
    kinds = "|".join(_kinds(metadata))
    general = _kind(metadata.general_desc)
    if not kinds or general is None:
        return _MATCHES_NOTHING
    return re.compile(rf"(?!0){others}{own}(?=(?:{general})$)(?:{kinds})", re.ASCII).fullmatch


def _kinds(metadata: PhoneMetadata) -> list[str]:
    """A pattern for each kind of number, such as mobile."""
    names = ("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number", "voip", "pager")
    return [kind for name in (*names, "uan", "voicemail") if (kind := _kind(getattr(metadata, name)))]


def _kind(description: Any) -> str | None:
    if description is None or not description.national_number_pattern:
        return None
    lengths = "|".join(rf"\d{{{length}}}$" for length in description.possible_length)
    return rf"(?={lengths})(?:{description.national_number_pattern})"


@lru_cache(512)
def _prefix_pattern(country: str) -> Callable[[str], re.Match[str] | None]:
    """Match the beginning of a number that phonenumbers would remove: a prefix for national or international calls."""
    from phonenumbers import PhoneMetadata  # noqa: PLC0415

    metadata = PhoneMetadata.metadata_for_region(country)
    prefixes = (metadata.international_prefix, metadata.national_prefix_for_parsing) if metadata is not None else ()
    return re.compile("|".join(f"(?:{prefix})" for prefix in prefixes if prefix) or r"(?!)", re.ASCII).match


@lru_cache(8192)
def _parse_phone(text: str, country: str | None) -> str | None:
    """Read a number with phonenumbers. Returns its digits with the calling code."""
    text = text.translate(FULL_WIDTH)
    if not text.isascii():
        text = "".join(str(unicodedata.decimal(char)) if char.isdecimal() else char for char in text)
    found = _NUMBER(text.translate(_ODD_SEPARATORS))
    if found is None:
        return None
    text = found[0]
    zeros = _PLUS_AND_ZEROS(text)
    if text.startswith(("+", "00")):
        return _parsed("+" + text[zeros.end() if zeros else 0 :], None, valid=False)
    region = country if country in calling_codes() else None
    if text[0] == "0":
        return _parsed(text, region, valid=False) if region else None
    if region is None:
        return _parsed("+" + text, None, valid=True)
    digits = "".join(filter(str.isdecimal, text))
    return (
        (_parsed("+" + text, None, valid=True) if digits.startswith(calling_codes()[region]) else None)
        or _parsed(text, region, valid=True)
        or _parsed("+" + text, None, valid=True)
        or _parsed(text, region, valid=False)
    )


def _parsed(text: str, region: str | None, *, valid: bool) -> str | None:
    """The digits of a number that has to be valid, or only possible."""
    import phonenumbers  # noqa: PLC0415 (takes 21 ms, and most numbers do not need it)

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    _cut_old_mobile_digit(number)
    if not (phonenumbers.is_valid_number(number) if valid else phonenumbers.is_possible_number(number)):
        return None
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)).lstrip("+")


def _cut_old_mobile_digit(number: PhoneNumber) -> None:
    """Cut the 1 that Mexican mobile numbers had after the calling code until 2019."""
    if number.country_code == 52 and number.national_number is not None and number.national_number // 10**10 == 1:
        number.national_number -= 10**10
