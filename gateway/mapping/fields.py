"""The one table of fields: where each value comes from, what becomes of it, and where it goes in each dialect.

Read it beside RudderStack's page on Facebook Offline Conversions: the paths stand in that page's order, and what this
project adds follows them. The compiled mapper, `seal`, `explain` and `docs/mapping.md` are all made of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gateway.model import Dialect

ADDRESSES = ("traits.address", "context.traits.address")
ZIPS = ("zip", "zipcode", "zip_code", "zipCode", "postalcode", "postal_code", "postalCode")


class Hashing(StrEnum):
    """Whether a field's normalised value is hashed before it is sent."""

    ALWAYS = "yes"
    NEVER = "no"
    AS_SET = "as `hash_external_id` says"
    OFFLINE = "in `offline` only"


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table."""

    name: str
    """Its name here: in `extra_fields`, in the counters, in `explain`."""
    paths: tuple[str, ...]
    """Where it is looked for in the source event; the first value that is present wins."""
    normaliser: str
    """The rule that makes of it what is hashed or sent."""
    offline: str | None
    """Its key in `match_keys` (identity) or in the event; None: not sent."""
    conversions: str | None
    """Its key in `user_data` (identity), in `custom_data`, or in the event; None: not sent."""
    hashing: Hashing = Hashing.NEVER
    many: bool = False
    """Whether a list of values is taken, and sent."""

    def key(self, dialect: Dialect) -> str | None:
        """Its key in a dialect."""
        return self.conversions if dialect is Dialect.CONVERSIONS else self.offline


def _both(*leaves: str) -> tuple[str, ...]:
    """Each leaf in the traits, then each in the context's traits."""
    return tuple(f"{place}.{leaf}" for place in ("traits", "context.traits") for leaf in leaves)


def _address(*leaves: str) -> tuple[str, ...]:
    return tuple(f"{place}.{leaf}" for place in ADDRESSES for leaf in leaves)


def _seed_then(seed: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(seed + more))


COUNTRY = Field(
    "country",
    _seed_then(("traits.country", "context.traits.country"), _address("country")),
    "country",
    offline="country",
    conversions="country",
    hashing=Hashing.ALWAYS,
)

