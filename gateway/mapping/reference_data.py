"""Countries, American states and calling codes as plain dictionaries. The libraries are loaded when first asked for."""

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
"""What people write and ISO 3166 does not list."""


def letters(text: str) -> str:
    """Lower-case base letters only, accents and all else cut: how names are looked up, never how they are hashed."""
    return "".join(char for char in unicodedata.normalize("NFKD", text).lower() if char.isalpha())


@cache
def countries() -> Mapping[str, str]:
    """Alpha-2, alpha-3 and names, as `letters` gives them, to the alpha-2 code in upper case (ISO 3166-1)."""
    import pycountry  # noqa: PLC0415 (44 ms that `--help` need not pay)

    found = dict(_MORE_COUNTRIES)
    for country in pycountry.countries:
        code = country.alpha_2
        for attribute in ("name", "official_name", "common_name"):
            if name := getattr(country, attribute, None):
                found.setdefault(letters(name), code)
                found.setdefault(letters(name.partition(",")[0]), code)
    for country in pycountry.countries:
        # Codes come last and win: `in` is India, whatever some name's first word is.
        found[country.alpha_2.lower()] = found[country.alpha_3.lower()] = country.alpha_2
    found["uk"] = "GB"
    for vague in ("korea", "virginislands", "congo"):
        found.pop(vague, None)
    return found


@cache
def us_states() -> Mapping[str, str]:
    """Names and codes of American states, as `letters` gives them, to the two-letter code in lower case (ANSI)."""
    import pycountry  # noqa: PLC0415

    found = {"washingtondc": "dc", "districtofcolumbia": "dc", "virginislands": "vi"}
    for state in pycountry.subdivisions.get(country_code="US"):  # type: ignore[no-untyped-call]
        code = state.code.removeprefix("US-").lower()
        found[code] = found[letters(state.name)] = code
    return found


@cache
def calling_codes() -> Mapping[str, str]:
    """Country in upper case to its calling code."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE  # noqa: PLC0415

    return {region: str(code) for code, regions in COUNTRY_CODE_TO_REGION_CODE.items() for region in regions}


def load() -> None:
    """Load all of them now, so that no event waits for it."""
    countries()
    us_states()
    calling_codes()
