"""The native JSON reader: what it accepts equals what orjson reads, and it gives up on everything unusual."""

from __future__ import annotations

import os
import random
import tracemalloc
from typing import Any

import orjson
import pytest

from tests.mapping.native.json_examples import COMPUTED_NUMBERS, EXAMPLES, LARGE_NUMBERS, NOT_JSON
from tests.mapping.native.json_texts import MAX_DEPTH, MAX_VALUES, any_text, compare, fault, random_fault
from tests.mapping.native.probe import probe

TEXTS = int(os.environ.get("GATEWAY_PROPERTY_EVENTS", "4000")) // 2
STRING, ASCII, ESCAPED = 6, 1, 2


def read(text: str | bytes, max_values: int = MAX_VALUES, max_depth: int = MAX_DEPTH) -> Any:
    return probe().read(text.encode() if isinstance(text, str) else text, max_values, max_depth)


def gives_up(text: str | bytes, max_values: int = MAX_VALUES, max_depth: int = MAX_DEPTH) -> bool:
    try:
        read(text, max_values, max_depth)
    except NotImplementedError:
        return True
    return False


@pytest.mark.parametrize("kind", EXAMPLES)
def test_examples_are_accepted_and_equal_what_orjson_reads_or_the_reader_gives_up(kind: str) -> None:
    assert fault(probe(), kind) is None


def test_random_texts_are_accepted_where_they_are_usual_and_always_equal_what_orjson_reads() -> None:
    assert random_fault(probe(), TEXTS, random.SystemRandom().randrange(2**32)) is None


def test_some_of_the_unusual_and_damaged_texts_are_accepted_and_some_are_not() -> None:
    rng = random.Random(1)
    accepted = sum(compare(probe(), any_text(rng)).accepted for _ in range(1_000))
    assert 200 < accepted < 800


@pytest.mark.parametrize("text", NOT_JSON)
def test_orjson_refuses_what_is_not_json_as_well(text: str) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(text)


@pytest.mark.parametrize("text", COMPUTED_NUMBERS)
def test_usual_numbers_are_computed(text: str) -> None:
    assert not isinstance(read(text), tuple)


@pytest.mark.parametrize("text", LARGE_NUMBERS)
def test_numbers_that_are_not_computed_keep_their_text(text: str) -> None:
    assert read(text) == (text,)


def test_objects_with_so_many_keys_that_comparing_them_takes_long_are_not_supported() -> None:
    members = ",".join(f'"key_{number}":0' for number in range(20_000))
    assert gives_up(f"{{{members}}}")


@pytest.mark.parametrize(
    ("text", "values"), [("1", 1), ("[1,2]", 3), ('{"a":[],"b":2}', 5), ("[" + "1," * 99 + "1]", 101)]
)
def test_a_text_has_at_most_the_given_number_of_values_and_keys(text: str, values: int) -> None:
    assert not gives_up(text, max_values=values)
    assert gives_up(text, max_values=values - 1)


@pytest.mark.parametrize(("text", "levels"), [("1", 0), ("[]", 1), ('[{"a":[1]}]', 3), ("[" * 1024 + "]" * 1024, 1024)])
def test_a_text_has_at_most_the_given_number_of_levels(text: str, levels: int) -> None:
    assert not gives_up(text, max_depth=levels)
    assert not levels or gives_up(text, max_depth=levels - 1)


def test_no_more_levels_are_supported_than_by_orjson() -> None:
    assert orjson.loads("[" * 1024 + "]" * 1024)
    assert gives_up("[]", max_depth=1025)
    with pytest.raises(orjson.JSONDecodeError, match="depth"):
        orjson.loads("[" * 1025 + "]" * 1025)


def test_texts_above_16_mib_are_not_supported() -> None:
    assert read(b" " * (16 * 1024**2 - 1) + b"1") == 1
    assert gives_up(b" " * 16 * 1024**2 + b"1")


def test_the_source_of_each_value_is_known() -> None:
    text = '{ "a" : [1, -2.50 ,{"b\\n" :"é"}] , "c":null}'
    layout = probe().layout(text.encode(), MAX_VALUES, MAX_DEPTH)
    expected = [text, '"a"', '[1, -2.50 ,{"b\\n" :"é"}]', "1", "-2.50", '{"b\\n" :"é"}', '"b\\n"', '"é"', '"c"', "null"]
    assert [source.decode() for _, _, source in layout] == expected
    assert [flags for kind, flags, _ in layout if kind == STRING] == [ASCII, ASCII | ESCAPED, 0, ASCII]


@pytest.mark.parametrize("text", ["[" + '"a\\n",' * 400 + "1.2345678901234567]", '{"a":[1,2,{"b\\u00e9":"c"}]}'])
def test_without_memory_it_raises_and_leaks_nothing(text: str) -> None:
    testcapi = pytest.importorskip("_testcapi")
    source = text.encode()
    read(source)  # what is allocated once is allocated now
    tracemalloc.start()
    try:
        before, failures = tracemalloc.get_traced_memory()[0], 0
        for allocation in range(40):
            testcapi.set_nomemory(allocation, allocation + 1)
            try:
                probe().read(source, MAX_VALUES, MAX_DEPTH)
            except MemoryError:
                failures += 1
            finally:
                testcapi.remove_mem_hooks()
        leaked = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert failures > 5
    assert leaked < 2_000