IDENTITY: tuple[Field, ...] = (
    Field(
        "email",
        ("traits.email", "context.traits.email", "properties.email"),
        "email",
        offline="email",
        conversions="em",
        hashing=Hashing.ALWAYS,
        many=True,
    ),
    Field(
        "phone",
        ("traits.phone", "context.traits.phone", "properties.phone"),
        "phone",
        offline="phone",
        conversions="ph",
        hashing=Hashing.ALWAYS,
        many=True,
    ),
    Field("gender", _both("gender"), "gender", offline="gen", conversions="ge", hashing=Hashing.ALWAYS),
    Field(
        "birthday",
        (
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
        "birthday",
        offline="doby, dobm, dobd",
        conversions="db",
        hashing=Hashing.ALWAYS,
    ),
    Field(
        "first_name",
        _both("firstName", "firstname", "first_name"),
        "name",
        offline="fn",
        conversions="fn",
        hashing=Hashing.ALWAYS,
    ),
    Field(
        "last_name",
        _both("lastName", "lastname", "last_name"),
        "name",
        offline="ln",
        conversions="ln",
        hashing=Hashing.ALWAYS,
    ),
    Field(
        "city",
        _seed_then(_address("city"), _both("city")),
        "city",
        offline="ct",
        conversions="ct",
        hashing=Hashing.ALWAYS,
    ),
    Field(
        "state",
        _seed_then(_both("state"), _address("state")),
        "state",
        offline="st",
        conversions="st",
        hashing=Hashing.ALWAYS,
    ),
    Field(
        "zip",
        _seed_then(
            (*(f"traits.{leaf}" for leaf in ZIPS), "traits.address.zipcode", "traits.address.zip_code"),
            (*(f"context.traits.{leaf}" for leaf in ZIPS), *_address(*ZIPS)),
        ),
        "zip",
        offline="zip",
        conversions="zp",
        hashing=Hashing.ALWAYS,
    ),
    COUNTRY,
    Field(
        "external_id",
        ("userId", "traits.userId", "traits.id", "context.traits.userId", "context.traits.id", "anonymousId"),
        "external_id",
        offline="extern_id",
        conversions="external_id",
        hashing=Hashing.AS_SET,
    ),
    Field(
        "madid",
        ("context.device.advertisingId",),
        "madid",
        offline="madid",
        conversions="madid",
        hashing=Hashing.OFFLINE,
    ),
    Field("lead_id", (), "lead_id", offline="lead_id", conversions="lead_id"),
    Field(
        "client_user_agent",
        ("context.userAgent",),
        "as it is",
        offline="client_user_agent",
        conversions="client_user_agent",
    ),
    Field("fbc", ("context.fbc",), "as it is", offline="fbc", conversions="fbc"),
    Field("fbp", ("context.fbp",), "as it is", offline="fbp", conversions="fbp"),
    Field("client_ip_address", ("context.ip",), "ip", offline=None, conversions="client_ip_address"),
)
"""Match keys, in the order in which they stand in an upload. `lead_id` is found in `externalId`, by its type."""

NAME = Field("name", _both("name"), "split into first and last name", offline=None, conversions=None)
"""Fills `first_name` and `last_name` where they are absent."""

EVENT: tuple[Field, ...] = (
    Field("event_time", ("originalTimestamp", "timestamp"), "time", offline="event_time", conversions="event_time"),
    Field(
        "action_source",
        ("traits.action_source", "context.traits.action_source", "properties.action_source"),
        "action_source",
        offline="action_source",
        conversions="action_source",
    ),
    Field(
        "event_source_url",
        ("context.page.url", "properties.url"),
        "url",
        offline="event_source_url",
        conversions="event_source_url",
    ),
    Field("event_id", ("messageId",), "as it is", offline=None, conversions="event_id"),
    Field("upload_tag", ("properties.upload_tag",), "as it is", offline="upload_tag", conversions="upload_tag"),
)
"""What stands on the event itself. `upload_tag` stands on the call: it is part of the lane."""

CUSTOM: tuple[Field, ...] = (
    Field(
        "value",
        ("properties.total", "properties.price", "properties.value", "properties.revenue"),
        "number",
        offline="value",
        conversions="value",
    ),
    Field("currency", ("properties.currency",), "currency", offline="currency", conversions="currency"),
    Field(
        "order_id",
        ("properties.order_id", "properties.orderId"),
        "as it is",
        offline="order_id",
        conversions="order_id",
    ),
    Field("item_number", ("properties.item_number",), "as it is", offline="item_number", conversions="item_number"),
    Field("contents", ("properties.products",), "contents", offline="contents", conversions="contents"),
)
"""What stands on the event in `offline` and in `custom_data` in `conversions`; `content_type` follows `contents`."""

FIELDS = (*IDENTITY, *EVENT, *CUSTOM)
BY_NAME = {field.name: field for field in (*FIELDS, NAME)}

CONTENT_KEYS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("id", ("product_id", "id", "sku")),
    ("quantity", ("quantity",)),
    ("brand", ("brand",)),
    ("category", ("category",)),
    ("price", ("price",)),
)
"""What goes on of a product, and its sources. `price` is `item_price` in `conversions`."""

PERSONAL_NAMES = frozenset(
    {
        "address",
        "birthdate",
        "birthday",
        "city",
        "customeremail",
        "customername",
        "customerphone",
        "dateofbirth",
        "dob",
        "email",
        "emailaddress",
        "familyname",
        "firstname",
        "fullname",
        "gender",
        "givenname",
        "lastname",
        "mobile",
        "mobilephone",
        "name",
        "phone",
        "phonenumber",
        "postalcode",
        "postcode",
        "sex",
        "state",
        "street",
        "surname",
        "telephone",
        "zip",
        "zipcode",
    }
)
"""Property names that are never passed on in `custom_data`, in lower case without `_`, `-`, `.` and spaces."""
