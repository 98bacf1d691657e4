"""Countries, states, provinces and calling codes as dictionaries, built from the libraries at the first use."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache

from gateway.mapping.country_names import COUNTRY_NAMES

FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}
"""Full-width forms to ASCII, for `str.translate`."""

_FEMALE = """
woman female girl lady miss ms mrs madam maam daughter mother mom mama mommy aunt niece sister wife girlfriend
bride widow queen princess duchess countess empress goddess maiden lass gal chick dame belle she her hers
herself f
"""
_MALE = """
man male boy gentleman guy sir mister mr son father dad daddy papa uncle nephew brother husband boyfriend
groom widower king prince duke count emperor god lord lad fellow chap bloke dude he him his himself m
"""
GENDERS: Mapping[str, str] = dict.fromkeys(_FEMALE.split(), "f") | dict.fromkeys(_MALE.split(), "m")
"""Words for a gender, as `letters` gives them, to `f` and `m` (Meta: Parameter Builder 1.3.2)."""

_MORE_PROVINCES = {
    "colombiebritannique": "bc",
    "ileduprinceedouard": "pe",
    "labrador": "nl",
    "newfoundland": "nl",
    "nouveaubrunswick": "nb",
    "nouvelleecosse": "ns",
    "nwt": "nt",
    "pei": "pe",
    "terreneuveetlabrador": "nl",
    "territoiresdunordouest": "nt",
    "yukonterritory": "yt",
}
"""Names of Canadian provinces in French, and usual abbreviations."""
_MORE_STATES = {"washingtondc": "dc", "districtofcolumbia": "dc", "virginislands": "vi"}
_UNDIVIDED = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ı": "i", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ß": "ss"}
)
"""Letters with a stroke or of two letters, which Unicode does not decompose."""


def letters(text: str) -> str:
    """Lower-case base letters, without accents and all other characters. For lookups; this form is never hashed."""
    decomposed = unicodedata.normalize("NFKD", text).lower().translate(_UNDIVIDED)
    return "".join(char for char in decomposed if char.isalpha())


@cache
def countries() -> Mapping[str, str]:
    """Codes and names, as `letters` gives them, to the alpha-2 code in upper case (ISO 3166-1)."""
    import pycountry  # noqa: PLC0415 (takes 44 ms; most commands do not need it)

    codes = {letters(name): code for code, names in COUNTRY_NAMES.items() for name in names}
    for country in pycountry.countries:
        code = country.alpha_2
        for attribute in ("name", "official_name", "common_name"):
            if name := getattr(country, attribute, None):
                codes.setdefault(letters(name), code)
    for country in pycountry.countries:
        codes.setdefault(letters(country.name.partition(",")[0]), country.alpha_2)
    for country in pycountry.countries:
        # Codes overwrite names: `in` is India, also if it is the first word of some name.
        codes[country.alpha_2.lower()] = codes[country.alpha_3.lower()] = country.alpha_2
    codes["uk"] = "GB"
    for ambiguous in ("korea", "virginislands"):
        codes.pop(ambiguous, None)
    return codes


@cache
def states() -> Mapping[str | None, Mapping[str, str]]:
    """Names and codes of states and provinces, as `letters` gives them, to the two-letter code in lower case.

    By the customer's country; None is for customers whose country is not known.
    """
    american, canadian = _subdivisions("US") | _MORE_STATES, _subdivisions("CA") | _MORE_PROVINCES
    return {"US": american, "CA": canadian, None: canadian | american}


def _subdivisions(country: str) -> dict[str, str]:
    import pycountry  # noqa: PLC0415

    codes = {}
    for state in pycountry.subdivisions.get(country_code=country):  # type: ignore[no-untyped-call]
        code = state.code.removeprefix(f"{country}-").lower()
        codes[code] = codes[letters(state.name)] = code
    return codes


@cache
def calling_codes() -> Mapping[str, str]:
    """Country in upper case to its calling code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE  # noqa: PLC0415

    return {region: str(code) for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() for region in regions}


def load() -> None:
    """Build all of them now, so that this does not delay the first events."""
    countries()
    states()
    calling_codes()
