"""The mapper's own reading of phone numbers has the same results as phonenumbers, for every region and spelling.

Digits without `+` are compared with the rule of the reference mapper, which calls phonenumbers for every reading.
"""

from __future__ import annotations

import hashlib
import random

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat

from gateway.mapping import phone as phones
from gateway.mapping.phone import phone
from tests.mapping import reference_normalise
from tests.mapping.builders import identity, mapper, sale
from tests.mapping.value_generator import example_phones, phone_spellings
from tools.compare_with_meta.foreign_calling_codes import digits_of, example_numbers, foreign_digits

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
NEIGHBOURS = 6
"""Numbers that are made from each example."""


def by_the_rule(text: str, region: str | None) -> str | None:
    """The result of the reference mapper."""
    return reference_normalise.phone(text, region.lower() if region else None)


def by_the_library(text: str, region: str | None) -> str | None:
    """E.164 without the plus; None if it is not a possible number."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return str(phonenumbers.format_number(number, PhoneNumberFormat.E164)).removeprefix("+")


def neighbours(
    examples: list[tuple[str, phonenumbers.PhoneNumber]], count: int
) -> list[tuple[str, phonenumbers.PhoneNumber]]:
    """The examples, and valid numbers that differ from them in the last three digits, each with its region."""
    rng = random.Random(1)
    numbers = list(examples)
    for region, number in examples:
        for _ in range(count):
            other = phonenumbers.PhoneNumber()
            other.merge_from(number)
            other.national_number = (number.national_number or 0) // 1000 * 1000 + rng.randrange(1000)
            if phonenumbers.is_valid_number_for_region(other, region):
                numbers.append((region, other))
    return numbers


NUMBERS = neighbours(example_phones(), NEIGHBOURS)


def test_there_are_thousands_of_numbers_of_every_region() -> None:
    assert len(NUMBERS) > 2000
    assert {region for region, _ in NUMBERS} == set(REGIONS)


def test_an_international_spelling_is_read_as_by_the_library() -> None:
    for region, number in NUMBERS:
        e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        for spelling in phone_spellings(number)[:3]:
            expected = by_the_library(spelling, None)
            assert expected == e164.removeprefix("+")
            assert phone(spelling, None) == expected, (region, spelling)
            assert phone(spelling, "US") == expected, (region, spelling)


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
        assert phone(e164.replace("+", "00"), None) == e164.removeprefix("+"), region


def test_a_national_spelling_is_read_as_by_the_rule() -> None:
    for region, number in NUMBERS:
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        for spelling in (national, "".join(filter(str.isdigit, national))):
            expected = by_the_rule(spelling, region)
            assert phone(spelling, region) == expected, (region, spelling)


def test_a_national_spelling_that_begins_with_zero_is_dropped_without_a_country() -> None:
    for region, number in NUMBERS:
        national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        if national.startswith("0") and not national.startswith("00"):
            assert phone(national, None) is None, (region, national)


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
    (None, "650_555_1212"),
    (None, "{1}650{555}1212"),
    ("US", "650_555_1212"),
    ("US", "{650} 555|1212"),
    ("US", "Tel: 650-555-1212"),
    ("US", "٦٥٠ ٥٥٥ ١٢١٢"),
    ("MX", "+5215512345678"),
    ("MX", "5215512345678"),
    ("MX", "15512345678"),
    (None, "52 1 55 1234 5678"),
    ("DE", "4917612345678"),
    ("DE", "447400123456"),
    ("RU", "9161234567"),
    ("CA", "4165551234"),
    ("XX", "4165551234"),
    ("IT", "3931234567"),
    ("KZ", "7071234567"),
    ("DE", "(+49) 176 12345678"),
]


@pytest.mark.parametrize(("region", "text"), SPELLINGS)
def test_a_spelling_that_was_read_wrongly_before_is_read_as_by_the_rule(region: str | None, text: str) -> None:
    assert phone(text, region) == by_the_rule(text, region)


def random_spelling(rng: random.Random) -> str:
    """Random digits with separators, sometimes with an extension."""
    digits = [str(rng.randrange(10)) for _ in range(rng.randrange(5, 15))]
    between = [rng.choice(("", "", "", " ", "-", ".", "/", " (", ") ")) for _ in digits]
    extension = rng.choice(("", "", "", " ext 89", "x12", " ext. 1234"))
    return rng.choice(("", "", "+")) + "".join(map("".join, zip(between, digits, strict=True))).strip() + extension


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**48))
def test_random_digits_are_read_as_by_the_rule(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        region, text = rng.choice((None, "US", "GB", "DE", *REGIONS)), random_spelling(rng)
        assert phone(text, region) == by_the_rule(text, region), (seed, text, region)


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
    assert phone(text, None) == sent


@pytest.mark.parametrize(
    "text",
    [
        *("0044 20 7946 0958", "00044 20 7946 0958", "0044-20-7946-0958", "00 44 20 7946 0958"),
        *("+0044 20 7946 0958", "+00 44 (0)20 7946 0958"),
    ],
)
@pytest.mark.parametrize("country", [None, "US", "GB"])
def test_zeros_before_the_calling_code_are_removed(text: str, country: str | None) -> None:
    assert phone(text, country) == "442079460958"


def test_digits_with_the_calling_code_of_the_country_are_read_as_they_stand() -> None:
    numbers = neighbours(list(example_numbers()), 16)

    right = sum(phone(digits_of(number), region) == digits_of(number) for region, number in numbers)

    print(f"digits with the calling code of their own country: {right} of {len(numbers)} are read as they stand")
    assert right == len(numbers) > 15_000
    assert {region for region, _ in numbers} == set(REGIONS)


FOREIGN = {
    "US": 1145,
    "GB": 1322,
    "FR": 1320,
    "ES": 1348,
    "IT": 1149,
    "NL": 1335,
    "BR": 1267,
    "MX": 1113,
    "IN": 1222,
    "JP": 1314,
    "AU": 1332,
    "DE": 199,
}
"""Country of the event to the number of foreign examples, of some 1,370, that were right when this was written.

