"""Generated values of all identity fields, as senders have them: the same values in every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from typing import NamedTuple

import phonenumbers
import pycountry


class Given(NamedTuple):
    """One value of one field of a customer."""

    field: str
    value: str
    country: str | None = None
    """The country of the customer, if the event has one."""


FIRST_NAMES = ("Mary", "JOHN", "Jean-Luc", "Mary Ann", "Valéry", "O'Neil", "정", "Zoë", " José María ", "J.R.", "Nuñez")
LAST_NAMES = ("Keener", "SMITH", "O'Brien", "de Souza", "Groß", "van der Berg", "Müller-Lüdenscheidt", "김", "Øster")
CITIES = (
    *("Paris", "New York", "São Paulo", "St. John's", "München", "القاهرة", "東京", "Rio de Janeiro"),
    "Aix-en-Provence",
)
DOMAINS = ("gmail.com", "Example.DE", "mail.example.org", "x.co.uk")
AROUND_EMAILS = ("{}", "{}", "{}", " {} ", "mailto:{}", "<{}>", '"{}"', "{};", "{},")
GENDERS = (
    *("m", "F", "male", "Female", "man", "Woman", "Mr", "Mrs", "Ms", "boy", "girl", "non-binary", "x", "lady", "sir"),
)
ZIPS = (
    *((None, "94035-####"), (None, "#####"), ("US", "#####-####"), ("US", "#####"), ("GB", "SW1A #AA")),
    *(("CA", "K#A #B#"), ("BR", "#####-###"), ("JP", "###-####"), ("DE", "#####"), ("NL", "#### AB")),
    *(("PT", "####-###"), ("PL", "##-###")),
)
"""Country and pattern: `#` is a digit."""
PHONE_SPELLINGS: tuple[Callable[[str, str, str], str], ...] = (
    *(lambda e164, _i, _n: e164, lambda _e, international, _n: international, lambda e164, _i, _n: e164[1:]),
    *(lambda e164, _i, _n: "00" + e164[1:], lambda _e, _i, national: national),
    lambda _e, international, _n: international.replace(" ", "_"),
)
"""From the E.164, international and national forms to a spelling."""
DATES = ("{d:02}/{m:02}/{y}", "{m:02}/{d:02}/{y}", "{m}/{d}/{y}", "{y}-{m:02}-{d:02}", "{y}{m:02}{d:02}", "{d}.{m}.{y}")


_SHA256 = sha256(b"ann").hexdigest()
HASHES = (_SHA256, _SHA256.upper(), f"{_SHA256}.AQYCAQAA", f"{_SHA256}.BA", _SHA256[:32])
"""The last has the length of an MD5."""


def values(count: int) -> Iterator[Given]:
    """Generate values of all fields, about as many of each."""
    rng = random.Random(1)  # noqa: S311 (the same values in every run)
    fields = list(GENERATORS)
    for number in range(count):
        field = fields[number % len(fields)]
        if rng.random() < 0.02:
            yield Given(field, rng.choice(HASHES))
        else:
            yield Given(field, *GENERATORS[field](rng))


def _email(rng: random.Random) -> tuple[str]:
    return (rng.choice(AROUND_EMAILS).format(f"Ann.{rng.randrange(999)}@{rng.choice(DOMAINS)}"),)


def _phone(rng: random.Random) -> tuple[str, str | None]:
    region = rng.choice(sorted(phonenumbers.SUPPORTED_REGIONS))
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    number = phonenumbers.example_number_for_type(region, rng.choice(kinds)) or phonenumbers.example_number(region)
    if number is None:
        raise RuntimeError(f"phonenumbers has no example of {region}")
    formats = (
        phonenumbers.PhoneNumberFormat.E164,
        phonenumbers.PhoneNumberFormat.INTERNATIONAL,
        phonenumbers.PhoneNumberFormat.NATIONAL,
    )
    e164, international, national = (str(phonenumbers.format_number(number, form)) for form in formats)
    return rng.choice(PHONE_SPELLINGS)(e164, international, national), rng.choice((region, region, None))


def _birthday(rng: random.Random) -> tuple[str, str | None]:
    year, month, day = rng.randrange(1930, 2010), rng.randrange(1, 13), rng.randrange(1, 29)
    return rng.choice(DATES).format(y=year, m=month, d=day), rng.choice(("US", "DE", None))


def _state(rng: random.Random) -> tuple[str, str | None]:
    country = rng.choice(("US", "US", "CA", "AU", "DE", "BR"))
    state = rng.choice(sorted(pycountry.subdivisions.get(country_code=country), key=str))  # type: ignore[no-untyped-call]
    return rng.choice((state.name, state.name.upper(), state.code[3:])), rng.choice((country, country, None))


def _zip(rng: random.Random) -> tuple[str, str | None]:
    country, pattern = rng.choice(ZIPS)
    return "".join(str(rng.randrange(10)) if char == "#" else char for char in pattern), country


def _country(rng: random.Random) -> tuple[str]:
    country = rng.choice(list(pycountry.countries))
    names = (
        *(country.alpha_2, country.alpha_2.lower(), country.alpha_3, country.name),
        getattr(country, "common_name", None),
    )
    return (rng.choice([name for name in names if name]),)


GENERATORS: Mapping[str, Callable[[random.Random], tuple[str] | tuple[str, str | None]]] = {
    "email": _email,
    "phone": _phone,
    "gender": lambda rng: (rng.choice(GENDERS),),
    "birthday": _birthday,
    "first_name": lambda rng: (rng.choice(FIRST_NAMES),),
    "last_name": lambda rng: (rng.choice(LAST_NAMES),),
    "city": lambda rng: (rng.choice(CITIES),),
    "state": _state,
    "zip": _zip,
    "country": _country,
    "external_id": lambda rng: (f"{rng.choice(('Kd-', 'u', ' U '))}{rng.randrange(10**6)}",),
}
"""By field: value, and country of the customer if it matters."""
