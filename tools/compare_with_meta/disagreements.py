"""The known classes of disagreement with Meta's libraries, and the reason for each.

A class is recognised by what the library is known to do: where that is a text, its hash must be the library's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from hashlib import sha256

from gateway.mapping.normalise import EMPTY_HASH, MAX_TEXT
from tools.compare_with_meta.gateway_hashes import NOW, Sent
from tools.compare_with_meta.generated_values import Given
from tools.compare_with_meta.libraries import ERROR, PARAMETER_BUILDER


class Kind(Enum):
    """How the gateway and a library differ."""

    ONLY_GATEWAY = "only the gateway sends a hash"
    ONLY_LIBRARY = "only the library sends a hash"
    DIFFERENT = "different hashes"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One value, what the gateway sends for it, and what one library does."""

    given: Given
    sent: Sent
    oracle: str
    answer: str | None
    """The hash; None if the library sends nothing, ERROR if it raises."""

    @property
    def kind(self) -> Kind | None:
        """None if they agree: one of the gateway's hashes is the library's, or neither sends one."""
        hashes = [_without_appendix(text) for text in self.sent.hashes]
        if self.answer in {None, "", ERROR}:
            return Kind.ONLY_GATEWAY if hashes else None
        if not hashes:
            return Kind.ONLY_LIBRARY
        return None if _without_appendix(str(self.answer)) in hashes else Kind.DIFFERENT

    @property
    def by_builder(self) -> bool:
        """Whether the library is the Parameter Builder, not an SDK."""
        return self.oracle == PARAMETER_BUILDER

    @property
    def folded(self) -> str:
        """The value without surrounding white space, in lower case."""
        return self.given.value.strip().lower()

    def is_hash_of(self, *texts: str) -> bool:
        """Whether the library's hash is that of one of the texts."""
        return _without_appendix(self.answer or "") in {_hash(text) for text in texts}


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One class: what the libraries do, what the gateway does, and what Meta's page says."""

    fields: tuple[str, ...]
    """Empty: all fields."""
    libraries: str
    gateway: str
    meta: str
    """What Meta's page of customer information parameters says, in our words, or another source by its name."""
    example: Given
    applies: Callable[[Comparison], bool]

    def includes(self, comparison: Comparison) -> bool:
        """Whether a disagreement is of this class."""
        return (not self.fields or comparison.given.field in self.fields) and self.applies(comparison)


def disagreement(comparison: Comparison) -> Disagreement | None:
    """The class of a disagreement: the first that includes it."""
    return next((each for each in DISAGREEMENTS if each.includes(comparison)), None)


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _without_appendix(text: str) -> str:
    return text.partition(".")[0]


