"""Generated values of single fields, in every spelling, valid and invalid, and junk values."""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import phonenumbers

Values: TypeAlias = Callable[[random.Random], Any]

COUNTRIES = (None, "US", "us", "DE", "GB", "IT", "BR", "JP", "IN", "CA", "MX")
EMPTY_HASH = hashlib.sha256(b"").hexdigest()
LONE_SURROGATES = ("\ud800", "a\udfffb")
"""Texts that JSON can contain and UTF-8 cannot."""
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**15, -(2**63), 2**63 - 1, 1e300, float("nan"), float("inf")),
    *(
        "",
        " ",
        "\t\n",
        "\u00a0",
        "x",
        "0",
        "-",
        "null",
        "\x00",
        "😀",
        "é" * 50,
        "[object Object]",
        "x" * 257,
        "7" * 5000,
    ),
    *([], [[]], [None], ["x", 5, None], {}, {"id": 1}, {"": ""}, {"a": {"b": ["c", {"email": "a@b.de"}]}}, [[[[[]]]]]),
)


def junk(rng: random.Random) -> Any:
    return rng.choice(JUNK)


def some_hash(rng: random.Random) -> str:
    digest = hashlib.sha256(str(rng.randrange(50)).encode()).hexdigest()
    appendix = rng.choice((".BA", ".AQYCAQAA", ".AQQC_-AA"))
    whole = rng.choice((digest, digest.upper(), f" {digest} ", EMPTY_HASH, EMPTY_HASH.upper()))
    with_appendix = (digest + appendix, f" {digest.upper()}{appendix}\t", EMPTY_HASH + appendix, digest + ".ABC")
    return rng.choice((whole, whole, *with_appendix, digest[:32], digest[:32] + appendix, digest[:63]))


def or_hashed(share: float) -> Callable[[Values], Values]:
    """A decorator: this share of the values is a hash."""

    def decorate(values: Values) -> Values:
        return lambda rng: some_hash(rng) if rng.random() < share else values(rng)

    return decorate


def external_id(rng: random.Random) -> Any:
    return rng.choice(("user@1", 42, " Kd-77 ", 7.0, "ß", some_hash(rng), rng.randrange(10**6), 2**53 + 1))


@or_hashed(0.15)
def email(rng: random.Random) -> Any:
    local = rng.choice(("John_Smith", "jürgen", "ｊｏｈｎ", "a.b+c", "o'neil", "İpek"))
    domain = rng.choice(
        ("Gmail.com", "example.DE", "münchen.de", "ｇｍａｉｌ．ｃｏｍ", "localhost", "b.co", "a..de", "a.de.")
    )
    around = rng.choice(("", "", "", " ", "\u00a0", "\t", "'", '"', "`"))
    before = rng.choice((around, around, around, "mailto:", "<", "<mailto:", "Ann Lee <", "“", "Mailto: "))
    after = rng.choice((around, around, around, ";", ",", ".", ">", ">;", "”", '"; '))
    return rng.choice(
        (f"{before}{local}@{domain}{after}",) * 6 + (f"{local} {domain}", f"{local}@@{domain}", local, 12)
    )


def emails(rng: random.Random) -> Any:
    return one_or_several(rng, email)


def phones(rng: random.Random) -> Any:
    return one_or_several(rng, phone)


def one_or_several(rng: random.Random, values: Values) -> Any:
    if rng.random() < 0.8:
        return values(rng)
    return [junk(rng) if rng.random() < 0.1 else values(rng) for _ in range(rng.randrange(4))]


@cache
def example_phones() -> list[tuple[str, phonenumbers.PhoneNumber]]:
    """The library's example numbers: one of each region and kind."""
    kinds = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE)
    examples = [
        (region, phonenumbers.example_number_for_type(region, kind))
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for kind in kinds
    ]
    return [(region, number) for region, number in examples if number]


ARABIC_DIGITS = {ord("0") + digit: chr(0x660 + digit) for digit in range(10)}


