"""The registry of fields: one entry for each value that is read from a source event and sent to Meta.

An entry has everything that is particular to its field: source paths, key in each dialect, normaliser, hashing, special
cases, and the description for the docs. The compiler, the extractor, redaction, `explain`, the counters and
`docs/mapping.md` are derived from the entries. An incomplete or inconsistent entry is an error at import.

Source paths have the order of RudderStack's page on Facebook Offline Conversions. The paths that this project adds come
after them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Any

from gateway.config.settings import MAPPED_FIELDS
from gateway.mapping import event_values, normalise, shortcuts
from gateway.mapping.json_path import MAX_LONG_TEXT
from gateway.mapping.normalise import MAX_TEXT
from gateway.mapping.phone import phone
from gateway.mapping.shortcuts import Shortcut
from gateway.model import Dialect

EXTERNAL_IDS = ("context.externalId", "externalId")
"""Lists of `{type, id}`. The entry with type `LeadId` has the lead ID."""
FIRST_EXTERNAL_ID = "context.externalId.0.id"
"""The last path at which an email is looked for. Any other text than an address counts as absent there."""


class Hashing(StrEnum):
    """Whether the normalised value is hashed; the values are the words of the docs."""

    ALWAYS = "yes"
    NEVER = "no"
    AS_SET = "as `hash_external_id` says"
    OFFLINE = "in `offline` only"


class Special(Enum):
    """Fields that need code of their own. A field without one of these marks is handled by the common code."""

    # Identity: `extract` and `compiler.fast_path`.
    COUNTRY = auto()
    """Read before the others, which may be normalised with its code."""
    EMAIL = auto()
    """Falls back to `FIRST_EXTERNAL_ID`."""
    BIRTHDAY = auto()
    """One value for several keys. The value may be an object of its parts, or of their hashes."""
    FIRST_WORD = auto()
    """Falls back to the first word of `name`."""
    LAST_WORD = auto()
    """Falls back to the last word of `name`."""
    LEAD_ID = auto()
    """Read from `EXTERNAL_IDS` before its paths. An integer in `conversions`."""
    CLICK_ID = auto()
    """Falls back to `fbclid` in the query of the page's URL."""
    # The event: `compiler.routing` and `compiler.encode`.
    EVENT_TIME = auto()
    ACTION_SOURCE = auto()
    PAGE_URL = auto()
    UPLOAD_TAG = auto()
    """Sent with the call and not with the event: it is part of the lane."""
    # The sale: `compiler.custom_data`.
    VALUE = auto()
    CURRENCY = auto()
    CONTENTS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. This class is for fields of the event and of the sale; an identity field is a `MatchKey`."""

    name: str
    """The name in the settings (`extra_fields`), the counters and `explain`."""
    description: str = ""
    """The rule for its value, as a phrase for `docs/mapping.md`."""
    paths: tuple[str, ...] = ()
    """Where it is read from in the source event. The first value that is present wins."""
    offline: str | tuple[str, ...] = ()
    """Key in the dialect `offline`; no key: not sent."""
    conversions: str | tuple[str, ...] = ()
    """Key in the dialect `conversions`; no key: not sent."""
    max_length: int = MAX_LONG_TEXT
    """Characters of the longest text that is read as a value."""
    special: Special | None = None
    convert: Callable[[Any], Any] | None = None
    """For a value that is not just a text: the function to the value to send, or to None for one in another form.

    Such a field has no key in `offline`.
    """
    screened: bool = False
    """Whether a text that looks personal counts as absent."""
    additional_paths_first: bool = False
    """Whether the paths of `extra_fields` are read before those of this entry."""

    def keys(self, dialect: Dialect) -> tuple[str, ...]:
        """Its keys in a dialect; empty if it is not sent."""
        keys = self.conversions if dialect is Dialect.CONVERSIONS else self.offline
        return (keys,) if isinstance(keys, str) else keys


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchKey(Field):
    """A field that says who the customer is: a key of `match_keys` or `user_data`."""

    normalise: Callable[[str], str | None] | None = None
    normalise_by_country: Callable[[str, str | None], str | None] | None = None
    """Set instead of `normalise` where the result depends on the customer's country."""
    variant: Callable[..., str | None] | None = None
    """A second form of the value, with the arguments of the normaliser: Meta's own code has both forms.

    `conversions` sends the hashes of both, unless the setting `match_variants` is off. None for a value with one form.
    """
    hashing: Hashing | None = None
    max_length: int = MAX_TEXT
    many: bool = False
    """Whether the source value may be a list. Every usable value is sent, as a list."""
    list_in_conversions: bool = False
    """Whether the one value is sent as a list in `conversions`."""
    cached: bool = False
    """Whether values repeat so often that results are cached."""
    often_a_number: bool = False
    """Whether senders often send a number, which the fast path then has to read."""
    case_as_set: bool = False
    """Whether the setting `external_id_case` applies."""
    accepts_md5: bool = False
    """Whether a value in the form of an MD5 is a value like any other. Elsewhere it is dropped."""
    shortcut: Shortcut | None = None
    """Speeds up the fast path; the result does not depend on it."""
    derived_from: str | None = None
    """Name of the field from whose text the value is calculated, instead of paths of its own.

    A derived field is absent when that field is absent, is dropped, or came as a hash. It is not a field of
    `extra_fields`, and a redacted event does not contain it.
    """

    @property
    def is_verbatim(self) -> bool:
        """Whether it is sent unchanged, but for white space around it."""
        return self.normalise is normalise.trimmed and self.hashing is Hashing.NEVER

    @property
    def redacted_path(self) -> str:
        """Where a redacted event has the value to send: the path at which mapping looks first."""
        return EXTERNAL_IDS[0] if self.special is Special.LEAD_ID else self.paths[0]


