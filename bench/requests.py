"""HTTP requests that are encoded before a measurement starts and get new message IDs each time they are sent.

The gateway accepts a message ID once. If requests were repeated unchanged, a benchmark would measure deduplication.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

ID_PREFIX = re.compile(rb'"messageId":"([0-9a-f]{8})-')
"""The part of a message ID that is replaced: its first eight digits. The rest differs between events of a request."""
PREFIX_DIGITS = 8


class Requests:
    """A list of encoded requests that is sent cyclically.

    With `renews_ids`, each send gets its own message IDs. Without, every request may be sent only once.
    """

    def __init__(self, payloads: Sequence[bytes], *, renews_ids: bool = True) -> None:
        self.renews_ids = renews_ids
        self._payloads = [bytearray(payload) for payload in payloads]
        self._id_offsets = (
            [[match.start(1) for match in ID_PREFIX.finditer(payload)] for payload in payloads] if renews_ids else []
        )

    def __len__(self) -> int:
        return len(self._payloads)

    def payload(self, number: int, send_number: int) -> bytes:
        """Return request `number` modulo the length, with `send_number` written into its message IDs.

        Runs once per request: 6 us for 100 events.
        """
        index = number % len(self._payloads)
        payload = self._payloads[index]
        if self.renews_ids:
            prefix = b"%08x" % send_number
            for start in self._id_offsets[index]:
                payload[start : start + PREFIX_DIGITS] = prefix
        return bytes(payload)

    def write(self, path: Path) -> None:
        """Write the requests to a file, for another process."""
        header = orjson.dumps(
            {"renews_ids": self.renews_ids, "lengths": [len(payload) for payload in self._payloads]},
        )
        path.write_bytes(b"".join((header, b"\n", *self._payloads)))

    @classmethod
    def read(cls, path: Path) -> Requests:
        """Read a file that `write` wrote."""
        line, _, joined = path.read_bytes().partition(b"\n")
        header = orjson.loads(line)
        return cls(list(_split(joined, header["lengths"])), renews_ids=header["renews_ids"])


def encode_request(path: str, body: bytes, authorization: str, encoding: str = "") -> bytes:
    """Encode one HTTP/1.1 POST request. `authorization` and `encoding` may be empty."""
    encoding_header = f"Content-Encoding: {encoding}\r\n" if encoding else ""
    authorization_header = f"Authorization: {authorization}\r\n" if authorization else ""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\n{authorization_header}{encoding_header}"
        f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"
    )
    return head.encode() + body


def _split(joined: bytes, lengths: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for length in lengths:
        yield joined[start : start + length]
        start += length
