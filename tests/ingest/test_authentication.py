"""Authenticator: the source of a write key in the header, in the body, and in the beginning of a body."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingest import Source
from gateway.ingest.authentication import MAX_CACHED_HEADER, MAX_CACHED_HEADERS, Authenticator
from gateway.ingest.decode import BadRequest

SHOP, OTHER = Source("shop", []), Source("other", [])


def authenticator() -> Authenticator:
    return Authenticator({"shop-key": SHOP, "other:key": OTHER, "schlüssel": OTHER})


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


def code_of(error: pytest.ExceptionInfo[BadRequest]) -> tuple[int, str]:
    return error.value.status, error.value.code


@pytest.mark.parametrize("header", ["Basic", "basic", "BASIC"])
def test_the_user_name_of_basic_authentication_is_the_write_key(header: str) -> None:
    value = basic("shop-key:").partition(" ")[2]
    assert authenticator().by_header(f"{header} {value}") is SHOP
    assert authenticator().by_header(basic("shop-key")) is SHOP
    assert authenticator().by_header(basic("shop-key:with:password")) is SHOP
    assert authenticator().by_header(basic("schlüssel:")) is OTHER
    assert authenticator().by_header(None) is None


UNKNOWN_HEADERS = (
    *(
        "",
        "Basic",
        "Basic ",
        "Basic ***",
        "Basic shop-key",
        "Bearer shop-key",
        "shop-key",
        basic("nobody:"),
        basic(":"),
    ),
    *(basic("other:key:"), "Basic \udcff", "Basic é", "Basic " + b64encode(b"\xff\xfe:").decode(), "Basic Og==\0"),
)


@pytest.mark.parametrize("header", UNKNOWN_HEADERS)
def test_any_other_header_is_refused_each_time(header: str) -> None:
    one = authenticator()
    for _ in range(2):
        with pytest.raises(BadRequest) as refused:
            one.by_header(header)
        assert code_of(refused) == (401, "unknown_write_key")


@given(st.text() | st.binary().map(lambda raw: "Basic " + b64encode(raw).decode()))
def test_no_header_raises_another_error(header: str) -> None:
    with pytest.raises(BadRequest):
        authenticator().by_header(header)


def test_the_cache_of_headers_is_bounded_in_number_and_size() -> None:
    one = authenticator()
    for number in range(2 * MAX_CACHED_HEADERS + 10):
        with pytest.raises(BadRequest):
            one.by_header(f"Basic {number}")
    assert len(one._by_header) <= MAX_CACHED_HEADERS
    with pytest.raises(BadRequest):
        one.by_header("Basic " + "a" * MAX_CACHED_HEADER)
    assert all(len(header) <= MAX_CACHED_HEADER for header in one._by_header)
    assert one.by_header(basic("shop-key:")) is SHOP


def test_after_a_reload_only_the_new_keys_are_known() -> None:
    one = authenticator()
    assert one.by_header(basic("shop-key:")) is SHOP
    one.reload({"new-key": OTHER})
    assert one.by_header(basic("new-key:")) is OTHER
    with pytest.raises(BadRequest):
        one.by_header(basic("shop-key:"))
    with pytest.raises(BadRequest):
        one.by_body("shop-key")
    assert not one.is_named_in(b'"writeKey":"shop-key"')


@pytest.mark.parametrize(
    ("key", "code"),
    [
        *((None, "no_write_key"), ("", "no_write_key"), (1, "no_write_key"), (["shop-key"], "no_write_key")),
        *(("nobody", "unknown_write_key"), ("shop-key ", "unknown_write_key")),
    ],
)
def test_a_body_without_a_known_write_key_is_refused(key: Any, code: str) -> None:
    with pytest.raises(BadRequest) as refused:
        authenticator().by_body(key)
    assert code_of(refused) == (401, code)


def test_the_write_key_of_the_body_selects_the_source() -> None:
    assert authenticator().by_body("shop-key") is SHOP


@pytest.mark.parametrize(
    "beginning",
    [b'{"writeKey":"shop-key"', b'{"batch":[],"writeKey" : "shop-key"}', b'{"writeKey"\n:\t"shop-key","batch":[{'],
)
def test_a_known_key_in_the_beginning_of_a_body_is_found(beginning: bytes) -> None:
    assert authenticator().is_named_in(beginning)


@pytest.mark.parametrize(
    "beginning",
    [
        *(b"", b'{"writeKey":"nobody"}', b'{"writeKey":"shop-ke', b'{"writeKey":"shop-key', b'{"writekey":"shop-key"}'),
        *(b'{"writeKey":["shop-key"]}', b'{"writeKey":"\xff\xfe"}', b"shop-key", b'"writeKey":"' + b"a" * 300 + b'"'),
    ],
)
def test_nothing_else_is_taken_for_a_known_key(beginning: bytes) -> None:
    assert not authenticator().is_named_in(beginning)


@given(st.dictionaries(st.sampled_from(["batch", "writeKey", "x"]), st.sampled_from(["shop-key", "no", "", 'a"b'])))
def test_a_body_that_is_accepted_is_found_by_its_beginning(body: dict[str, str]) -> None:
    one = authenticator()
    if body.get("writeKey") == "shop-key":
        assert one.by_body(body["writeKey"]) is SHOP
        assert one.is_named_in(json.dumps(body).encode())
    assert one.is_named_in(json.dumps(body).encode()) <= ("shop-key" in body.values())