def _traits(*names: str) -> tuple[str, ...]:
    """Each name in the traits, then each in the context's traits."""
    return tuple(f"{holder}.{name}" for holder in ("traits", "context.traits") for name in names)


def _address(*names: str) -> tuple[str, ...]:
    """Each name in the traits' address, then each in the address of the context's traits."""
    return tuple(f"{holder}.address.{name}" for holder in ("traits", "context.traits") for name in names)


def _merged(*groups: tuple[str, ...]) -> tuple[str, ...]:
    """The paths of all groups, each once."""
    return tuple(dict.fromkeys(path for group in groups for path in group))


def _first_letters(count: int) -> Callable[[str], str | None]:
    """Normalise a name and keep its first letters."""

    def normaliser(text: str) -> str | None:
        name = normalise.name(text)
        return name[:count] if name else None

    return normaliser


_ZIP_NAMES = ("zip", "zipcode", "zip_code", "zipCode", "postalcode", "postal_code", "postalCode")

IDENTITY: tuple[MatchKey, ...] = (
    MatchKey(
        name="email",
        description="trimmed, lower case, without `mailto:`, quotes and angle brackets around it and without `;`, `,` "
        "or `.` after it; must have the form of an address. May be a list. The last path is "
        f"`{FIRST_EXTERNAL_ID}`, for an address only",
        paths=("traits.email", "context.traits.email", "properties.email"),
        offline="email",
        conversions="em",
        normalise=normalise.email,
        hashing=Hashing.ALWAYS,
        many=True,
        shortcut=shortcuts.EMAIL,
        special=Special.EMAIL,
    ),
    MatchKey(
        name="phone",
        description="digits with the calling code. A number with `+` or `00` is international. Another one that begins "
        "with a zero is of the event's country, else of `default_country`. Other digits are the first of these: the "
        "country's calling code and a valid number; a valid number of the country; any calling code and a valid "
        "number; a possible number of the country. Without a country only the third is read. The `1` that followed "
        "`+52` in Mexico is cut. May be a list",
        paths=("traits.phone", "context.traits.phone", "properties.phone"),
        offline="phone",
        conversions="ph",
        normalise_by_country=phone,
        hashing=Hashing.ALWAYS,
        many=True,
        often_a_number=True,
        shortcut=shortcuts.PHONE,
    ),
    MatchKey(
        name="gender",
        description="`f` or `m`, also from the words that Meta's Parameter Builder knows, such as female, woman, Mrs, "
        "girl, male, man, Mr and boy; any other value is dropped",
        paths=_traits("gender"),
        offline="gen",
        conversions="ge",
        normalise=normalise.gender,
        hashing=Hashing.ALWAYS,
        cached=True,
    ),
    MatchKey(
        name="birthday",
        description="`DD, MM, YYYY` with a comma, space, `/`, `-` or `.` as separator; `YYYY-MM-DD` and ISO times; "
        "`YYYYMMDD`. Impossible and future dates and years before 1900 are dropped. A part above 12 is the day. Where "
        "both could be the month, `MM/DD/YYYY` is read if the event's country, else `default_country`, is the US; "
        "else the setting `birthday_order` decides",
        paths=(
            "traits.birthday",
            "context.traits.birthday",
            "traits.dateOfBirth",
            "context.traits.dateOfBirth",
            "traits.dateofbirth",
            "context.dateofbirth",
            "traits.dob",
            "context.traits.dob",
            "traits.DOB",
            "context.traits.DOB",
            "context.traits.dateofbirth",
        ),
        offline=("doby", "dobm", "dobd"),
        conversions="db",
        hashing=Hashing.ALWAYS,
        special=Special.BIRTHDAY,
    ),
    MatchKey(
        name="first_name",
        description="lower case, no punctuation, no white space; else the first word of `name`. A name with white "
        "space inside it is sent in two forms in `conversions`, the second with single spaces (`match_variants`). May "
        "be a list of hashes",
        paths=_traits("firstName", "firstname", "first_name"),
        offline="fn",
        conversions="fn",
        normalise=normalise.name,
        variant=normalise.name_with_spaces,
        hashing=Hashing.ALWAYS,
        cached=True,
        shortcut=shortcuts.WORD,
        special=Special.FIRST_WORD,
    ),
    MatchKey(
        name="first_initial",
        description="the first letter of the normalised `first_name`. Absent if the name came as a hash, and in the "
        "upload of a replayed dead letter, which has only the hash",
        derived_from="first_name",
        offline="fi",
        normalise=_first_letters(1),
        hashing=Hashing.ALWAYS,
        cached=True,
    ),
    MatchKey(
        name="first_name_start",
        description="the first five letters of the normalised `first_name`. Absent in the cases of `first_initial`",
        derived_from="first_name",
        offline="f5first",
        normalise=_first_letters(5),
        hashing=Hashing.ALWAYS,
        cached=True,
    ),
    MatchKey(
        name="last_name",
        description="lower case, no punctuation, no white space; else the last word of `name`. A name with white "
        "space inside it is sent in two forms in `conversions`, the second with single spaces (`match_variants`). May "
        "be a list of hashes",
        paths=_traits("lastName", "lastname", "last_name"),
        offline="ln",
        conversions="ln",
        normalise=normalise.name,
        variant=normalise.name_with_spaces,
        hashing=Hashing.ALWAYS,
        cached=True,
        shortcut=shortcuts.WORD,
        special=Special.LAST_WORD,
    ),
    MatchKey(
        name="last_name_start",
        description="the first five letters of the normalised `last_name`. Absent in the cases of `first_initial`",
        derived_from="last_name",
        offline="f5last",
        normalise=_first_letters(5),
        hashing=Hashing.ALWAYS,
        cached=True,
    ),
    MatchKey(
        name="city",
        description="lower case, letters and digits only",
        paths=_merged(_address("city"), _traits("city")),
        offline="ct",
        conversions="ct",
        normalise=normalise.city,
        hashing=Hashing.ALWAYS,
        cached=True,
    ),
    MatchKey(
        name="state",
        description="the two-letter code in the USA and in Canada, also for a state or province of theirs without a "
        "country; elsewhere as a city",
        paths=_merged(_traits("state"), _address("state")),
        offline="st",
        conversions="st",
        normalise_by_country=normalise.state,
        hashing=Hashing.ALWAYS,
        cached=True,
    ),
    MatchKey(
        name="zip",
        description="lower case without spaces and dashes; in the USA the first five digits, also of `NNNNN-NNNN` "
        "without a country. A zip outside the USA with a dash is sent in two forms in `conversions`, the second cut at "
        "the dash (`match_variants`). May be a list of hashes",
        paths=_merged(
            (*(f"traits.{name}" for name in _ZIP_NAMES), "traits.address.zipcode", "traits.address.zip_code"),
            (*(f"context.traits.{name}" for name in _ZIP_NAMES), *_address(*_ZIP_NAMES)),
        ),
        offline="zip",
        conversions="zp",
        normalise_by_country=normalise.zip_code,
        variant=normalise.zip_before_dash,
        hashing=Hashing.ALWAYS,
        cached=True,
        often_a_number=True,
    ),
    MatchKey(
        name="country",
        description="two letters (ISO 3166-1), from two or three letters or a name, in English or in a language of the "
        "country",
        paths=_merged(_traits("country"), _address("country")),
        offline="country",
        conversions="country",
        normalise=normalise.country,
        hashing=Hashing.ALWAYS,
        special=Special.COUNTRY,
    ),
    MatchKey(
        name="external_id",
        description='trimmed; in lower case with `external_id_case = "lower"`',
        paths=("userId", "traits.userId", "traits.id", "context.traits.userId", "context.traits.id", "anonymousId"),
        offline="extern_id",
        conversions="external_id",
        normalise=normalise.trimmed,
        hashing=Hashing.AS_SET,
        list_in_conversions=True,
        often_a_number=True,
        case_as_set=True,
        accepts_md5=True,
        shortcut=shortcuts.TRIMMED,
    ),
    MatchKey(
        name="madid",
        description="lower case with hyphens; an ID of zeros is dropped",
        paths=("context.device.advertisingId",),
        offline="madid",
        conversions="madid",
        normalise=normalise.madid,
        hashing=Hashing.OFFLINE,
    ),
    MatchKey(
        name="lead_id",
        description="the `id` of the entry with type `LeadId` in "
        f"{' or '.join(f'`{path}`' for path in EXTERNAL_IDS)}: digits, without the prefix `l:` of an export",
        offline="lead_id",
        conversions="lead_id",
        normalise=normalise.lead_id,
        hashing=Hashing.NEVER,
        special=Special.LEAD_ID,
    ),
    MatchKey(
        name="client_user_agent",
        description="trimmed",
        paths=("context.userAgent",),
        offline="client_user_agent",
        conversions="client_user_agent",
        normalise=normalise.trimmed,
        hashing=Hashing.NEVER,
        max_length=MAX_LONG_TEXT,
    ),
    MatchKey(
        name="fbc",
        description="trimmed; else made from `fbclid` in the query of the page's URL: "
        "`fb.1.<event time in milliseconds>.<fbclid>`",
        paths=("context.fbc", "properties.fbc"),
        offline="fbc",
        conversions="fbc",
        normalise=normalise.trimmed,
        hashing=Hashing.NEVER,
        max_length=MAX_LONG_TEXT,
        special=Special.CLICK_ID,
    ),
    MatchKey(
        name="fbp",
        description="trimmed",
        paths=("context.fbp", "properties.fbp"),
        offline="fbp",
        conversions="fbp",
        normalise=normalise.trimmed,
        hashing=Hashing.NEVER,
        max_length=MAX_LONG_TEXT,
    ),
    MatchKey(
        name="client_ip_address",
        description="a valid IPv4 or IPv6 address",
        paths=("context.ip",),
        conversions="client_ip_address",
        normalise=normalise.ip_address,
        hashing=Hashing.NEVER,
    ),
)
"""Match keys, in the order in which an upload has them."""

