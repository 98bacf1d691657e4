"""The mapper's own reading of phone numbers has the same results as phonenumbers, for every region and spelling."""

from __future__ import annotations

import hashlib
import random
import re

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from gateway.mapping import normalise
from tests.mapping.builders import identity, mapper, sale
from tests.mapping.value_generator import example_phones, phone_spellings

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
NEIGHBOURS = 6
"""Numbers that are made from each example of the library by changing its last digits."""


def by_the_library(text: str, region: str | None) -> str | None:
    """E.164 without the plus; None if it is not a possible number."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164)).removeprefix("+")


def numbers() -> list[tuple[str, phonenumbers.PhoneNumber]]:
    """A few thousand valid numbers, each with its region."""
    rng = random.Random(1)
    numbers = list(example_phones())
    for region, number in example_phones():
        for _ in range(NEIGHBOURS):
            other = phonenumbers.PhoneNumber()
            other.merge_from(number)
            other.national_number = (number.national_number or 0) // 1000 * 1000 + rng.randrange(1000)
            if phonenumbers.is_valid_number_for_region(other, region):
                numbers.append((region, other))
    return numbers


NUMBERS = numbers()


def test_there_are_thousands_of_numbers_of_every_region() -> None:
    assert len(NUMBERS) > 2000
    assert {region for region, _ in NUMBERS} == set(REGIONS)


def test_an_international_spelling_is_read_as_by_the_library() -> None:
    for region, number in NUMBERS:
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        for spelling in phone_spellings(number)[:3]:
            expected = by_the_library(spelling, None)
            assert expected == e164.removeprefix("+")
            assert normalise.phone(spelling, None) == expected, (region, spelling)
            assert normalise.phone(spelling, "US") == expected, (region, spelling)


@pytest.mark.parametrize("api", ["conversions", "offline"])
def test_the_mapper_sends_the_hash_of_the_librarys_result(api: str) -> None:
    store = mapper(api)
    key = "ph" if api == "conversions" else "phone"
    for region, number in NUMBERS:
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        for spelling in phone_spellings(number)[:4]:
            sent = identity(store, sale(traits={"phone": spelling}))
            assert sent[key] == [normalised_hash(e164)], (region, spelling)


def normalised_hash(e164: str) -> str:
    return hashlib.sha256(e164.removeprefix("+").encode()).hexdigest()


def test_two_zeros_are_read_as_a_plus() -> None:
    for region, number in NUMBERS:
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        assert normalise.phone(e164.replace("+", "00"), None) == e164.removeprefix("+"), region


def test_a_national_spelling_is_read_as_by_the_library() -> None:
    for region, number in NUMBERS:
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        for spelling in (national, "".join(filter(str.isdigit, national))):
            expected = by_the_library(spelling, region)
            assert normalise.phone(spelling, region) == expected, (region, spelling)


def test_a_national_spelling_that_begins_with_zero_is_dropped_without_a_country() -> None:
    for region, number in NUMBERS:
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        if national.startswith("0") and not national.startswith("00"):
            assert normalise.phone(national, None) is None, (region, national)


SPELLINGS = [
    ("GB", "+44 (0)20 7946 0958"),
    ("IT", "+39 06 1234 5678"),
    ("IT", "06 1234 5678"),
    ("AR", "011 15-2345-6789"),
    ("AR", "+54 9 11 2345-6789"),
    ("MX", "+52 1 55 1234 5678"),
    ("SM", "0549 886377"),
    ("US", "1 (650) 555-1212"),
    ("RU", "8 (916) 123-45-67"),
    ("DE", "+49 (0) 30 123456"),
    ("US", "+1 650 555 1212 ext 89"),
    ("AG", "+86 111 8974 42994"),
    ("CN", "+86 179 00 744 2994"),
    ("BR", "+55 90 31 2123456789"),
    ("US", "0-0"),
    ("US", "0 / 0"),
    (None, "+-+"),
]


@pytest.mark.parametrize(("region", "text"), SPELLINGS)
def test_a_spelling_that_was_read_wrongly_before_is_read_as_by_the_library(region: str | None, text: str) -> None:
    assert normalise.phone(text, region) == by_the_library(text, region)


def random_spelling(rng: random.Random) -> str:
    """Random digits with separators, sometimes with an extension."""
    digits = [str(rng.randrange(10)) for _ in range(rng.randrange(5, 15))]
    between = [rng.choice(("", "", "", " ", "-", ".", "/", " (", ") ")) for _ in digits]
    extension = rng.choice(("", "", "", " ext 89", "x12", " ext. 1234"))
    return rng.choice(("", "", "+")) + "".join(map("".join, zip(between, digits, strict=True))).strip() + extension


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**48))
def test_random_digits_are_read_as_by_the_library(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        region, text = rng.choice((None, "US", "GB", "DE", *REGIONS)), random_spelling(rng)
        if re.match(r"[^1-9]*0[^1-9]*0|\+[^1-9]*0", text) or (region is None and not text.startswith("+")):
            continue  # the tests below check zeros before the calling code, and digits with neither code nor country
        assert normalise.phone(text, region) == by_the_library(text, region), (seed, text, region)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("16505551212", "16505551212"),
        ("442079460958", "442079460958"),
        ("4915123456789", "4915123456789"),
        ("6505551212", None),
        ("02079460958", None),
        ("999123456789", None),
    ],
)
def test_bare_digits_without_a_country_count_as_international_only_if_valid(text: str, sent: str | None) -> None:
    assert normalise.phone(text, None) == sent


@pytest.mark.parametrize(
    "text",
    [
        *("0044 20 7946 0958", "00044 20 7946 0958", "0044-20-7946-0958", "00 44 20 7946 0958"),
        *("+0044 20 7946 0958", "+00 44 (0)20 7946 0958"),
    ],
)
@pytest.mark.parametrize("country", [None, "US", "GB"])
def test_zeros_before_the_calling_code_are_removed(text: str, country: str | None) -> None:
    assert normalise.phone(text, country) == "442079460958"


def test_random_national_digits_are_read_as_by_the_library() -> None:
    rng = random.Random(2)
    examples = {region: [number for other, number in NUMBERS if other == region] for region in REGIONS}
    matched = 0
    for region in REGIONS:
        for _ in range(60):
            digits = list(str(rng.choice(examples[region]).national_number))
            for _ in range(rng.randrange(4)):
                digits[rng.randrange(len(digits))] = rng.choice("0123456789")
            beginning = rng.choice(["", "0", "0", "1", "8", "00", str(phonenumbers.country_code_for_region(region))])
            text = beginning + "".join(digits) + rng.choice(["", "", rng.choice("0123456789")])
            at = rng.randrange(len(text) + 1)
            spelling = text[:at] + rng.choice(["", " ", "-", ".", "/"]) + text[at:]
            assert normalise.phone(spelling, region) == normalise._parse_phone(spelling, region), (region, spelling)
            matched += normalise._national_pattern(region)(text) is not None
    assert matched > 1000
