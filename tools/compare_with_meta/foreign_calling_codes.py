"""How phone numbers with a foreign calling code and no plus sign are read, by the country of the event.

The numbers are the examples of phonenumbers, of all regions and kinds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import phonenumbers

from gateway.mapping.phone import phone

COUNTRIES = ("US", "GB", "FR", "ES", "IT", "NL", "BR", "MX", "IN", "JP", "AU", "DE")


class Reading(NamedTuple):
    """The numbers of all other calling codes in events of one country."""

    country: str
    numbers: int
    as_they_stand: int
    """Read as the calling code and the number that they are."""


def example_numbers() -> Sequence[tuple[str, phonenumbers.PhoneNumber]]:
    """The library's example number of each region and kind, toll-free and premium numbers included."""
    examples = [
        (region, phonenumbers.example_number_for_type(region, kind))
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in phonenumbers.PhoneNumberType.values()
    ]
    return [(region, number) for region, number in examples if number]


def digits_of(number: phonenumbers.PhoneNumber) -> str:
    """Calling code and national number without `+`, as CRMs store them."""
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)).removeprefix("+")


def foreign_digits(country: str) -> Sequence[str]:
    """The example numbers with another calling code than the country's."""
    own_code = phonenumbers.country_code_for_region(country)
    return [digits_of(number) for _, number in example_numbers() if number.country_code != own_code]


def readings() -> Iterator[Reading]:
    """The counts for each country."""
    for country in COUNTRIES:
        digits = foreign_digits(country)
        yield Reading(country, len(digits), sum(phone(text, country) == text for text in digits))
