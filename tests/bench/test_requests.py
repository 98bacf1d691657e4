"""Requests get new message IDs each time they are sent, and nothing else in them changes."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from bench.requests import Requests
from bench.workload import encode_requests, request_bodies


def message_ids(payload: bytes) -> list[str]:
    body = orjson.loads(payload.partition(b"\r\n\r\n")[2])
    return [event["messageId"] for event in body.get("batch", [body])]


def test_no_message_id_is_sent_twice_when_requests_repeat() -> None:
    requests = encode_requests(request_bodies(1, 10, 3), 10)
    seen = [message_id for number in range(30) for message_id in message_ids(requests.payload(number, number))]
    assert len(seen) == len(set(seen)) == 300


def test_content_length_is_correct_after_message_ids_are_renewed() -> None:
    for size in (1, 10):
        payload = encode_requests(request_bodies(1, size, 1), size).payload(0, 2**32 - 1)
        head, _, body = payload.partition(b"\r\n\r\n")
        content_length = re.search(rb"Content-Length: (\d+)", head)
        assert content_length is not None
        assert int(content_length[1]) == len(body)


def test_only_the_message_ids_differ_between_two_sends() -> None:
    requests = encode_requests(request_bodies(1, 5, 1), 5)
    first, second = (re.sub(rb'"messageId":"[^"]+"', b"", requests.payload(0, send_number)) for send_number in (1, 2))
    assert first == second


def test_a_returned_payload_is_not_changed_by_the_next_send() -> None:
    requests = encode_requests(request_bodies(1, 5, 1), 5)
    payload = requests.payload(0, 1)
    before = message_ids(payload)
    requests.payload(0, 2)
    assert message_ids(payload) == before


def test_compressed_requests_are_unchanged_after_writing_and_reading(tmp_path: Path) -> None:
    requests = encode_requests([b"\x1f\x8b not touched"], 10, encoding="gzip")
    requests.write(tmp_path / "requests")
    read = Requests.read(tmp_path / "requests")
    assert not read.renews_ids
    assert read.payload(0, 7) == requests.payload(0, 8)
    assert b"Content-Encoding: gzip" in read.payload(0, 0)


def test_requests_that_contain_line_feeds_can_be_written_and_read(tmp_path: Path) -> None:
    requests = Requests([b"one\n", b"", b"\n\nthree"])
    requests.write(tmp_path / "requests")
    read = Requests.read(tmp_path / "requests")
    assert [read.payload(number, 0) for number in range(len(read))] == [b"one\n", b"", b"\n\nthree"]