def phone_spellings(number: phonenumbers.PhoneNumber) -> list[str]:
    """Spellings of a number: E.164, other forms with the calling code, and two national forms."""
    e164, international, national = (
        phonenumbers.format_number(number, form)
        for form in (
            phonenumbers.PhoneNumberFormat.E164,
            phonenumbers.PhoneNumberFormat.INTERNATIONAL,
            phonenumbers.PhoneNumberFormat.NATIONAL,
        )
    )
    return [
        *(e164, international, international.replace(" ", "."), e164.replace("+", "00"), e164.removeprefix("+")),
        *(international.replace(" ", "_"), f"{{{e164}}}", e164.removeprefix("+").translate(ARABIC_DIGITS)),
        *(
            international.replace("+", "00"),
            international.replace("+", "+ "),
            national,
            "".join(filter(str.isdigit, national)),
        ),
    ]


PHONES_WITHOUT_PLUS = (
    *("+52 1 55 1234 5678", "5215512345678", "15512345678", "+5215512345678", "(+49) 176 12345678", 16505551212),
    *("447400123456", "4917612345678", 4917612345678, "Tel: 650_555_1212", "{650} 555 1212", "6505551212"),
)
"""Numbers with digits that may be a calling code, with odd separators, and with the digit that Mexico gave up."""


@or_hashed(0.1)
def phone(rng: random.Random) -> Any:
    kind = rng.random()
    if kind > 0.9:
        return rng.choice(PHONES_WITHOUT_PLUS)
    if kind < 0.1:
        return rng.choice(
            (
                *(16505551212, "(650)555-1212", "+44 (0)20 7946 0958", "020 7946 0958", "+0000000000", "call me"),
                *(
                    "＋１ ６５０ ５５５ １２１２",
                    "+1 650 555 1212 ext 89",
                    "0151 23456789",
                    6505551212,
                    "123",
                    "+39 06 12345678",
                    "0-0",
                    "0 0",
                    "+",
                    "00044 20 7946 0958",
                ),
                "+0044 20 7946 0958",
                "+001 650 555 1212",
            )
        )
    chosen = rng.choice([each for each in example_phones() if each[0] in COUNTRIES] if kind < 0.6 else example_phones())
    return rng.choice(phone_spellings(chosen[1]))


@or_hashed(0.1)
def gender(rng: random.Random) -> Any:
    return rng.choice(
        (
            *("m", "F", " Male ", "FEMALE", "non-binary", "woman", "man", "x", 1, "ｆ"),
            *("Mr.", "Mrs", "ma'am", "girl", "Boy", "MS", "miss", "he/him"),
        )
    )


LAST_BIRTHDAY = 13_000
"""Days after 1 January 1995: some four years in the future."""


def birthday(rng: random.Random) -> Any:
    date = dt.date(1995, 1, 1) + dt.timedelta(days=rng.randrange(-40_000, LAST_BIRTHDAY))
    day, month, year = f"{date.day:02}", f"{date.month:02}", str(date.year)
    separator = rng.choice((", ", ",", "/", "-", ".", " "))
    hashes = {part: hashlib.sha256(part.encode()).hexdigest() for part in ("db", "doby", "dobm", "dobd")}
    return rng.choice(
        (
            {},
            {"x": 1},
            separator.join((day, month, year)),
            separator.join((day, month, year)),
            separator.join((str(date.day), str(date.month), year)),
            separator.join((month, day, year)),
            *(f"{date.month}/{date.day}/{year}", f"{date.month}/{date.day % 12 + 1}/{year}", f"{month}/{month}/{year}"),
            *(f"{date.month}/{date.day % 12 + 1}/{year}", f"{date.month} / {date.day % 12 + 1} / {year}"),
            f"{day}/ {month}-{year}",
            f"{year}-{day}-{month}",
            separator.join((day, month, year[2:])),
            f"{year}-{month}-{day}",
            f"{year}-{month}-{day}T00:00:00.000Z",
            f"{year}-{month}-{day}T23:30:00-08:00",
            f"{year}-{month}-{day} 10:00:00",
            year + month + day,
            int(year + month + day),
            year,
            f"31, 02, {year}",
            hashes,
            some_hash(rng),
        )
    )