NAME = Field(
    name="name",
    description="split at white space: the first word is the first name, the last word the last name; a single word is "
    "the first name",
    paths=_traits("name"),
)
"""Not sent itself. It fills `first_name` and `last_name` where they are absent."""

EVENT: tuple[Field, ...] = (
    Field(
        name="event_time",
        description="ISO 8601 (UTC when it has no offset), unix seconds or milliseconds; without one, the time of "
        "arrival",
        paths=("originalTimestamp", "timestamp"),
        offline="event_time",
        conversions="event_time",
        special=Special.EVENT_TIME,
    ),
    Field(
        name="action_source",
        description="one of Meta's values; else the setting `action_source`",
        paths=("traits.action_source", "context.traits.action_source", "properties.action_source"),
        offline="action_source",
        conversions="action_source",
        special=Special.ACTION_SOURCE,
    ),
    Field(
        name="event_source_url",
        description="absolute http or https address, without what looks personal in it, see below",
        paths=("context.page.url", "properties.url"),
        offline="event_source_url",
        conversions="event_source_url",
        special=Special.PAGE_URL,
    ),
    Field(
        name="event_id",
        description="trimmed. The paths of `extra_fields` are read first: the event that a Pixel also sent has one ID",
        paths=("properties.event_id", "properties.eventId", "messageId"),
        conversions="event_id",
        max_length=MAX_TEXT,
        additional_paths_first=True,
    ),
    Field(
        name="opt_out",
        description="`true`, unless the value is `false`, `0` or `no`: one that cannot be read is an opt-out",
        paths=("properties.opt_out",),
        conversions="opt_out",
        convert=event_values.opt_out,
    ),
    Field(
        name="referrer_url",
        description="as `event_source_url`",
        paths=("properties.referrer_url",),
        conversions="referrer_url",
        convert=event_values.referrer_url,
    ),
    Field(
        name="customer_segmentation",
        description="one of Meta's values, such as `new_customer_to_business`",
        paths=("properties.customer_segmentation",),
        conversions="customer_segmentation",
        convert=event_values.customer_segmentation,
    ),
    Field(
        name="original_event_data",
        description="an object of `event_name`, `event_time`, `order_id` and `event_id`; other keys are left out",
        paths=("properties.original_event_data",),
        conversions="original_event_data",
        convert=event_values.original_event_data,
    ),
    Field(
        name="attribution_data",
        description="an object; keys that Meta does not know are left out",
        paths=("properties.attribution_data",),
        conversions="attribution_data",
        convert=event_values.attribution_data,
    ),
    Field(
        name="app_data",
        description="an object; keys that Meta does not know are left out. Required with `action_source` `app`",
        paths=("properties.app_data",),
        conversions="app_data",
        convert=event_values.app_data,
    ),
    Field(
        name="advertiser_tracking_enabled",
        description="true, false, 1 or 0",
        paths=("properties.advertiser_tracking_enabled",),
        conversions="advertiser_tracking_enabled",
        convert=event_values.advertiser_tracking_enabled,
    ),
    Field(
        name="upload_tag",
        description="trimmed",
        paths=("properties.upload_tag",),
        offline="upload_tag",
        conversions="upload_tag",
        special=Special.UPLOAD_TAG,
    ),
)
"""Fields of the event itself."""

