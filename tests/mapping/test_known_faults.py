"""Faults of widely used implementations of this mapping: one test for each shows that this mapper does not have it."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

import orjson
import pytest

from gateway.config import DestinationSettings
from gateway.meta.request import RequestBuilder
from gateway.model import MappedEvent, join_events
from tests.mapping.builders import NOW, bodies, body, code, destination, identity, mapper, sale

APIS = ("conversions", "offline")
SAMPLE = {
    "userId": "user@1",
    "event": "Product Added",
    "properties": {
        "products": [{"id": 1, "category": "Games", "brand": "Hasbro", "price": 18.99, "quantity": 1}],
        "order_id": "cart1234",
        "price": 18.99,
        "currency": "USD",
    },
    "traits": {
        "email": "alex@example.com",
        "phone": "+1-202-555-0146",
        "gender": "male",
        "firstName": "Alex",
        "lastName": "Keener",
        "address": {"city": "New Orleans", "state": "Louisiana", "postalCode": "90009", "country": "USA"},
    },
    "context": {"dataProcessingOptions": [["LDU"], 1, 1000]},
}
"""The sample call of RudderStack's documentation."""


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Identity.


def test_values_are_hashed_in_lower_case() -> None:
    sent = identity(mapper(), sale(traits={"email": "Alex@Example.COM", "firstName": "ALEX"}))

    assert (sent["em"], sent["fn"]) == ([sha256("alex@example.com")], sha256("alex"))


def test_phone_gender_city_and_country_are_normalised_before_they_are_hashed() -> None:
    traits = {"phone": "+1 (202) 555-0146", "gender": "Male", "city": "New Orleans", "country": "USA"}

    sent = identity(mapper(), sale(traits=traits))

    assert (sent["ph"], sent["ge"]) == ([sha256("12025550146")], sha256("m"))
    assert (sent["ct"], sent["country"]) == (sha256("neworleans"), sha256("us"))


@pytest.mark.parametrize("key", ["doby", "dobm", "dobd"])
def test_different_birthdays_have_different_hashes(key: str) -> None:
    first = identity(mapper("offline"), sale(traits={"birthday": "16, 02, 1997"}))
    second = identity(mapper("offline"), sale(traits={"birthday": "31, 12, 1965"}))

    assert first[key] != second[key]
    assert first[key] == sha256({"doby": "1997", "dobm": "02", "dobd": "16"}[key])
    assert sha256("[object Undefined]") not in {first[key], second[key]}


@pytest.mark.parametrize("api", APIS)
def test_a_hash_is_not_hashed_again(api: str) -> None:
    given = sha256("alex@example.com")

    sent = identity(
        mapper(api), sale(userId=given, traits={"email": given.upper(), "phone": given, "firstName": given})
    )

    assert sent.get("em", sent.get("email")) == [given]
    assert sent.get("ph", sent.get("phone")) == [given]
    assert sent["fn"] == given
    assert sent.get("external_id", sent.get("extern_id")) in (given, [given])


def test_hashing_is_on_when_the_setting_is_absent() -> None:
    tree = {"api": "conversions", "access_token": "t", "standard_to_event_sets": {"Purchase": ["1"]}}

    assert DestinationSettings.model_validate(tree).hashing
    assert identity(mapper(), sale(traits={"email": "alex@example.com"}))["em"] == [sha256("alex@example.com")]


@pytest.mark.parametrize("api", APIS)
def test_the_sample_of_the_documentation_keeps_city_state_zip_and_country(api: str) -> None:
    sent = identity(mapper(api), SAMPLE)

    zip_key = "zp" if api == "conversions" else "zip"
    assert {key: sent[key] for key in ("ct", "st", zip_key, "country")} == {
        "ct": sha256("neworleans"),
        "st": sha256("la"),
        zip_key: sha256("90009"),
        "country": sha256("us"),
    }


def test_a_name_of_three_words_gives_first_and_last_name() -> None:
    sent = identity(mapper(), sale(traits={"name": "Ana Maria Souza"}))

    assert (sent["fn"], sent["ln"]) == (sha256("ana"), sha256("souza"))


def test_a_name_does_not_override_explicit_first_and_last_names() -> None:
    sent = identity(
        mapper(), sale(traits={"name": "Wrong Person", "firstName": "Alex"}, context={"traits": {"lastName": "Keener"}})
    )

    assert (sent["fn"], sent["ln"]) == (sha256("alex"), sha256("keener"))


# Shape.