_APPENDIX = re.compile(r"[0-9a-f]{64}\.\w{2,8}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_THIS_YEAR = str(datetime.fromtimestamp(NOW, UTC).year)


def _hash_of_nothing(it: Comparison) -> bool:
    return _without_appendix(it.answer or "").lower() == EMPTY_HASH


def _no_letters_or_digits(it: Comparison) -> bool:
    return it.kind is Kind.ONLY_LIBRARY and not any(char.isalnum() for char in it.given.value)


def _email_debris(it: Comparison) -> bool:
    return bool(it.sent.text) and it.sent.text != it.folded


def _is_international(it: Comparison) -> bool:
    return it.folded.startswith(("+", "00"))


def _phone_with_words(it: Comparison) -> bool:
    return any(char.isalpha() for char in it.given.value)


def _other_separators(it: Comparison) -> bool:
    return not it.by_builder and any(char in "_./" for char in it.given.value)


def _national(it: Comparison) -> bool:
    return bool(it.given.country) and bool(it.sent.hashes) and not _is_international(it)


def _unknown_number(it: Comparison) -> bool:
    return it.kind is Kind.ONLY_LIBRARY


def _as_typed(it: Comparison) -> bool:
    return not it.by_builder and it.is_hash_of(it.folded, it.given.value.lower())


def _other_order(it: Comparison) -> bool:
    date = it.sent.text or ""
    return it.by_builder and it.is_hash_of(date[:4] + date[6:] + date[4:6])


def _year_out_of_range(it: Comparison) -> bool:
    years = re.findall(r"\d{4}", it.given.value)
    return it.kind is Kind.ONLY_LIBRARY and bool(years) and not any("1900" <= year <= _THIS_YEAR for year in years)


def _letters_and_digits(text: str) -> str:
    return re.sub("[^a-z0-9]", "", text)


def _sdk_place(text: str) -> str:
    return re.sub(r"[0-9.\s()-]", "", text)


def _city_cut_to_ascii(it: Comparison) -> bool:
    return it.by_builder and (it.answer is None or it.is_hash_of(_letters_and_digits(it.folded)))


def _sdk_place_kept(it: Comparison) -> bool:
    return not it.by_builder and it.is_hash_of(_sdk_place(it.folded))


def _cut_to_two_letters(it: Comparison) -> bool:
    return it.by_builder and it.answer is not None and it.kind is not Kind.ONLY_GATEWAY


def _zip_symbols(it: Comparison) -> bool:
    kept = it.given.value.lower().partition("-")[0]
    return it.kind is Kind.ONLY_GATEWAY or it.is_hash_of(kept.strip(), kept, "".join(kept.split()))


DISAGREEMENTS: Sequence[Disagreement] = (
    # All fields.
    Disagreement(
        (),
        "the SDKs hash it once more, or refuse it",
        "a value that the Parameter Builder hashed is sent as it is",
        "values that are already hashed are sent as they are; the page knows the appendix",
        Given("last_name", f"{_hash('doe')}.AQYCAQAA"),
        lambda it: not it.by_builder and bool(_APPENDIX.fullmatch(it.folded)),
    ),
    Disagreement(
        (),
        "an MD5 is sent as it is",
        "drops it and counts it",
        "SHA-256 is the only hash that the page names",
        Given("email", "900150983cd24fb0d6963f7d28e17f72"),
        lambda it: it.kind is Kind.ONLY_LIBRARY and bool(_MD5.fullmatch(it.folded)),
    ),
    Disagreement(
        (),
        "the hash of the empty text, from senders who hash missing values, is sent as it is; the SDK for Python makes "
        "it from white space",
        "drops it: it would match strangers with each other",
        "silent",
        Given("first_name", "  "),
        _hash_of_nothing,
    ),
    Disagreement(
        (),
        "a value without a letter or a digit is hashed as it is",
        "drops it",
        "punctuation and spaces are removed; nothing is left",
        Given("city", "!?"),
        _no_letters_or_digits,
    ),
    Disagreement(
        (),
        "a text of any length is hashed",
        f"drops a text of more than {MAX_TEXT} characters",
        "silent; the limit protects the gateway",
        Given("first_name", "b" * (MAX_TEXT + 1)),
        lambda it: it.kind is Kind.ONLY_LIBRARY and len(it.given.value) > MAX_TEXT,
    ),
    # Email.
    Disagreement(
        ("email",),
        "the Parameter Builder drops, and the SDK for Node.js refuses, an address with `mailto:`, quotes, brackets or "
        "a trailing `;`, `,` or `.`; the SDK for Python hashes it with them",
        "cuts them off",
        "trim and lower case; silent about such characters",
        Given("email", "mailto:kim@shop.example"),
        _email_debris,
    ),
    Disagreement(
        ("email",),
        "an address with unusual dots or symbols is dropped or refused",
        "hashes it: it matches if the person has given the same text to Meta",
        "silent",
        Given("email", "kim..lee@shop.example"),
        lambda it: it.kind is Kind.ONLY_GATEWAY,
    ),
    Disagreement(
        ("email",),
        "the SDK for Python takes every text with `@` and a dot behind it",
        "drops what cannot be an address",
        "silent",
        Given("email", "kim lee@shop.example"),
        lambda it: it.oracle == "python_sdk" and it.kind is Kind.ONLY_LIBRARY,
    ),
    # Phone.
    Disagreement(
        ("phone",),
        "the Parameter Builder adds the digits of an extension to the number and deletes letters; the SDKs do the same "
        "or refuse the number",
        "cuts the extension, and reads the letters of `1-800-FLOWERS` as keys; drops what is then no number",
        "symbols and letters are removed; silent about extensions",
        Given("phone", "+1 650 555 1212 ext. 7"),
        _phone_with_words,
    ),
    Disagreement(
        ("phone",),
        "the SDKs keep `_`, `.` or `/` in the hashed text, or refuse the number",
        "removes them",
        "symbols are removed",
        Given("phone", "+44_20_7946_0958"),
        _other_separators,
    ),
    Disagreement(
        ("phone",),
        "a national number is hashed without a calling code, or refused: the libraries do not know the country",
        "adds the calling code of the event's country, else of `default_country`",
        "the country code is always there, also if all data is from one country",
        Given("phone", "030 1234567", "DE"),
        _national,
    ),
    Disagreement(
        ("phone",),
        "digits that are no valid number, or a national number without a country, are hashed as they are",
        "drops it: a number without its calling code matches nobody",
        "the country code is always there",
        Given("phone", "030 1234567"),
        _unknown_number,
    ),
    Disagreement(
        ("phone",),
        "the SDK for Node.js keeps two zeros before a number that begins with 1 and is no American one",
        "reads `00` as `+`",
        "leading zeros are removed",
        Given("phone", "0012345678"),
        lambda it: it.oracle == "node_sdk" and it.is_hash_of(it.folded),
    ),
    # Gender.
    Disagreement(
        ("gender",),
        "the SDK for Node.js knows male and female only; the Parameter Builder drops a word with digits or punctuation",
        "also the words that the Parameter Builder knows, whatever stands around them",
        "`f` or `m`",
        Given("gender", "Mrs."),
        lambda it: it.kind is Kind.ONLY_GATEWAY,
    ),
    # Birthday.
    Disagreement(
        ("birthday",),
        "the SDKs hash the text as it is, whether it is a date or not",
        "`YYYYMMDD`; drops what is no date",
        "`YYYYMMDD`",
        Given("birthday", "1988-02-29"),
        _as_typed,
    ),
    Disagreement(
        ("birthday",),
        "the Parameter Builder reads a date such as `3.4.1990` month first in every country",
        "month first with slashes in the US, else as `birthday_order` says",
        "`YYYYMMDD`; silent about the order of the input",
        Given("birthday", "3.4.1990", "DE"),
        _other_order,
    ),
    Disagreement(
        ("birthday",),
        "the Parameter Builder hashes dates before 1900 and of the next year",
        "drops them",
        "years from 1900 to the present",
        Given("birthday", "1850-03-04"),
        _year_out_of_range,
    ),
    Disagreement(
        ("birthday",),
        "the Parameter Builder takes any characters between, before and behind the parts of a date",
        "takes `/`, `-`, `.`, `,` and spaces, the same in one date; drops others",
        "the input may have punctuation",
        Given("birthday", "1988_02_29"),
        lambda it: it.by_builder and it.kind is Kind.ONLY_LIBRARY,
    ),
    # Names.
    Disagreement(
        ("first_name", "last_name"),
        "the SDKs keep punctuation",
        "removes it",
        "no punctuation",
        Given("first_name", "Anne-Marie"),
        _as_typed,
    ),
    Disagreement(
        ("first_name", "last_name"),
        "the Parameter Builder removes the punctuation of ASCII only, and keeps other dashes and emoji",
        "removes both",
        "no punctuation",
        Given("first_name", "Anne\N{EN DASH}Marie"),
        lambda it: it.by_builder and it.is_hash_of("".join(it.folded.split())),
    ),
    # City.
    Disagreement(
        ("city",),
        "the Parameter Builder deletes letters outside a-z, and drops a city that then does not begin with a letter",
        "keeps them",
        "special characters in UTF-8",
        Given("city", "Köln"),
        _city_cut_to_ascii,
    ),
    Disagreement(
        ("city",),
        "the SDKs keep apostrophes and other punctuation and remove digits",
        "removes punctuation and keeps digits",
        "no punctuation, special characters and spaces",
        Given("city", "L'Aquila"),
        _sdk_place_kept,
    ),
    # State.
    Disagreement(
        ("state",),
        "the Parameter Builder cuts every state to two letters, outside the USA too",
        "two letters in the USA and Canada",
        "the two-letter code in the USA; elsewhere the name without punctuation, special characters and spaces",
        Given("state", "Bayern", "DE"),
        _cut_to_two_letters,
    ),
    Disagreement(
        ("state",),
        "the Parameter Builder drops a state without letters",
        "keeps it: regions have numbers in some countries",
        "silent",
        Given("state", "75", "FR"),
        lambda it: it.by_builder and it.kind is Kind.ONLY_GATEWAY,
    ),
    Disagreement(
        ("state",),
        "the SDKs do not abbreviate, keep apostrophes and other punctuation, and remove digits",
        "two letters in the USA and Canada; removes punctuation",
        "the two-letter code in the USA",
        Given("state", "Ohio", "US"),
        lambda it: not it.by_builder and it.kind is not Kind.ONLY_LIBRARY,
    ),
    # Zip.
    Disagreement(
        ("zip",),
        "the SDK for Python hashes a single character",
        "drops it: no country has such a code",
        "silent",
        Given("zip", "7"),
        lambda it: it.kind is Kind.ONLY_LIBRARY and len(it.given.value.strip(" -")) == 1,
    ),
    Disagreement(
        ("zip",),
        "the libraries keep symbols, and the Parameter Builder inner spaces; a zip that begins with a dash is dropped",
        "removes them",
        "no spaces, no dash",
        Given("zip", "M1 1AE", "GB"),
        _zip_symbols,
    ),
    # Country.
    Disagreement(
        ("country",),
        "the SDKs take two-letter codes only",
        "also three-letter codes and names",
        "ISO 3166-1 alpha-2",
        Given("country", "Sweden"),
        lambda it: it.answer == ERROR,
    ),
    Disagreement(
        ("country",),
        "the Parameter Builder cuts what it does not know to two letters (`UKR` becomes `uk`, `CHN` becomes `ch`)",
        "codes and names of countries; drops what is none",
        "ISO 3166-1 alpha-2",
        Given("country", "UKR"),
        _cut_to_two_letters,
    ),
    # External ID.
    Disagreement(
        ("external_id",),
        "the Parameter Builder takes 32 hexadecimal digits for an MD5 and sends them as they are",
        "hashes them: a UUID without dashes looks the same",
        "any stable ID; a hash is recommended",
        Given("external_id", "0123456789abcdef0123456789abcdef"),
        lambda it: it.kind is Kind.DIFFERENT and bool(_MD5.fullmatch(it.folded)),
    ),
    Disagreement(
        ("external_id",),
        "the Parameter Builder makes it lower case and removes white space",
        'trims it; lower case with `external_id_case = "lower"`',
        "the same form in every channel",
        Given("external_id", "Shop-7 A"),
        lambda it: it.by_builder and it.is_hash_of("".join(it.folded.split())),
    ),
)
"""In the order of the page. A disagreement is of the first class that includes it."""
