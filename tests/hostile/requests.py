"""Requests that attackers send: valid ones, malformed ones with a marker, and random ones from a seed."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from gateway.model import JsonObject

MARKER = b"jane.roe+7f3a@example.com"
"""Content that no log, metric or file may show."""
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Target(NamedTuple):
    """Where an attack goes, and the write key that it has; empty: none."""

    host: str
    port: int
    write_key: str = ""

    @classmethod
    def of(cls, url: str, write_key: str = "") -> Target:
        address = urlsplit(url)
        return cls(address.hostname or "", address.port or 80, write_key)

    def head(self, length: int | None, path: str = "/v1/batch", **headers: str) -> bytes:
        """The head of a POST. Without a length, the body is chunked."""
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines.append("Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}")
        if self.write_key:
            lines.append("Authorization: Basic " + b64encode(f"{self.write_key}:".encode()).decode())
        return "\r\n".join([*lines, "", ""]).encode()

    def post(self, body: bytes, path: str = "/v1/batch", **headers: str) -> bytes:
        return self.head(len(body), path, **headers) + body

    def gzip(self, body: bytes) -> bytes:
        return self.post(gzip.compress(body, 6), Content_Encoding="gzip")

    def connect(self, receive_buffer: int | None = None) -> socket.socket:
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(10)
        connection.connect((self.host, self.port))
        return connection


class Response(NamedTuple):
    """One response; status 0: the connection ended before it."""

    status: int
    body: JsonObject


def content_length(head: bytes) -> int:
    """The length of the body that a head announces; 0 if it announces none."""
    lines = head.lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


def parse_response(received: bytes) -> Response | None:
    """The first response in these bytes; None while it is incomplete."""
    head, end, body = received.partition(b"\r\n\r\n")
    length = content_length(head)
    if not end or len(body) < length:
        return None
    return Response(int(head[9:12]), json.loads(body[:length]) if length else {})


def read_response(connection: socket.socket) -> Response:
    """Read one response."""
    received = b""
    while (response := parse_response(received)) is None:
        try:
            more = connection.recv(65536)
        except ConnectionError:
            more = b""
        if not more:
            return Response(0, {})
        received += more
    return response


def exchange(target: Target, request: bytes) -> Response:
    """Send a request on a connection of its own, and read the response."""
    with target.connect() as connection:
        with contextlib.suppress(ConnectionError):  # refused while it is sent: the response may be there all the same
            connection.sendall(request)
        return read_response(connection)


def read_all(target: Target, request: bytes) -> bytes:
    """Send bytes on a connection of their own, and read all that comes back within two seconds."""
    received = b""
    with target.connect() as connection:
        connection.settimeout(2)
        try:
            connection.sendall(request)
            while more := connection.recv(65536):
                received += more
                if b"\r\n\r\n" in received and b"Connection: close" not in received:
                    connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    return received


def sale(number: int, **properties: Any) -> JsonObject:
    """A purchase that the settings of `tests.e2e.environment` accept."""
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"hostile-{number}",
        "originalTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60)),
        "properties": {"order_id": f"hostile-{number}", "total": 1, "currency": "EUR", **properties},
        "context": {"traits": {"email": f"hostile{number}@example.com"}},
    }


def batch(*events: object, **envelope: object) -> bytes:
    return json.dumps({"batch": events, **envelope}).encode()


EMPTY_OBJECTS = b'{"batch":[' + b"{}," * 1_390_000 + b"{}]}"


def nested(levels: int, **values: object) -> JsonObject:
    tree: JsonObject = {}
    for _ in range(levels):
        tree = {"a": tree}
    return {"deep": tree, **values}


def many_keys(count: int) -> JsonObject:
    return {f"key{number:x}": number for number in range(count)}


def malformed(random: Random, marker: bytes = MARKER) -> bytes:
    """A request that is not valid HTTP, or not a valid request, and contains the marker."""
    noise = random.randbytes(random.randrange(12))
    content = noise[: len(noise) // 2] + marker + noise[len(noise) // 2 :]
    head = b"POST /v1/batch HTTP/1.1\r\nHost: a\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    control = bytes([random.choice([*range(1, 9), 11, 12, *range(14, 32), 127, 0])])
    kinds: list[Callable[[], bytes]] = [
        lambda: chunked + content + b"\r\n\r\n",
        lambda: chunked + b"5\r\n{" + content + b"\r\n0\r\n\r\n",
        lambda: chunked + b"5\r\nhello\r\n" + content + b"\r\n",
        lambda: chunked + b"-1\r\n" + content + b"\r\n0\r\n\r\n",
        lambda: head + b"X" + control + content + b": 1\r\n\r\n",
        lambda: head + b"X: " + control + content + b"\r\n\r\n",
        lambda: head + content + b"\r\n\r\n",
        lambda: head + b"Content-Length: 1\r\n\r\n{" + content + b"\r\n\r\n",
        lambda: head + b"Content-Length: " + content + b"\r\n\r\n",
        lambda: head + b"Content-Length: 1\r\nContent-Length: 2\r\nX: " + marker + b"\r\n\r\n{}",
        lambda: head + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + content,
        lambda: head + b"Transfer-Encoding: " + marker + b"\r\n\r\n" + content,
        lambda: b"POST /v1/batch HTTP/" + content + b"\r\n\r\n",
        lambda: b"POST /" + marker + b" HTTP/9.9\r\n\r\n",
        lambda: b"POST /v1/" + content + b" HTTP/1.1\r\n\r\n",
        lambda: content + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
        lambda: b"GET http://[" + marker + b"/ HTTP/1.1\r\nHost: a\r\n\r\n",
        lambda: b"GET /%" + marker + b"%ff?" + content + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        lambda: head + b"Authorization: Basic " + content + b"\r\nContent-Length: 0\r\n\r\n",
        lambda: head + b"Content-Encoding: " + marker + b"\r\nContent-Length: 2\r\n\r\n{}",
        lambda: (
            head + b"Content-Encoding: gzip\r\nContent-Length: 30\r\n\r\n" + (b"\x1f\x8b" + content + bytes(30))[:30]
        ),
        lambda: head + b"X: " + marker * 400 + b"\r\n\r\n",
        lambda: head + b"".join(b"X%d: " % line + marker * 40 + b"\r\n" for line in range(60)) + b"\r\n",
        lambda: Target("a", 80).post(b'{"batch":[' + content + b"]}"),
        lambda: Target("a", 80).post(b'{"writeKey":"' + marker + b'","batch":[{}]}'),
        lambda: Target("a", 80).post(b'["' + marker + b'\\ud800"]'),
        lambda: b"\x16\x03\x01" + content + b"\r\n\r\n",
        lambda: random.randbytes(random.randrange(40)) + content + b"\r\n\r\n",
    ]
    return random.choice(kinds)()


def mutated(random: Random, request: bytes) -> bytes:
    """A request with a few random changes of its bytes."""
    changed = bytearray(request)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(changed) + 1)
        length = random.choice([1, 1, 1, 2, 4, 16])
        match random.randrange(6):
            case 0:
                changed[at : at + length] = random.randbytes(length)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = random.randbytes(length)
            case 3:
                changed[at:at] = random.choice(
                    [b"\r\n", b"\r\n\r\n", b"\n", b"\0", b":", b" ", b'"', b"}", b"]", b"\xff"]
                )
            case 4:
                start = random.randrange(len(changed) + 1)
                changed[at:at] = changed[start : start + random.randrange(64)]
            case _:
                del changed[len(changed) - random.randrange(len(changed)) // 2 :]
                if not changed:
                    return b"\r\n\r\n"
    return bytes(changed)


_TEXTS = (
    *(
        "",
        " ",
        "a@b.co",
        "+15551234567",
        "x" * 300,
        "\0",
        "\u202e",
        "é",
        "😀",
        "\ud83d",
        "\n",
        "<script>",
        "NaN",
        "1e999",
    ),
    *(
        "track",
        "Order Completed",
        "EUR",
        "2020-01-01T00:00:00Z",
        "rudderstack",
        "null",
        "' OR 1=1 --",
        "../../etc",
        "{}",
    ),
)
_NAMES = (
    *(
        "type",
        "event",
        "properties",
        "context",
        "traits",
        "email",
        "messageId",
        "products",
        "total",
        "currency",
        "batch",
    ),
    *("integrations", "originalTimestamp", "upload_tag", "userId", "address", "phone", "name", "dataProcessingOptions"),
    *("All", "page", "url", "externalId", "", "__proto__", "é", "a.b", "x"),
)


def random_json(random: Random, depth: int = 0) -> Any:
    """A value with names and texts that the gateway reads, and others."""
    match random.randrange(12 if depth < 5 else 8):
        case 0 | 1 | 2:
            return random.choice(_TEXTS)
        case 3:
            return random.choice([0, 1, -1, 12.5, 2**63, -(2**63), 2**64, 10**400, 1e308, math.inf, math.nan])
        case 4 | 5:
            return random.choice([None, True, False, 1.5, 1700000000])
        case 6 | 7:
            return random.choice([[], {}, [[]], [{}]])
        case 8:
            return [random_json(random, depth + 1) for _ in range(random.randrange(6))]
        case _:
            return {random.choice(_NAMES): random_json(random, depth + 1) for _ in range(random.randrange(8))}


def random_event(random: Random, event: JsonObject) -> Any:
    """The event with some values replaced, or something else."""
    if random.random() < 0.1:
        return random_json(random)
    for _ in range(random.randrange(4)):
        holder: Any = random.choice(
            [event, event, event["properties"], event["context"], event["context"].get("traits")]
        )
        if isinstance(holder, dict):
            holder[random.choice([*holder, *_NAMES])] = random_json(random)
        if not (isinstance(event.get("properties"), dict) and isinstance(event.get("context"), dict)):
            break
    return event


def random_gzip(random: Random, body: bytes) -> bytes:
    """Something like a gzip body: valid, truncated, changed, with a lying trailer, several parts, or a bomb."""
    packed = gzip.compress(body, random.choice([0, 1, 9]))
    match random.randrange(7):
        case 0:
            return packed
        case 1:
            return packed[: random.randrange(len(packed))]
        case 2:
            return packed[:-4] + random.randbytes(4)
        case 3:
            return packed + random.choice([packed, b"\0" * 8, random.randbytes(8)])
        case 4:
            return gzip.compress(b"[" + b" " * random.randrange(20_000_000) + b"]", 1)
        case 5:
            return gzip.compress(packed)
        case _:
            return mutated(random, packed)