@or_hashed(0.1)
def name(rng: random.Random) -> Any:
    return rng.choice(
        (
            "Mary",
            "정",
            "Valéry",
            "O'Brien",
            "Jean-Luc",
            " Mary  Ann ",
            "İpek",
            "Groß",
            "ＳＭＩＴＨ",
            "--",
            "e\u0301va",
            "Mary Jane",
            "de la-Cruz",
            "สำราญ",
            "ﬁona",
            [hashlib.sha256(word).hexdigest() for word in (b"maryjane", b"mary jane", b"maryjane")],
            [hashlib.sha256(b"ann").hexdigest() + ".AQYCAQAA"],
            [hashlib.sha256(b"ann").hexdigest(), "ann"],
            [EMPTY_HASH],
            7,
        )
    )


def full_name(rng: random.Random) -> Any:
    return rng.choice(("Alex Keener", " Ana Maria  de Souza ", "Cher", "J. R. Tolkien", "정 하나", "- -", "Ann -"))


@or_hashed(0.1)
def city(rng: random.Random) -> Any:
    return rng.choice(
        (
            "Paris",
            "New York",
            "São Paulo",
            "Saint-Jean-sur-l'Île",
            "القاهرة",
            "St. John's",
            "7 Mile",
            "--",
            "กำแพงเพชร",
            "２Ｆ²",
        )
    )


@or_hashed(0.1)
def state(rng: random.Random) -> Any:
    return rng.choice(
        (
            "California",
            "CA",
            "ca",
            "US-CA",
            "N.Y.",
            "north carolina",
            "Bayern",
            "DE-BY",
            "D.C.",
            "São Paulo",
            "SP",
            "Puerto Rico",
            *("Ontario", "ON", "Québec", "Nouvelle-Écosse", "CA-AB", "Newfoundland and Labrador", "PEI"),
            5,
        )
    )


@or_hashed(0.1)
def zip_code(rng: random.Random) -> Any:
    return rng.choice(
        (
            "94035",
            "94035-1234",
            2134,
            94035,
            "02134",
            "M1 1AE",
            "K1A 0B1",
            "100-0001",
            "80331",
            80331.0,
            "940351234",
            "9403",
            "94035 1234",
            "94 035",
            *("01310-100", "00-950", "1-23", "94035–1234", "12345-6789-1"),
            [hashlib.sha256(word).hexdigest() for word in (b"1000001", b"100")],
        )
    )


@or_hashed(0.1)
def country(rng: random.Random) -> Any:
    return rng.choice(
        (
            "US",
            "usa",
            "United States of America",
            " us ",
            "United States",
            "DE",
            "Germany",
            "GBR",
            "UK",
            "Brazil",
            "Atlantis",
            "IT",
            "jp",
            "ＵＳ",
            *("CA", "Canada", "MX", "México", "Mexico", "Deutschland", "日本", "The Netherlands", "US (United States)"),
            *("Republic of Ireland", "Sverige", "Danmark", "Türkiye", "ไทย", "Macau", "Korea", "Korea (South)"),
        )
    )


@or_hashed(0.15)
def madid(rng: random.Random) -> Any:
    return rng.choice(
        (
            "38400000-8CF0-11BD-B23E-10B96E40000D",
            "00000000-0000-0000-0000-000000000000",
            " aebe52e7-03ee-455a-b3c4-e57283966239 ",
        )
    )


def ip_address(rng: random.Random) -> Any:
    return rng.choice((" 203.0.113.7 ", "2001:DB8::8A2E:370:7334", "1.2.3", "localhost", "::1", "203.0.113.07"))


def action_source(rng: random.Random) -> Any:
    return rng.choice(("physical_store", "website", "other", "shop", "app"))


def url(rng: random.Random) -> Any:
    return rng.choice(
        (
            *(
                "https://shop.example/p?a=1&fbclid=AbCdEf-12_3",
                "https://shop.example/?fbclid=X#top",
                "/cart?fbclid=Rel",
            ),
            *(
                "https://shop.example",
                "not a url",
                "http://[bad/?fbclid=Y",
                "https://shop.example/#?fbclid=Z",
                "https://",
            ),
            *("https://shop.example/?fbclid=&fbclid=Second", "https://shop.example/?xfbclid=no"),
        )
    )
