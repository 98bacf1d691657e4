"""Malformed requests and hostile upload tags, with real processes: no log line, metric, alert or file quotes them."""

from __future__ import annotations

import re
import socket
import urllib.request
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import orjson
import pytest

from tests.e2e.environment import EVENT_SET, WRITE_KEY, Environment, sale, until
from tests.e2e.test_reload import Webhook
from tests.telemetry.log_records import unsafe_characters

MARKER = b"jane.doe@example.com"
REQUESTS = 1000
TEXT_LINE = re.compile(r"\d\d:\d\d:\d\d (info|warning|error) |    \| ")


def malformed(random: Random) -> bytes:
    """A request that is not valid HTTP and contains the marker and the write key."""
    content = MARKER + random.randbytes(random.randrange(8)) + WRITE_KEY.encode()
    head = b"POST /v1/batch HTTP/1.1\r\nHost: a\r\n"
    return random.choice(
        [
            head + b"Transfer-Encoding: chunked\r\n\r\n" + content + b"\r\n",
            head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello" + content + b"\r\n",
            head + b"X\x01" + content + b": 1\r\n\r\n",
            head + b"X: \x00" + content + b"\r\n\r\n",
            head + b"Content-Length: 1\r\n\r\n{" + content + b"\r\n\r\n",
            head + b"Content-Length: " + content + b"\r\n\r\n",
            b"POST /" + content + b" HTTP/9.9\r\n\r\n",
            b"\x00" + content + b" / HTTP/1.1\r\n\r\n",
            head
            + b"Authorization: Basic "
            + content
            + b"\r\nContent-Encoding: gzip\r\nContent-Length: 40\r\n\r\n"
            + content,
            random.randbytes(20) + content + b"\r\n\r\n",
        ]
    )


def send(url: str, request: bytes) -> None:
    """Send bytes on a connection of their own, and read the response to its end."""
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
        except ConnectionError:
            pass  # closed by the gateway


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return bytes(response.read()).decode()


@pytest.mark.parametrize("format_", ["json", "text"])
def test_a_malformed_request_is_quoted_in_no_log_metric_or_file(tmp_path: Path, format_: str) -> None:
    random = Random(format_)
    with Environment(tmp_path, settings=f'[logging]\nformat = "{format_}"') as env, env.start() as running:
        for _ in range(REQUESTS):
            send(env.url, malformed(random))
        assert env.track(sale(1))[0] == 200
        shown = read(f"{env.admin}/metrics") + read(f"{env.admin}/status")
        running.stop()
    written = b"".join(
        path.read_bytes() for path in tmp_path.rglob("*") if path.name != "gateway.toml" and path.is_file()
    )
    for content in (MARKER, WRITE_KEY.encode()):
        assert content not in written
        assert content not in shown.encode()
    log = running.log.read_text()
    assert "Traceback" not in log
    assert_well_formed(log, format_)


@pytest.mark.parametrize("format_", ["json", "text"])
def test_an_upload_tag_is_in_no_log_metric_or_alert_and_forges_no_line(tmp_path: Path, format_: str) -> None:
    tag = f"{MARKER.decode()}\n12:00:00 error   forged\x1b[2J\u202e"
    with (
        Webhook([]) as webhook,
        Environment(tmp_path, settings=f'[logging]\nformat = "{format_}"\n[alerts]\nwebhook = "{webhook.url}"') as env,
        env.start() as running,
    ):
        env.faults({"status": 400, "code": 100, "subcode": 33, "event_set": EVENT_SET})
        event = sale(1)
        event["properties"]["upload_tag"] = tag
        assert env.track(event)[0] == 200
        until(lambda: len(webhook.received) == 1, "the alert")
        metrics = read(f"{env.admin}/metrics")
        running.stop()
    (alert,) = webhook.received
    log = running.log.read_text()
    for shown in (metrics, log, str(alert)):
        assert MARKER.decode() not in shown
        assert "forged" not in shown
        assert alert["tag_hash"] in shown
    assert "Meta does not know the ID or the token has no access to it (100/33)" in alert["text"]
    assert "Check the ID and the token." in alert["text"]
    assert_well_formed(log, format_)


def assert_well_formed(log: str, format_: str) -> None:
    for line in log.removesuffix("\n").split("\n"):
        assert not unsafe_characters(line)
        if format_ == "json":
            assert "message" in orjson.loads(line)
        else:
            assert TEXT_LINE.match(line), line
