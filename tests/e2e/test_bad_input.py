"""Invalid requests get their documented response, within limits of memory and time, and the gateway keeps running."""

from __future__ import annotations

import gzip
import json
import socket
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from gateway.model import JsonObject
from tests.e2e.environment import WRITE_KEY, Environment, sale, until

AUTHORIZATION = "Basic " + b64encode(f"{WRITE_KEY}:".encode()).decode()


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with Environment(tmp_path_factory.mktemp("environment"), server="read_timeout = 1.0") as env, env.start():
        yield env


def post(
    env: Environment,
    body: bytes,
    path: str = "/v1/batch",
    headers: Mapping[str, str] | None = None,
    method: str = "POST",
) -> tuple[int, JsonObject, Mapping[str, str]]:
    request = urllib.request.Request(
        env.url + path, body, {"Authorization": AUTHORIZATION, **(headers or {})}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response), dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)


def batch(*events: object) -> bytes:
    return json.dumps({"batch": events}).encode()


def resident_bytes(env: Environment) -> int:
    """Resident memory of the gateway."""
    assert env.gateway is not None
    pages = Path(f"/proc/{env.gateway.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


GZIP = {"Content-Encoding": "gzip"}
BOMB = gzip.compress(b'{"batch":[' + b" " * 200_000_000 + b"]}", 6)
DEEP = b"[" * 50_000 + b"]" * 50_000


@pytest.mark.parametrize(
    ("body", "path", "headers", "status", "code"),
    [
        (b"{", "/v1/batch", {}, 400, "invalid_json"),
        (b"", "/v1/batch", {}, 400, "invalid_json"),
        (b"\xff\xfe", "/v1/batch", {}, 400, "invalid_json"),
        (DEEP, "/v1/batch", {}, 400, "invalid_json"),
        (b'{"batch":' + DEEP + b"}", "/v1/batch", {}, 400, "invalid_json"),
        (b"[]", "/v1/batch", {}, 400, "not_an_object"),
        (b'"text"', "/v1/track", {}, 400, "not_an_object"),
        (b"{}", "/v1/batch", {}, 400, "no_batch"),
        (b'{"batch":{}}', "/v1/batch", {}, 400, "no_batch"),
        (b'{"batch":[]}', "/v1/batch", {}, 400, "empty_batch"),
        (b"no gzip", "/v1/batch", GZIP, 400, "invalid_gzip"),
        (gzip.compress(batch(sale(1)))[:-20], "/v1/batch", GZIP, 400, "invalid_gzip"),
        (BOMB, "/v1/batch", GZIP, 413, "request_too_large"),
        (b" " * 50_000_000, "/v1/batch", {}, 413, "request_too_large"),
        (json.dumps(sale(1, filler="x" * 40_000)).encode(), "/v1/track", {}, 413, "event_too_large"),
        (batch(sale(1)), "/v1/batch", {"Content-Encoding": "br"}, 415, "unknown_encoding"),
        (batch(sale(1)), "/v1/batch", {"Authorization": "Basic d3Jvbmc6"}, 401, "unknown_write_key"),
        (batch(sale(1)), "/v1/batch", {"Authorization": "Basic ***"}, 401, "unknown_write_key"),
        (batch(sale(1)), "/v1/batch", {"Authorization": "Bearer x"}, 401, "unknown_write_key"),
        (batch(sale(1)), "/v1/nothing", {}, 404, "unknown_route"),
        (batch(sale(1)), "/", {}, 404, "unknown_route"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_request_gets_its_documented_response(
    env: Environment, body: bytes, path: str, headers: Mapping[str, str], status: int, code: str
) -> None:
    bytes_before, started_at = resident_bytes(env), time.monotonic()
    try:
        response_status, response, _ = post(env, body, path, headers)
    except urllib.error.URLError:
        # The gateway may refuse 50 MB without reading them, and close the connection while the sender still writes.
        assert len(body) > 4 * 2**20
    else:
        assert (response_status, response["code"]) == (status, code)
        assert response["message"]
    assert time.monotonic() - started_at < 5
    assert resident_bytes(env) - bytes_before < 64 * 2**20
    assert post(env, batch({"type": "identify"}))[0] == 200


def test_a_wrong_method_and_a_missing_write_key_are_refused(env: Environment) -> None:
    assert post(env, batch(sale(1)), method="PUT")[0] == 405
    request = urllib.request.Request(env.url + "/v1/batch", batch(sale(1)))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert (refused.value.code, json.load(refused.value)["code"]) == (401, "no_write_key")


def test_each_invalid_event_of_a_batch_is_rejected_by_index_and_the_others_are_accepted(env: Environment) -> None:
    events: list[object] = [
        sale(1000),
        [],
        None,
        "text",
        {"type": "alien", "messageId": "m-4"},
        {"event": "Order Completed"},
        sale(1006, context={"traits": {"email": "n/a"}}, userId=None),
        sale(1007, event=None),
        sale(1008, originalTimestamp="soon"),
        {"type": "page"},
        sale(1010),
    ]
    status, response, _ = post(env, batch(*events))
    assert (status, response["accepted"], response["ignored"]) == (200, 2, 1)
    assert [(event["index"], event["code"]) for event in response["rejected"]] == [
        (1, "not_an_object"),
        (2, "not_an_object"),
        (3, "not_an_object"),
        (4, "unknown_type"),
        (5, "unknown_type"),
        (6, "no_match_key"),
        (7, "missing_event_name"),
        (8, "event_time_invalid"),
    ]
    assert response["rejected"][3]["message_id"] == "m-4"


def test_a_single_track_that_is_rejected_gets_400_with_its_code(env: Environment) -> None:
    status, response, _ = post(env, json.dumps(sale(1, event="Not Mapped")).encode(), "/v1/track")
    assert (status, response["code"]) == (400, "unmapped_event")
    assert response["message"]


@pytest.mark.parametrize(
    "text",
    [
        b'{"batch":[%s]}',
        b'\xef\xbb\xbf{"batch":[%s]}',
        b'{"batch":[%s],"sentAt":NaN,"x":[Infinity,-Infinity]}',
        b'{"batch":[%s],"x":123456789012345678901234567890123456789}',
        b'{"batch":[%s],"x":1e999}',
        b'{"batch":[],"batch":[%s]}',
        b'{"batch":[%s],"x":"\\ud800"}',
    ],
    ids=["plain", "byte order mark", "NaN", "beyond 64 bits", "beyond a float", "duplicate keys", "unpaired surrogate"],
)
def test_nonstandard_json_that_senders_write_is_accepted(env: Environment, text: bytes) -> None:
    event = sale(2000 + len(text), properties={"order_id": "x", "total": 3, "note": "\ud800", "big": 10**30})
    status, response, _ = post(env, text % json.dumps(event).encode())
    assert (status, response["accepted"]) == (200, 1)


def test_the_content_type_is_not_checked_and_gzip_is_accepted(env: Environment) -> None:
    headers = {**GZIP, "Content-Type": "application/x-www-form-urlencoded"}
    status, response, _ = post(env, gzip.compress(batch(sale(3000))), headers=headers)
    assert (status, response["accepted"]) == (200, 1)


def test_the_write_key_may_be_in_the_body_and_the_context_in_the_batch(env: Environment) -> None:
    event = sale(3100)
    context = event.pop("context")
    body = json.dumps({"batch": [event], "writeKey": WRITE_KEY, "context": context}).encode()
    request = urllib.request.Request(env.url + "/v1/batch", body)
    with urllib.request.urlopen(request, timeout=10) as response:
        assert json.load(response)["accepted"] == 1


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/track HTTP/1.1\r\nHost: x\r\n", None], ids=["nothing", "head", "body"]
)
def test_the_connection_of_a_sender_that_does_not_complete_its_request_is_closed(
    env: Environment, sent: bytes | None
) -> None:
    if sent is None:
        sent = (
            f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTHORIZATION}\r\nContent-Length: 1000\r\n\r\n{{"
        ).encode()
    port = int(env.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=15) as sender:
        sender.sendall(sent)
        started_at = time.monotonic()
        response = b""
        while received := sender.recv(4096):
            response += received
        assert time.monotonic() - started_at < 6
    assert response == b"" or b"408" in response.partition(b"\r\n")[0]


def test_the_counts_add_up_after_all_these_requests(env: Environment) -> None:
    assert post(env, batch(sale(4000)))[1]["accepted"] == 1
    until(lambda: env.ledger()["waiting"] == 0, "the backlog to drain")
    ledger = env.ledger()
    assert ledger["accepted"] == ledger["delivered"] + ledger["dead_lettered"]
    assert ledger["accepted"] > 0