CUSTOM: tuple[Field, ...] = (
    Field(
        name="value",
        description="a number, or a text that contains one; else `default_value`",
        paths=("properties.total", "properties.price", "properties.value", "properties.revenue"),
        offline="value",
        conversions="value",
        special=Special.VALUE,
    ),
    Field(
        name="currency",
        description="three letters, upper case; else `default_currency`",
        paths=("properties.currency",),
        offline="currency",
        conversions="currency",
        special=Special.CURRENCY,
    ),
    Field(
        name="order_id",
        description="trimmed",
        paths=("properties.order_id", "properties.orderId"),
        offline="order_id",
        conversions="order_id",
        max_length=MAX_TEXT,
    ),
    Field(
        name="item_number",
        description="trimmed",
        paths=("properties.item_number",),
        offline="item_number",
        conversions="item_number",
        max_length=MAX_TEXT,
    ),
    Field(
        name="search_string",
        description="trimmed; a text that looks personal counts as absent",
        paths=("properties.query", "properties.search_string"),
        conversions="search_string",
        screened=True,
    ),
    Field(
        name="contents",
        description="the products, see below",
        paths=("properties.products",),
        offline="contents",
        conversions="contents",
        special=Special.CONTENTS,
    ),
)
"""Fields of the sale: on the event in `offline`, in `custom_data` in `conversions`."""

