"""Decoding of request bodies: gzip within its limits, the estimate of memory, and JSON as SDKs write it."""

from __future__ import annotations

import gzip
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ingest.decode import (
    MAX_CONTAINERS,
    MAX_LENIENT_BYTES,
    MAX_LENIENT_VALUES,
    MAX_VALUES,
    UNZIP_BYTES,
    BadRequest,
    Complexity,
    decode,
    gzip_size,
    unzip,
    unzip_beginning,
)

LIMIT = 4 * 2**20


def expand(body: bytes, max_bytes: int = LIMIT) -> bytes:
    return b"".join(unzip(body, gzip_size(body, max_bytes), max_bytes))


def refusal(run: Callable[[], Any]) -> tuple[int, str]:
    with pytest.raises(BadRequest) as refused:
        run()
    return refused.value.status, refused.value.code


def complexity_of(body: bytes) -> Complexity:
    complexity = Complexity()
    complexity.add(body)
    return complexity


# gzip


@given(st.binary(max_size=5000), st.integers(0, 9))
def test_a_gzip_body_expands_to_what_was_compressed(content: bytes, level: int) -> None:
    body = gzip.compress(content, level)
    assert gzip_size(body, LIMIT) == len(content)
    assert expand(body) == content


@pytest.mark.parametrize("size", [0, 1, UNZIP_BYTES - 1, UNZIP_BYTES, UNZIP_BYTES + 1, 3 * UNZIP_BYTES, LIMIT])
def test_a_body_of_any_size_up_to_the_limit_expands_in_bounded_pieces(size: int) -> None:
    content = (b"0123456789" * (size // 10 + 1))[:size]
    body = gzip.compress(content)
    pieces = list(unzip(body, gzip_size(body, LIMIT), LIMIT))
    assert b"".join(pieces) == content
    assert all(0 < len(piece) <= UNZIP_BYTES for piece in pieces)


@given(st.binary(min_size=1, max_size=2000), st.data())
def test_a_truncated_gzip_body_is_refused(content: bytes, data: st.DataObject) -> None:
    body = gzip.compress(content)
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    assert refusal(lambda: expand(cut)) in {(400, "invalid_gzip"), (413, "request_too_large")}


@given(st.binary(max_size=2000), st.binary(min_size=1, max_size=50))
def test_bytes_behind_a_gzip_body_are_refused(content: bytes, garbage: bytes) -> None:
    assert refusal(lambda: expand(gzip.compress(content) + garbage)) in {
        (400, "invalid_gzip"),
        (413, "request_too_large"),
    }


def test_a_second_part_is_refused_also_when_it_has_the_size_of_the_first() -> None:
    first, second = gzip.compress(b'{"batch":[1]}'), gzip.compress(b'{"batch":[2]}')
    assert refusal(lambda: expand(first + second)) == (400, "invalid_gzip")


@given(st.binary(max_size=2000), st.integers(0, 2**32 - 1))
def test_a_trailer_with_another_size_is_refused(content: bytes, size: int) -> None:
    body = gzip.compress(content)[:-4] + size.to_bytes(4, "little")
    if size == len(content):
        assert expand(body) == content
    else:
        assert refusal(lambda: expand(body)) in {(400, "invalid_gzip"), (413, "request_too_large")}


@given(st.binary(max_size=300))
def test_any_bytes_expand_or_are_refused(body: bytes) -> None:
    for given_body in (body, b"\x1f\x8b\x08" + body):
        try:
            expand(given_body)
        except BadRequest as refused:
            assert refused.code in {"invalid_gzip", "request_too_large"}  # noqa: PT017 (it may also expand)


def test_a_bomb_is_expanded_up_to_the_limit_only() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert gzip_size(bomb, LIMIT) == LIMIT
    tracemalloc.start()
    assert refusal(lambda: [len(piece) for piece in unzip(bomb, gzip_size(bomb, LIMIT), LIMIT)])[0] == 413
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21


def test_a_bomb_whose_trailer_says_that_it_is_small_is_expanded_up_to_that_size_only() -> None:
    bomb = gzip.compress(b" " * 50_000_000)[:-4] + (1000).to_bytes(4, "little")
    pieces: list[int] = []
    assert refusal(lambda: pieces.extend(map(len, unzip(bomb, gzip_size(bomb, LIMIT), LIMIT)))) == (400, "invalid_gzip")
    assert sum(pieces) <= 1001


@given(st.binary(max_size=3000), st.integers(1, 200), st.data())
def test_the_beginning_of_a_gzip_body_expands_to_the_beginning_of_its_content(
    content: bytes, most: int, data: st.DataObject
) -> None:
    body = gzip.compress(content)
    assert content.startswith(unzip_beginning(body[: data.draw(st.integers(0, len(body)))], most))
    assert unzip_beginning(body, most) == content[:most]


def test_the_beginning_of_a_body_that_is_not_gzip_is_refused() -> None:
    assert refusal(lambda: unzip_beginning(b'{"writeKey":"key"}', 100)) == (400, "invalid_gzip")
    assert refusal(lambda: expand(zlib.compress(b"{}"))) == (400, "invalid_gzip")


# The estimate of memory


def held_bytes(value: Any) -> int:
    """Bytes that a decoded value takes: each object once, as large as the allocator makes it."""
    seen: set[int] = set()
    total = 0
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        total += -(-sys.getsizeof(each) // 16) * 16
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
    return total


def filled(piece: str, size: int = 40_000) -> bytes:
    return f"[{piece * (size // len(piece.encode()))}0]".encode()


SHAPES = {
    "objects": filled("{},"),
    "lists": filled("[],"),
    "nested lists": b"[" * 1000 + b"]" * 1000,
    "nested lists, many": b"[" + b",".join([b"[" * 900 + b"]" * 900] * 20) + b"]",
    "nested objects": b'{"":' * 1000 + b"0" + b"}" * 1000,
    "objects with one name": filled('{"a":0},'),
    "objects with six names": filled('{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0},'),
    "objects with eleven names": filled("{" + ",".join(f'"{name}":[]' for name in "abcdefghijk") + "},"),
    "an object with many names": b"{" + b",".join(b'"%x":0' % name for name in range(6000)) + b"}",
    "an object with many names and texts": ("{" + ",".join(f'"{name:x}":"Āa"' for name in range(6000)) + "}").encode(),
    "names that are not Latin": ("{" + ",".join(f'"Ā{name:x}":1.5' for name in range(6000)) + "}").encode(),
    "short texts": filled('"ab",'),
    "short texts that are not Latin": filled('"Ā",'),
    "short escapes": filled(r'"\u0100",'),
    "short emoji": filled('"😀",'),
    "a long text with one emoji": b'["' + b"a" * 40_000 + "😀".encode() + b'"]',
    "many texts with one emoji": filled('"' + "a" * 20 + '😀",'),
    "integers": filled("999,"),
    "large integers": filled("18446744073709551615,"),
    "floats": filled("1.5,"),
    "exponents": filled("1e9,"),
    "zeros": filled("0,"),
    "spaces": b"[" + b" " * 40_000 + b"0]",
}


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES.keys())
def test_no_shape_of_json_takes_more_memory_than_estimated(body: bytes) -> None:
    decode(body)  # so that what is created once is not measured
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    value = decode(body)
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    estimate = complexity_of(body).memory
    assert after - before <= estimate
    assert held_bytes(value) <= estimate
    # orjson's own buffer, of 12 bytes for each byte of the text, is freed before it returns.
    assert peak - before <= estimate + 12 * len(body) + 4096


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(st.text(max_size=6), inner, max_size=12),
    max_leaves=60,
)


@given(VALUES)
def test_no_json_takes_more_memory_than_estimated(value: Any) -> None:
    body = orjson.dumps(value)
    complexity = complexity_of(body)
    decoded = orjson.loads(body)
    assert held_bytes(decoded) <= complexity.memory


def count_values(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(count_values, value.values()))
    return 1 + sum(map(count_values, value)) if isinstance(value, list) else 1


@given(VALUES, st.integers(1, 50))
def test_the_values_of_json_are_never_more_than_counted_however_it_is_split(value: Any, size: int) -> None:
    body = orjson.dumps(value)
    split = Complexity()
    for start in range(0, len(body), size):
        split.add(body[start : start + size])
    assert split == complexity_of(body)
    assert split.size == len(body)
    assert count_values(value) <= split.values


@pytest.mark.parametrize("piece", [b"{},", b"[],", b'{"a":[]},'])
def test_a_body_with_more_containers_than_allowed_is_refused(piece: bytes) -> None:
    allowed = MAX_CONTAINERS // (piece.count(b"{") + piece.count(b"["))
    complexity_of(piece * allowed)
    assert refusal(lambda: complexity_of(piece * (allowed + 1))) == (413, "request_too_large")


def test_a_body_with_more_values_than_allowed_is_refused() -> None:
    complexity_of(b"1," * (MAX_VALUES - 1))
    assert refusal(lambda: complexity_of(b"1," * MAX_VALUES)) == (413, "request_too_large")


# JSON as SDKs write it


def test_strict_json_of_any_size_is_decoded() -> None:
    assert decode(b'["' + b"a" * LIMIT + b'"]') == ["a" * LIMIT]


@pytest.mark.parametrize("value", [b"NaN", b"-Infinity", b'"\\ud800"', b"1e999", b"1" * 500])
def test_values_that_are_not_strict_json_become_null_in_bodies_up_to_the_limit(value: bytes) -> None:
    assert decode(b"[1," + value + b"]") == [1, None]
    filler = b" " * (MAX_LENIENT_BYTES - len(value) - 2)
    assert decode(b"[" + filler + value + b"]") == [None]
    assert refusal(lambda: decode(b"[ " + filler + value + b"]")) == (400, "invalid_json")
    values = b"1," * (MAX_LENIENT_VALUES - 2)
    assert len(decode(b"[" + values + value + b"]")) == MAX_LENIENT_VALUES - 1
    assert refusal(lambda: decode(b"[1," + values + value + b"]")) == (400, "invalid_json")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[", b"{'a':1}", b"[1,]", b"[" * 100_000, b'"\xed\xa0\x80"'])
def test_anything_else_is_refused(body: bytes) -> None:
    assert refusal(lambda: decode(body)) == (400, "invalid_json")


@pytest.mark.parametrize(
    "piece", [b"1,", b'"",', b"[],", b"1.5,", b"NaN,", b'{"a":1},', b'"\\ud800",', b'"a",', b"-1e9999,"]
)
def test_the_lenient_parser_takes_less_than_a_tenth_of_a_second(piece: bytes) -> None:
    values = piece.count(b",") + piece.count(b"[") + piece.count(b"{")
    count = min(MAX_LENIENT_BYTES // len(piece) - 6, MAX_LENIENT_VALUES // values - 6)
    body = b"[" + piece * count + b'"\\ud800"]'
    started_at = time.process_time()
    decode(body)
    assert time.process_time() - started_at < 0.3  # alone on the machine, it is below 0.1
