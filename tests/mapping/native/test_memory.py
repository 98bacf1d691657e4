"""Memory of the native mapper: nothing is leaked, and a failed allocation is a `MemoryError` that leaves it usable."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Iterator

import orjson
import pytest

from gateway.mapping import Mapper
from gateway.mapping.native import load
from tests.mapping.builders import NOW, mapper, sale
from tests.mapping.native.comparison import bodies, document_of, native_of
from tests.mapping.native.generator import case

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(load() is None, reason="the native extension is not built, or switched off"),
]
TOLERANCE = 4096
"""Bytes by which the memory may change, of a few million that are allocated meanwhile."""


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def map_body(store: Mapper, body: bytes) -> None:
    document = document_of(body)
    native_of(store).map(document, bytes([1]) * document.events, NOW)
    document.types(0, document.events)
    document.keys("store", 0, document.events)
    store.coverage()


def used() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.usefixtures("traced")
def test_mapping_the_same_events_again_and_again_takes_no_more_memory() -> None:
    generated = case(5)
    store = generated.pair().native
    body = b'{"batch":[' + b",".join(bodies(generated.events)) + b"]}"
    for _ in range(20):
        map_body(store, body)
    before = used()
    for _ in range(100):
        map_body(store, body)

    assert used() - before < TOLERANCE


@pytest.mark.usefixtures("traced")
def test_a_mapper_and_its_functions_are_freed_together() -> None:
    body = orjson.dumps({"batch": [sale()]})
    for _ in range(3):
        map_body(mapper(), body)
    before, blocks = used(), sys.getallocatedblocks()
    for _ in range(5):
        map_body(mapper(), body)

    assert used() - before < 5 * TOLERANCE
    assert sys.getallocatedblocks() - blocks < 500


@pytest.mark.usefixtures("traced")
def test_every_failed_allocation_is_an_error_after_which_the_mapper_works() -> None:
    testcapi = pytest.importorskip("_testcapi")
    store = mapper(allow_properties=["note"])
    events = [
        sale(userId=f"u-{number}", traits={"firstName": "Zoë", "phone": "020 7946 0958", "country": "GB"})
        | {"properties": {"upload_tag": f"t{number}", "client_ip": "x", "total": 59.980000000000004, "a": "1@b.de"}}
        for number in range(3)
    ]
    body, selected = orjson.dumps({"batch": events}), bytes([1] * 3)
    document = document_of(body)
    native = native_of(store)
    expected = native.map(document, selected, NOW)
    before = used()
    failures = 0
    for number in range(1, 400):
        try:
            testcapi.set_nomemory(number, number + 1)
            result = native.map(document, selected, NOW)
        except MemoryError:
            failures += 1
            continue
        finally:
            testcapi.remove_mem_hooks()
        assert result == expected

    assert failures > 20
    assert used() - before < 2 * TOLERANCE
    assert native.map(document, selected, NOW) == expected