FIELDS: tuple[Field, ...] = (*IDENTITY, NAME, *EVENT, *CUSTOM)
CONVERTED = tuple(field for field in EVENT if field.convert)
"""Fields on the event in `conversions` whose values are not just texts."""
COUNTRY = next(field for field in IDENTITY if field.special is Special.COUNTRY)


def is_derived(field: Field) -> bool:
    """Whether a field is calculated from another one and has no source paths of its own."""
    return isinstance(field, MatchKey) and field.derived_from is not None


BY_NAME = {field.name: field for field in FIELDS if not is_derived(field)}
"""Fields that are read from paths. `extra_fields` may add paths to each of them."""


def check_registry(sent: Sequence[Field], unsent: Sequence[Field], extensible: Collection[str]) -> None:
    """Raise `ValueError` with a line for each mistake in the entries.

    `extensible` are the names that the settings accept in `extra_fields`.
    """
    mistakes = [f"field {field.name!r} {problem}" for field in (*sent, *unsent) for problem in _problems(field)]
    mistakes += [f"field {field.name!r} has no key in any dialect" for field in sent if not _keys(field)]
    mistakes += _duplicates("name", [field.name for field in (*sent, *unsent)])
    mistakes += _duplicates("special case", [field.special.name for field in sent if field.special])
    for dialect in Dialect:
        keys = [key for field in sent if isinstance(field, MatchKey) for key in field.keys(dialect)]
        mistakes += _duplicates(f"match key in {dialect}", keys)
    mistakes += [f"field {field.name!r} {problem}" for field in sent for problem in _source_problems(field, sent)]
    names = [field.name for field in (*sent, *unsent) if not is_derived(field)]
    place = "MAPPED_FIELDS of gateway/config/settings.py"
    mistakes += [
        f"field {name!r} has source paths and is not listed in {place}" for name in names if name not in extensible
    ]
    mistakes += [f"field {name!r} is listed in {place} and has no entry" for name in extensible if name not in names]
    if mistakes:
        raise ValueError("\n".join(mistakes))