@pytest.mark.parametrize("api", APIS)
def test_each_of_several_standard_events_has_its_own_name_and_content_type(api: str) -> None:
    rows = {"Store Visit": ["ViewContent", "Lead", "Purchase"]}

    uploads = bodies(mapper(api, events_to_standard=rows), sale(event="Store Visit"))

    types = [upload.get("content_type") or upload["custom_data"]["content_type"] for upload in uploads]
    assert [upload["event_name"] for upload in uploads] == ["ViewContent", "Lead", "Purchase"]
    assert types == ["product_group", "product", "product"]


@pytest.mark.parametrize("api", APIS)
def test_custom_data_has_no_identity_and_no_personal_property(api: str) -> None:
    personal = {
        "email": "Q@uartz.example",
        "phone": "+12025550146",
        "First Name": "Quartz",
        "last_name": "Quartz",
        "name": "Quartz",
        "Birth-Day": "Quartz",
        "gender": "Quartz",
        "address": {"street": "Quartz"},
        "zip_code": "Quartz",
        "City": "Quartz",
        "state": "Quartz",
        "shipping": {"Email": "Quartz", "days": 2},
    }

    upload = body(mapper(api), sale(properties=personal | {"color": "red"}))

    text = orjson.dumps(upload).decode()
    assert "uartz" not in text
    assert "+12025550146" not in text
    assert {"color", "shipping"} == set(upload["custom_data"]) - {"value", "currency", "content_type"}
    assert not set(upload["custom_data"]) & {"em", "ph", "fn", "match_keys", "user_data"}


@pytest.mark.parametrize("api", APIS)
def test_a_property_with_dots_in_its_name_overwrites_nothing(api: str) -> None:
    properties = {
        "order_id": "right",
        "user_data.em": "wrong",
        "match_keys.email": "wrong",
        "properties.order_id": "wrong",
        "traits.email": "wrong@example.com",
        "contents.0.id": "wrong",
        "products.0.id": "wrong",
    }
    event = sale(traits={"email": "alex@example.com"}, properties=properties | {"products": [{"id": "right"}]})
    before = copy.deepcopy(event)

    upload = body(mapper(api), event)

    sold = upload if api == "offline" else upload["custom_data"]
    sent = upload.get("user_data") or upload["match_keys"]
    assert event == before
    assert sent.get("em", sent.get("email")) == [sha256("alex@example.com")]
    assert (sold["order_id"], sold["contents"][0]["id"]) == ("right", "right")
    assert upload["custom_data"]["products.0.id"] == "wrong"


def test_the_value_is_a_number_when_no_value_field_is_set() -> None:
    assert body(mapper(), sale(properties={"color": "red"}))["custom_data"]["value"] == 0
    assert body(mapper(), sale(properties={"revenue": 5}))["custom_data"]["value"] == 5
    assert body(mapper(value_field="properties"), sale(properties={"revenue": 5}))["custom_data"]["value"] == 5


def test_a_value_field_with_a_dot_is_read_from_that_path_only() -> None:
    properties = {"price": 1.5, "value": 2, "properties": {"price": 99}}

    assert body(mapper(value_field="properties.price"), sale(properties=properties))["custom_data"]["value"] == 1.5


@pytest.mark.parametrize("given", [NOW * 1000, NOW * 1000 + 999, str(NOW * 1000)])
def test_milliseconds_are_not_sent_as_seconds(given: Any) -> None:
    assert body(mapper(), sale(timestamp=given))["event_time"] == NOW


def test_milliseconds_as_text_are_never_read_as_a_date() -> None:
    """`1801010112345` is a time in January 2027, and not 1 January 1801."""
    seconds = 1_801_010_112

    assert body(mapper(), sale(timestamp=f"{seconds}345"), seconds + 60)["event_time"] == seconds


@pytest.mark.parametrize(
    ("api", "action_source", "days"),
    [("conversions", "physical_store", 62), ("conversions", "website", 7), ("offline", "website", 62)],
)
def test_an_event_that_is_too_old_is_not_sent(api: str, action_source: str, days: int) -> None:
    def aged(seconds: int) -> Any:
        context = {"userAgent": "x", "page": {"url": "https://shop.example/"}}
        return sale(timestamp=NOW - seconds, properties={"action_source": action_source}, context=context)

    assert code(mapper(api), aged(days * 86_400 + 1)) == "event_time_too_old"
    assert body(mapper(api), aged(days * 86_400))["event_time"] == NOW - days * 86_400


# Transport.


