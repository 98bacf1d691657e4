"""Countries, American states and calling codes as dictionaries. They are built from the libraries at the first use."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import cache

_MORE_COUNTRIES = {
    "uk": "GB",
    "greatbritain": "GB",
    "britain": "GB",
    "england": "GB",
    "scotland": "GB",
    "wales": "GB",
    "northernireland": "GB",
    "america": "US",
    "unitedstatesofamerica": "US",
    "southkorea": "KR",
    "korea": "KR",
    "northkorea": "KP",
    "russia": "RU",
    "czechrepublic": "CZ",
    "holland": "NL",
    "turkey": "TR",
    "ivorycoast": "CI",
    "macedonia": "MK",
    "swaziland": "SZ",
    "capeverde": "CV",
    "burma": "MM",
    "palestine": "PS",
    "uae": "AE",
    "deutschland": "DE",
    "espana": "ES",
    "brasil": "BR",
    "osterreich": "AT",
    "schweiz": "CH",
    "suisse": "CH",
    "italia": "IT",
}
"""Common names of countries that ISO 3166 does not list, as `letters` gives them."""


def letters(text: str) -> str:
    """Lower-case base letters, without accents and all other characters. For lookups; this form is never hashed."""
    return "".join(char for char in unicodedata.normalize("NFKD", text).lower() if char.isalpha())


@cache
def countries() -> Mapping[str, str]:
    """Alpha-2, alpha-3 and names, as `letters` gives them, to the alpha-2 code in upper case (ISO 3166-1)."""
    import pycountry  # noqa: PLC0415 (takes 44 ms; most commands do not need it)

    codes = dict(_MORE_COUNTRIES)
    for country in pycountry.countries:
        code = country.alpha_2
        for attribute in ("name", "official_name", "common_name"):
            if name := getattr(country, attribute, None):
                codes.setdefault(letters(name), code)
                codes.setdefault(letters(name.partition(",")[0]), code)
    for country in pycountry.countries:
        # Codes overwrite names: `in` is India, also if it is the first word of some name.
        codes[country.alpha_2.lower()] = codes[country.alpha_3.lower()] = country.alpha_2
    codes["uk"] = "GB"
    for ambiguous in ("korea", "virginislands", "congo"):
        codes.pop(ambiguous, None)
    return codes


@cache
def us_states() -> Mapping[str, str]:
    """Names and codes of American states, as `letters` gives them, to the two-letter code in lower case (ANSI)."""
    import pycountry  # noqa: PLC0415

    codes = {"washingtondc": "dc", "districtofcolumbia": "dc", "virginislands": "vi"}
    for state in pycountry.subdivisions.get(country_code="US"):  # type: ignore[no-untyped-call]
        code = state.code.removeprefix("US-").lower()
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
    us_states()
    calling_codes()