def _problems(field: Field) -> Iterator[str]:
    """What is missing or inconsistent in an entry by itself."""
    if not field.description:
        yield "has no description"
    if field.convert and (field.special or field.keys(Dialect.OFFLINE) or len(field.keys(Dialect.CONVERSIONS)) != 1):
        yield "has a conversion, and must have one key, in `conversions` only, and no special case"
    if not field.paths and not is_derived(field) and field.special is not Special.LEAD_ID:
        yield "has no source paths"
    if not isinstance(field, MatchKey):
        return
    normalisers = (field.normalise is not None) + (field.normalise_by_country is not None)
    if not normalisers and field.special is not Special.BIRTHDAY:
        yield "has no normaliser"
    if normalisers > 1:
        yield "has two normalisers"
    if field.hashing is None:
        yield "does not say whether it is hashed"
    if field.shortcut and field.hashing is Hashing.NEVER:
        yield "has a shortcut, which only hashed fields can have"
    if field.paths and is_derived(field):
        yield "is derived and has source paths of its own"


def _source_problems(field: Field, sent: Sequence[Field]) -> Iterator[str]:
    """What is inconsistent between a derived field and the field that it is derived from."""
    if not isinstance(field, MatchKey) or field.derived_from is None:
        return
    earlier = {other.name: other for other in sent[: sent.index(field)]}
    source = earlier.get(field.derived_from)
    if source is None:
        yield f"is derived from {field.derived_from!r}, which is no earlier field"
        return
    if source.special not in {Special.FIRST_WORD, Special.LAST_WORD}:
        yield f"is derived from {source.name!r}; only the first and last name can be a source"
    if field.hashing is not Hashing.ALWAYS or field.many or field.normalise is None:
        yield "is derived and must be one hashed value that does not depend on the country"
    for dialect in Dialect:
        if field.keys(dialect) and not source.keys(dialect):
            yield f"is sent in {dialect}, and its source {source.name!r} is not"


def _keys(field: Field) -> list[str]:
    return [key for dialect in Dialect for key in field.keys(dialect)]


def _duplicates(what: str, values: Sequence[str]) -> list[str]:
    return [f"{what} {value!r} is used by {count} fields" for value, count in Counter(values).items() if count > 1]


check_registry((*IDENTITY, *EVENT, *CUSTOM), (NAME,), MAPPED_FIELDS)