@pytest.mark.parametrize("api", APIS)
def test_events_of_a_lane_share_a_call(api: str) -> None:
    store = mapper(api)
    mapped = [
        each for number in range(3) for each in uploads(store, sale(messageId=f"m-{number}", userId=f"u-{number}"))
    ]
    assert len({each.lane for each in mapped}) == 1

    call = RequestBuilder(destination(api)).build(mapped[0].lane, join_events(each.body for each in mapped), "token")

    assert [orjson.loads(each.body) for each in mapped] == orjson.loads(call.body)["data"]


@pytest.mark.parametrize("api", APIS)
def test_the_url_has_neither_token_nor_personal_data(api: str) -> None:
    [mapped] = uploads(mapper(api), SAMPLE)

    call = RequestBuilder(destination(api)).build(mapped.lane, mapped.body, "a-token-of-ours")

    assert call.url == "https://graph.facebook.com/v25.0/1001/events"
    assert b"a-token-of-ours" in call.body
    assert b"a-token-of-ours" not in mapped.body


@pytest.mark.parametrize("tag", ["a&access_token=evil", "x?y=1#z", 'q","data":[]', "../1002/events", "line\nbreak"])
def test_an_upload_tag_cannot_change_the_request(tag: str) -> None:
    [mapped] = uploads(mapper(), sale(properties={"upload_tag": tag}))

    call = RequestBuilder(destination()).build(mapped.lane, mapped.body, "token")

    envelope = orjson.loads(call.body)
    assert call.url == "https://graph.facebook.com/v25.0/1001/events"
    assert (envelope["upload_tag"], envelope["access_token"], len(envelope["data"])) == (tag, "token", 1)


def uploads(mapper: Any, event: Any) -> list[MappedEvent]:
    mapped = mapper.map(event, NOW)
    assert isinstance(mapped, list)
    return mapped


# Crashes.


@pytest.mark.parametrize("given", [5, 1.5, True, {"a": 1}, [["x"]], [None], {"toLowerCase": 1}])
@pytest.mark.parametrize("place", ["traits.email", "traits.phone", "type", "context.traits.email", "properties.phone"])
@pytest.mark.parametrize("api", APIS)
def test_an_email_phone_or_type_of_the_wrong_type_drops_only_that_key(api: str, place: str, given: Any) -> None:
    event = sale()
    *holders, key = place.split(".")
    holder = event
    for name in holders:
        holder = holder.setdefault(name, {})
    holder[key] = given

    sent = identity(mapper(api), event)

    assert list(sent) == ["external_id" if api == "conversions" else "extern_id"]


@pytest.mark.parametrize("given", [{}, None, [], "text", 5])
def test_an_event_without_properties_is_mapped(given: Any) -> None:
    for api in APIS:
        assert body(mapper(api), sale() | {"properties": given})["event_name"] == "Purchase"
        assert body(mapper(api), sale())["event_name"] == "Purchase"


@pytest.mark.parametrize(
    "url", ["/cart", "cart?fbclid=", "http://[bad", "https://x:99999/", "?", "//", "http://%zz/?fbclid", 5]
)
def test_an_event_with_a_relative_or_malformed_page_url_is_mapped(url: Any) -> None:
    for api in APIS:
        upload = body(mapper(api), sale(context={"page": {"url": url}}))
        assert upload["event_name"] == "Purchase"


@pytest.mark.parametrize("products", [[None, {"id": 1}], [{"id": 1}, None], [None, 5, "x", [], {}, {"id": 1}]])
def test_null_among_the_products_is_left_out(products: Any) -> None:
    assert body(mapper(), sale(properties={"products": products}))["custom_data"]["contents"] == [
        {"id": "1", "quantity": 1}
    ]
    assert body(mapper("offline"), sale(properties={"products": products}))["contents"] == [{"id": "1", "quantity": 1}]


@pytest.mark.parametrize(
    "name", ["__class__", "__proto__", "constructor", "toString", "hasOwnProperty", "__init__", "map", "get"]
)
def test_names_of_built_in_attributes_have_no_effect(name: str) -> None:
    mapped = mapper(events_to_standard={name: ["Lead"]}, category_to_content_type={name: "vehicle"})

    upload = body(mapped, sale(event=name, properties={"category": name, name: 5}))
    unlisted = body(mapper(category_to_content_type={"x": "y"}), sale(event=name, properties={"category": name}))

    assert (upload["event_name"], upload["custom_data"]["content_type"], upload["custom_data"][name]) == (
        "Lead",
        "vehicle",
        5,
    )
    assert (unlisted["event_name"], unlisted["custom_data"]["content_type"]) == ("Other", "product")
