"""The plan for the extension: what both sides have to agree on."""

from __future__ import annotations

import pytest

from gateway.mapping.compiler.encode import MAX_TAG
from gateway.mapping.contents import CONTENT_KEYS
from gateway.mapping.coverage import CAUSES, NOTES
from gateway.mapping.fields import IDENTITY
from gateway.mapping.json_path import MAX_LONG_TEXT
from gateway.mapping.native import load
from gateway.mapping.native import mapper as native_mapper
from gateway.mapping.native.plan import KINDS, TYPES
from gateway.mapping.normalise import MAX_TEXT
from gateway.model import Dialect
from tests.mapping.builders import mapper

native = load()
pytestmark = pytest.mark.skipif(native is None, reason="the native extension is not built, or switched off")


def test_the_extension_has_the_limits_of_the_python_path() -> None:
    assert native is not None
    assert (native.MAX_TEXT, native.MAX_LONG_TEXT, native.MAX_TAG) == (MAX_TEXT, MAX_LONG_TEXT, MAX_TAG)


def test_the_extension_has_every_name_that_the_plan_uses() -> None:
    assert native is not None
    assert set(KINDS.values()) < set(native.KINDS)
    assert all(hasattr(native, name) for name in TYPES.values())
    assert {source for _, sources in CONTENT_KEYS for source in sources} == set(native.PRODUCT_PARTS)
    assert set(native_mapper.NOTES) < set(NOTES)


def test_the_counters_of_the_extension_hold_every_match_key_and_cause() -> None:
    assert native is not None
    assert len(CAUSES) <= native.MAX_CAUSES
    assert all(len([field for field in IDENTITY if field.keys(dialect)]) <= native.MAX_FIELDS for dialect in Dialect)


@pytest.mark.parametrize(
    "settings",
    [
        {"hashing": False},
        {"hash_external_id": False, "external_id_case": "lower"},
        {"consent": {"categories": ["C1"]}},
        {"limited_data_usage": True, "match_variants": False, "birthday_order": "month_first"},
        {"crm": True, "lead_event_source": "HubSpot"},
        {"category_to_content_type": {"Games": "product"}, "allow_properties": ["store_address"]},
        {"extra_fields": {"order_id": ["properties.order.id"], "email": ["properties.customer_mail"]}},
        {"value_field": "properties.order.total", "purchase_without_value": "reject"},
    ],
)
def test_the_usual_settings_allow_native_mapping(settings: dict[str, object]) -> None:
    assert mapper(**settings).path == "native"  # type: ignore[arg-type]
