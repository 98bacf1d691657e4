"""Documents: what ingest reads of a body without decoding it."""

from __future__ import annotations

import orjson
import pytest

from gateway.ingest.dedup import key_of
from gateway.ingest.events import IGNORED_TYPES
from gateway.mapping.native import Document, load
from tests.mapping.builders import sale
from tests.mapping.native.comparison import document_of, read_body

pytestmark = pytest.mark.skipif(load() is None, reason="the native extension is not built, or switched off")


def document(body: object) -> Document:
    return document_of(orjson.dumps(body))


def test_a_single_event_is_a_document_of_one_event() -> None:
    single = document(sale(writeKey="key"))

    assert (single.is_batch, single.events, single.write_key) == (False, 1, "key")
    assert orjson.loads(single.event(0)) == sale(writeKey="key")


def test_a_batch_has_its_events_and_their_text() -> None:
    body = b'{"writeKey" : "k\\u00e9" , "batch" : [ {"a": 1.50} , [2], "x" ], "sentAt": null}'
    batch = document_of(body)

    assert (batch.is_batch, batch.events, batch.write_key) == (True, 3, "ké")
    assert [batch.event(index) for index in range(3)] == [b'{"a": 1.50}', b"[2]", b'"x"']


@pytest.mark.parametrize("key", ["context", "integrations"])
def test_a_batch_says_whether_it_has_a_shared_context(key: str) -> None:
    assert document({"batch": [], key: {}}).has_shared_context
    assert not document({"batch": [{key: {}}], "sentAt": "x"}).has_shared_context


def test_the_type_of_each_event_is_that_which_ingest_reads() -> None:
    native = load()
    assert native is not None
    calls = ["track", *sorted(IGNORED_TYPES), "Track", "", 5, None]
    events = [{"type": call} for call in calls] + [{}, [], "track", 7]

    expected = [
        native.TRACK,
        *[native.IGNORED] * len(IGNORED_TYPES),
        *[native.UNKNOWN] * 5,
        *[native.NOT_AN_OBJECT] * 3,
    ]
    assert list(document({"batch": events}).types(0, len(events))) == expected
    assert document({"batch": events}).types(1, 3) == bytes([native.IGNORED] * 2)


def test_the_deduplication_keys_are_those_of_ingest() -> None:
    ids = ["m-1", "", None, 5, "é\n😀", "x" * 5000, " m ", "m-1"]
    events = [{"messageId": message_id} for message_id in ids] + [{}]

    keys = document({"batch": events}).keys("störe", 0, len(events))
    assert keys == [key_of("störe", i) if isinstance(i, str) and i else None for i in [*ids, None]]
    assert document({"batch": events}).keys("s", 4, 5) == [key_of("s", "é\n😀")]


def test_the_largest_event_is_found_by_bytes_and_by_values() -> None:
    batch = document({"batch": [{"a": "x" * 100}, {"a": [1, 2, 3]}, 5]})

    assert batch.largest(0, 3) == (108, 6)
    assert batch.largest(2, 3) == (1, 1)
    assert batch.largest(1, 1) == (0, 0)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b'"x"', b"{", b'{"a":1,"a":2}', b'{"a":"\\ud800"}', b"\xef\xbb\xbf{}"]
)
def test_python_reads_what_is_no_plain_object(body: bytes) -> None:
    assert read_body(body) is None


@pytest.mark.parametrize(("first", "last"), [(-1, 0), (1, 0), (0, 3), (3, 3)])
def test_events_beyond_the_document_are_an_error(first: int, last: int) -> None:
    batch = document({"batch": [{}, {}]})

    for method in (batch.types, batch.largest, lambda *events: batch.keys("s", *events)):
        with pytest.raises(IndexError):
            method(first, last)


@pytest.mark.parametrize("index", [-1, 2, 2**62])
def test_an_event_beyond_the_document_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        document({"batch": [{}, {}]}).event(index)
