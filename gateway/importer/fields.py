"""The fields that a column can have, and where a `track` call has their values.

The names are those of the mapping (docs/mapping.md), so that `columns` here and `extra_fields` there read alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class Place(StrEnum):
    """The object of a `track` call that has a value."""

    ROOT = "root"
    TRAITS = "context.traits"
    ADDRESS = "context.traits.address"
    CONTEXT = "context"
    PAGE = "context.page"
    DEVICE = "context.device"
    PROPERTIES = "properties"
    SPECIAL = "special"
    """The field has code of its own in `convert`."""


class TargetField(NamedTuple):
    """Where the value of a field goes."""

    place: Place
    key: str
    is_match_key: bool = False
    """Whether it says who the customer is."""


FIELDS: Mapping[str, TargetField] = {
    "event": TargetField(Place.SPECIAL, "event"),
    "event_time": TargetField(Place.SPECIAL, "originalTimestamp"),
    "time_of_day": TargetField(Place.SPECIAL, "originalTimestamp"),
    "time_zone": TargetField(Place.SPECIAL, "originalTimestamp"),
    "email": TargetField(Place.SPECIAL, "email", is_match_key=True),
    "phone": TargetField(Place.SPECIAL, "phone", is_match_key=True),
    "lead_id": TargetField(Place.SPECIAL, "externalId", is_match_key=True),
    "birthday": TargetField(Place.SPECIAL, "birthday", is_match_key=True),
    "birth_year": TargetField(Place.SPECIAL, "birthday"),
    "birth_month": TargetField(Place.SPECIAL, "birthday"),
    "birth_day": TargetField(Place.SPECIAL, "birthday"),
    "value": TargetField(Place.SPECIAL, "total"),
    "first_name": TargetField(Place.TRAITS, "firstName", is_match_key=True),
    "last_name": TargetField(Place.TRAITS, "lastName", is_match_key=True),
    "name": TargetField(Place.TRAITS, "name", is_match_key=True),
    "gender": TargetField(Place.TRAITS, "gender"),
    "city": TargetField(Place.ADDRESS, "city"),
    "state": TargetField(Place.ADDRESS, "state"),
    "zip": TargetField(Place.ADDRESS, "zip"),
    "country": TargetField(Place.ADDRESS, "country"),
    "external_id": TargetField(Place.ROOT, "userId", is_match_key=True),
    "madid": TargetField(Place.DEVICE, "advertisingId", is_match_key=True),
    "client_ip_address": TargetField(Place.CONTEXT, "ip"),
    "client_user_agent": TargetField(Place.CONTEXT, "userAgent"),
    "fbc": TargetField(Place.CONTEXT, "fbc", is_match_key=True),
    "fbp": TargetField(Place.CONTEXT, "fbp", is_match_key=True),
    "event_source_url": TargetField(Place.PAGE, "url"),
    "currency": TargetField(Place.PROPERTIES, "currency"),
    "order_id": TargetField(Place.PROPERTIES, "order_id"),
    "item_number": TargetField(Place.PROPERTIES, "item_number"),
    "action_source": TargetField(Place.PROPERTIES, "action_source"),
    "event_id": TargetField(Place.PROPERTIES, "event_id"),
    "upload_tag": TargetField(Place.PROPERTIES, "upload_tag"),
    "opt_out": TargetField(Place.PROPERTIES, "opt_out"),
}
LIST_FIELDS = ("email", "phone")
"""Fields that send the values of all their columns."""
