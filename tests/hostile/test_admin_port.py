"""The admin port of a real gateway: web pages, malformed requests and odd filters change nothing and log nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest

from gateway.config.settings import SpoolSettings
from gateway.model import DeadLetter, JsonObject, Lane, Stage
from gateway.spool import create_spool, spool_file
from tests.e2e.environment import EVENT_SET, Environment, get, sale
from tests.e2e.test_operators import gateway, rewrite

MARKER = b"jane.doe.4711@example.com"
TOKEN = "admin-token-that-no-log-may-show"
LETTERS = 6


def letters() -> list[DeadLetter]:
    """Dead letters whose events are valid, missing, not UTF-8, and of a destination that does not exist."""
    now = time.time() - 30
    event = {
        "event_name": "Purchase",
        "event_time": int(now),
        "action_source": "physical_store",
        "user_data": {"em": [sha256(b"customer@example.com").hexdigest()]},
        "custom_data": {"currency": "USD", "value": 1.0},
    }
    lane = Lane("store", EVENT_SET, "tag")
    valid = DeadLetter(
        Stage.UPLOAD,
        "event_refused",
        "Meta refused the event",
        "store",
        None,
        lane,
        now,
        1,
        None,
        json.dumps(event).encode(),
    )

    return [
        valid,
        replace(valid, event=None),
        replace(valid, event=b'{"name":"\xff"}'),
        replace(valid, destination="gone", lane=Lane("gone", "7", "tag")),
        replace(valid, stage=Stage.MAPPING, source="shop", lane=None, event=b'{"type":"track"}'),
        replace(valid, stage=Stage.EXPIRED, event=b'{"event_time":5}'),
    ]


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def env(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Environment]:
    """A gateway with `LETTERS` dead letters in its spool."""
    with Environment(tmp_path, server=f"workers = {request.param}") as env:
        spool_settings = SpoolSettings(path=str(env.folder / "spool"))

        async def fill() -> None:
            spool = create_spool(spool_settings, time.time, request.param - 1)
            await spool.open()
            await spool.append([], letters())
            await spool.close()

        (env.folder / "spool").mkdir(mode=0o700, exist_ok=True)
        asyncio.run(fill())
        assert spool_file(spool_settings, request.param - 1).exists()
        with env.start() as running:
            yield env
            assert running.process.poll() is None, "the gateway still runs"
            assert "Traceback" not in running.log.read_text()
            running.stop()


def request(env: Environment, method: str, target: str, **headers: str) -> tuple[int, JsonObject]:
    """Send a request with these headers (the names have underscores); status and JSON."""
    address = urlsplit(env.admin)
    with closing(HTTPConnection(address.hostname or "", address.port, timeout=20)) as connection:
        connection.putrequest(method, target, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value.encode())
        connection.endheaders()
        response = connection.getresponse()
        return response.status, json.load(response)


def stored(env: Environment) -> int:
    return len(get(f"{env.admin}/dead-letters?limit=1000")["dead_letters"])


def test_a_web_page_of_another_site_cannot_discard_or_replay_dead_letters(env: Environment) -> None:
    for target in ("/dead-letters/discard", "/dead-letters/replay", "/lanes/resume"):
        for headers in (
            {"Origin": "http://evil.example"},
            {"Origin": "null", "Content_Type": "text/plain"},
            {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
            {"Origin": "http://localhost:3000", "Sec_Fetch_Site": "same-site"},
        ):
            assert request(env, "POST", target, **headers) == (
                403,
                {
                    "code": "cross_site",
                    "message": "A web page of another site must not change anything. "
                    "Send the request without a browser.",
                },
            )
    assert stored(env) == LETTERS


def test_a_web_page_whose_name_resolves_to_a_loopback_address_reads_and_changes_nothing(env: Environment) -> None:
    port = urlsplit(env.admin).port
    rebound = {"Host": f"evil.example:{port}", "Origin": f"http://evil.example:{port}", "Sec_Fetch_Site": "same-origin"}
    for method, target in (
        *(("POST", "/dead-letters/discard"), ("POST", "/dead-letters/replay"), ("POST", "/lanes/resume")),
        *(("GET", "/dead-letters"), ("GET", "/status"), ("GET", "/metrics")),
    ):
        status, body = request(env, method, target, **rebound)
        assert (status, body["code"]) == (403, "host_not_allowed")
        assert "admin.hosts" in body["message"]
    assert stored(env) == LETTERS


def test_a_filter_that_is_no_finite_number_discards_nothing(env: Environment) -> None:
    for query in ("since=nan", "until=inf", "since=-inf", "until=1e300", "since=1&since=nan", "limit=1", "code="):
        for action in ("discard", "replay"):
            status, body = request(env, "POST", f"/dead-letters/{action}?{query}")
            assert (status, body["code"]) == (400, "bad_query"), query
    assert stored(env) == LETTERS


def test_a_replay_that_keeps_dead_letters_is_200_and_its_json_has_the_reasons(env: Environment) -> None:
    listed = get(f"{env.admin}/dead-letters")
    assert [letter["event"] is None for letter in listed["dead_letters"]] == [False, True, *[False] * 4]
    assert listed["dead_letters"][2]["event"] == '{"name":"\\xff"}'
    status, body = request(env, "POST", "/dead-letters/replay")
    assert (status, body) == (
        200,
        {
            "letters": 1,
            "events": 1,
            "kept": {"no_event": 2, "no_destination": 1, "missing_event_name": 1, "expired": 1},
        },
    )
    replayed = gateway(env, "dead-letters", "replay", "--all", "--url", env.admin)
    assert replayed.returncode == 1
    assert replayed.stdout.splitlines()[0] == "replayed 0 dead letters as 0 events; 5 not replayed"
    discarded = gateway(env, "dead-letters", "discard", "--all", "--yes", "--url", env.admin)
    assert discarded.stdout == "discarded 5 dead letters\n", discarded.stderr
    assert stored(env) == 0


def malformed(random: Random) -> bytes:
    head = b"GET /status HTTP/1.1\r\nHost: localhost\r\n"
    content = MARKER + random.randbytes(random.randrange(6))
    return random.choice(
        [
            content + b"\r\n\r\n",
            b"GET /" + content + b" HTTP/9.9\r\n\r\n",
            head + content + b"\x00: 1\r\n\r\n",
            head + b"Authorization: Bearer " + content + b"\xff\r\n\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\n" + content + b"\r\n",
            head + b"Content-Length: 5\r\n\r\nabcde" + content + b"\r\n\r\n",
            head + b"Content-Length: -" + content + b"\r\n\r\n",
            b"POST /dead-letters/discard?code=" + content + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /dead-letters?" + content + b"&since=nan HTTP/1.1\r\nHost: " + content + b"\r\n\r\n",
        ]
    )


def test_a_malformed_request_is_quoted_in_no_log_and_no_metric(env: Environment) -> None:
    random = Random(16)
    address = urlsplit(env.admin)
    for _ in range(300):
        with socket.create_connection((address.hostname, address.port or 0), timeout=10) as connection:
            connection.sendall(malformed(random))
            connection.shutdown(socket.SHUT_WR)
            try:
                while connection.recv(65536):
                    pass
            except ConnectionError:
                pass  # closed by the gateway
    assert env.gateway is not None
    assert MARKER not in env.gateway.log.read_bytes()
    assert stored(env) == LETTERS


def test_many_silent_connections_do_not_keep_an_operator_out(env: Environment) -> None:
    address = urlsplit(env.admin)
    silent = [socket.create_connection((address.hostname, address.port or 0), timeout=10) for _ in range(300)]
    for connection in silent[::2]:
        connection.sendall(b"GET /status HTTP/1.1\r\nHost: local")
    assert env.status()["ready"]
    assert env.track(sale(1))[0] == 200
    for connection in silent:
        connection.close()


def test_a_wrong_or_malformed_token_is_401_without_a_traceback(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        rewrite(env, "[admin]\n", f'[admin]\ntoken = "{TOKEN}"\n')
        with env.start() as running:
            for authorization in (
                TOKEN,
                f"Basic {TOKEN}",
                "Bearer tökén",
                "Bearer \udcff",
                f"Bearer {TOKEN}é",
                "Bearer",
            ):
                header = authorization.encode(errors="surrogateescape").decode("latin-1")
                status, body = request(env, "GET", "/status", Authorization=header)
                assert (status, body["code"]) == (401, "unauthorized"), authorization
            assert request(env, "GET", "/status", Authorization=f"Bearer {TOKEN}")[0] == 200
            log = running.log.read_text()
            assert "Traceback" not in log
            assert TOKEN not in log
            running.stop()
