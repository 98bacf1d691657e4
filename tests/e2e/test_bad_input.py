"""Rubbish gets its documented answer, within bounded memory and time, and the process goes on."""

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
    with Environment(tmp_path_factory.mktemp("house"), server="read_timeout = 1.0") as env, env.start():
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
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), dict(error.headers)


def batch(*events: object) -> bytes:
    return json.dumps({"batch": events}).encode()


def resident(env: Environment) -> int:
    """Bytes of the gateway's memory."""
    assert env.gateway is not None
    pages = Path(f"/proc/{env.gateway.process.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


GZIP = {"Content-Encoding": "gzip"}
BOMB = gzip.compress(b'{"batch":[' + b" " * 200_000_000 + b"]}", 6)
DEEP = b"[" * 100_000 + b"]" * 100_000


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
def test_rubbish_gets_its_documented_answer(
    env: Environment, body: bytes, path: str, headers: Mapping[str, str], status: int, code: str
) -> None:
    before, begun = resident(env), time.monotonic()
    try:
        answered, told, _ = post(env, body, path, headers)
    except urllib.error.URLError:
        # The gateway need not read 50 MB to refuse them; a sender that insists finds the connection closed.
        assert len(body) > 4 * 2**20
    else:
        assert (answered, told["code"]) == (status, code)
        assert told["message"]
    assert time.monotonic() - begun < 5
    assert resident(env) - before < 64 * 2**20
    assert post(env, batch({"type": "identify"}))[0] == 200


def test_a_wrong_method_and_a_missing_key_are_told(env: Environment) -> None:
    assert post(env, batch(sale(1)), method="PUT")[0:2][0] == 405
    request = urllib.request.Request(env.url + "/v1/batch", batch(sale(1)))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert (refused.value.code, json.load(refused.value)["code"]) == (401, "no_write_key")


def test_a_bad_event_costs_itself_and_is_named_by_its_index(env: Environment) -> None:
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
    status, answer, _ = post(env, batch(*events))
    assert (status, answer["accepted"], answer["ignored"]) == (200, 2, 1)
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [
        (1, "not_an_object"),
        (2, "not_an_object"),
        (3, "not_an_object"),
        (4, "unknown_type"),
        (5, "unknown_type"),
        (6, "no_match_key"),
        (7, "missing_event_name"),
        (8, "event_time_invalid"),
    ]
    assert answer["rejected"][3]["message_id"] == "m-4"


def test_a_single_track_that_is_rejected_gets_400_with_its_code(env: Environment) -> None:
    status, answer, _ = post(env, json.dumps(sale(1, event="Nobody Mapped This")).encode(), "/v1/track")
    assert (status, answer["code"]) == (400, "unmapped_event")
    assert answer["message"]


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
    ids=["plain", "byte order mark", "NaN", "beyond 64 bits", "beyond a float", "duplicate keys", "half a character"],
)
def test_odd_json_that_senders_write_is_taken(env: Environment, text: bytes) -> None:
    one = sale(2000 + len(text), properties={"order_id": "x", "total": 3, "note": "\ud800", "big": 10**30})
    status, answer, _ = post(env, text % json.dumps(one).encode())
    assert (status, answer["accepted"]) == (200, 1)


def test_a_form_content_type_is_not_looked_at_and_gzip_is_taken(env: Environment) -> None:
    headers = {**GZIP, "Content-Type": "application/x-www-form-urlencoded"}
    status, answer, _ = post(env, gzip.compress(batch(sale(3000))), headers=headers)
    assert (status, answer["accepted"]) == (200, 1)


def test_the_write_key_may_stand_in_the_body_and_context_on_the_envelope(env: Environment) -> None:
    event = sale(3100)
    traits = event.pop("context")
    body = json.dumps({"batch": [event], "writeKey": WRITE_KEY, "context": traits}).encode()
    request = urllib.request.Request(env.url + "/v1/batch", body)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert json.load(answer)["accepted"] == 1


@pytest.mark.parametrize(
    "sent", [b"", b"POST /v1/track HTTP/1.1\r\nHost: x\r\n", None], ids=["nothing", "head", "body"]
)
def test_a_sender_that_never_ends_its_request_is_let_go(env: Environment, sent: bytes | None) -> None:
    if sent is None:
        sent = (
            f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: {AUTHORIZATION}\r\nContent-Length: 1000\r\n\r\n{{"
        ).encode()
    port = int(env.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=15) as sender:
        sender.sendall(sent)
        begun = time.monotonic()
        answer = b""
        while piece := sender.recv(4096):
            answer += piece
        assert time.monotonic() - begun < 6
    assert answer == b"" or b"408" in answer.partition(b"\r\n")[0]


def test_after_all_this_the_account_still_adds_up(env: Environment) -> None:
    assert post(env, batch(sale(4000)))[1]["accepted"] == 1
    until(lambda: env.ledger()["waiting"] == 0, "the backlog to drain")
    ledger = env.ledger()
    assert ledger["accepted"] == ledger["delivered"] + ledger["dead_lettered"]
    assert ledger["accepted"] > 0