German area codes and numbers have so many lengths that most foreign numbers are also valid in Germany.
"""


@pytest.mark.parametrize("country", FOREIGN)
def test_digits_with_another_calling_code_are_read_as_they_stand_unless_valid_in_the_country(country: str) -> None:
    digits = foreign_digits(country)

    wrong = [text for text in digits if phone(text, country) != text]

    print(
        f"digits with a foreign calling code, in {country}: {len(digits) - len(wrong)} of {len(digits)} as they stand"
    )
    assert len(digits) - len(wrong) >= FOREIGN[country]
    assert all(reference_normalise.read_phone(text, country, valid=True) for text in wrong)


def test_digits_with_a_calling_code_are_read_as_they_stand_without_a_country() -> None:
    assert all(phone(digits_of(number), None) == digits_of(number) for _, number in NUMBERS)


def test_random_national_digits_are_read_as_by_the_rule() -> None:
    rng = random.Random(2)
    examples = {region: [number for other, number in NUMBERS if other == region] for region in REGIONS}
    matched = valid = 0
    for region in REGIONS:
        for _ in range(60):
            digits = list(str(rng.choice(examples[region]).national_number))
            for _ in range(rng.randrange(4)):
                digits[rng.randrange(len(digits))] = rng.choice("0123456789")
            beginning = rng.choice(["", "0", "0", "1", "8", "00", str(phonenumbers.country_code_for_region(region))])
            text = beginning + "".join(digits) + rng.choice(["", "", rng.choice("0123456789")])
            at = rng.randrange(len(text) + 1)
            spelling = text[:at] + rng.choice(["", " ", "-", ".", "/"]) + text[at:]
            assert phone(spelling, region) == by_the_rule(spelling, region), (region, spelling)
            assert phone(spelling, None) == by_the_rule(spelling, None), spelling
            matched += phones._national_pattern(region)(text) is not None
            valid += phones._valid_pattern(region)(text) is not None
    assert matched > 500
    assert valid > 1000
