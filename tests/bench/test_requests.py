"""Requests whose events a gateway takes as new ones, however often they are sent."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from bench.requests import Requests
from bench.workload import bodies, requests


def ids(payload: bytes) -> list[str]:
    body = orjson.loads(payload.partition(b"\r\n\r\n")[2])
    return [event["messageId"] for event in body.get("batch", [body])]


def test_no_message_id_is_sent_twice_while_the_ring_goes_round() -> None:
    sent = requests(bodies(1, 10, 3), 10)
    seen = [one for sending in range(30) for one in ids(sent.nth(sending, sending))]
    assert len(seen) == len(set(seen)) == 300


def test_a_stamped_request_has_the_length_that_it_says() -> None:
    for size in (1, 10):
        payload = requests(bodies(1, size, 1), size).nth(0, 2**32 - 1)
        head, _, body = payload.partition(b"\r\n\r\n")
        said = re.search(rb"Content-Length: (\d+)", head)
        assert said is not None
        assert int(said[1]) == len(body)


def test_nothing_but_the_message_ids_differs_between_two_sendings() -> None:
    sent = requests(bodies(1, 5, 1), 5)
    one, other = (re.sub(rb'"messageId":"[^"]+"', b"", sent.nth(0, sending)) for sending in (1, 2))
    assert one == other


def test_a_payload_handed_out_is_not_changed_by_the_next_sending() -> None:
    sent = requests(bodies(1, 5, 1), 5)
    one = sent.nth(0, 1)
    before = ids(one)
    sent.nth(0, 2)
    assert ids(one) == before


def test_compressed_requests_go_to_another_process_as_they_are(tmp_path: Path) -> None:
    sent = requests([b"\x1f\x8b not touched"], 10, encoding="gzip")
    sent.write(tmp_path / "requests")
    read = Requests.read(tmp_path / "requests")
    assert not read.stamps
    assert read.nth(0, 7) == sent.nth(0, 8)
    assert b"Content-Encoding: gzip" in read.nth(0, 0)


def test_requests_with_line_feeds_in_them_go_to_another_process(tmp_path: Path) -> None:
    sent = Requests([b"one\n", b"", b"\n\nthree"])
    sent.write(tmp_path / "requests")
    read = Requests.read(tmp_path / "requests")
    assert [read.nth(number, 0) for number in range(len(read))] == [b"one\n", b"", b"\n\nthree"]
