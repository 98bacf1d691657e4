"""Decodes request bodies: decompression with a size limit, and JSON as SDKs write it. Pure."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.mapping import make_encodable
from gateway.model import GatewayError

BOM = b"\xef\xbb\xbf"
SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]").search
ENVELOPE_LEVELS = 2
"""JSON levels of a batch request above its events."""
GZIP_MAGIC = b"\x1f\x8b"
MIN_GZIP_BYTES = 18
"""Header and trailer of a gzip body (RFC 1952)."""
UNZIP_BYTES = 256 * 1024
"""Bytes that are decompressed at once; this takes up to 2 ms."""
MAX_CONTAINERS = 100_000
"""Objects and lists in a body. A batch of 2,500 sales with ten products each has about 50,000; decoding 100,000 takes
some 50 ms."""
MAX_VALUES = 300_000
"""Values in a body, of which a full one (4 MiB) has less. Decoding 300,000 takes up to 60 ms."""
MAX_LENIENT_BYTES = 512 * 1024
MAX_LENIENT_VALUES = 50_000
"""Largest body that is parsed leniently. The lenient parser takes up to 60 ms for it, in one piece."""
MAX_NUMBER_DIGITS = 400
"""Longest number that is parsed; a longer one becomes null."""


class BadRequest(GatewayError):
    """The request is refused. `code` is stable; the message says what is wrong and what the sender has to do."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def gzip_size(body: bytes, max_bytes: int) -> int:
    """Bytes that a gzip body expands to, as its trailer says, but at most `max_bytes`. Raises `BadRequest`."""
    if not body.startswith(GZIP_MAGIC) or len(body) < MIN_GZIP_BYTES:
        raise _invalid_gzip()
    return min(int.from_bytes(body[-4:], "little"), max_bytes)


def unzip(body: bytes, size: int, max_bytes: int) -> Iterator[bytes]:
    """Decompress a gzip body that expands to `size` bytes, in pieces. Raises `BadRequest` when it does not.

    Decompression stops at that size, so a zip bomb does not fill the memory.
    """
    decompressor = zlib.decompressobj(wbits=31)
    remaining = size + 1
    while remaining and not decompressor.eof:
        try:
            piece = decompressor.decompress(body, min(remaining, UNZIP_BYTES))
        except zlib.error:
            raise _invalid_gzip() from None
        if not piece:
            break
        remaining -= len(piece)
        body = decompressor.unconsumed_tail
        yield piece
    if size + 1 - remaining > max_bytes:
        raise request_too_large(max_bytes)
    if not decompressor.eof or remaining != 1 or decompressor.unused_data:
        raise BadRequest(400, "invalid_gzip", "The gzip body is truncated or has more than one part. Send it again.")


def unzip_beginning(beginning: bytes, max_bytes: int) -> bytes:
    """What the beginning of a gzip body expands to, at most `max_bytes`. Raises `BadRequest`."""
    try:
        return zlib.decompressobj(wbits=31).decompress(beginning, max_bytes)
    except zlib.error:
        raise _invalid_gzip() from None


def _invalid_gzip() -> BadRequest:
    return BadRequest(
        400, "invalid_gzip", "The body is not valid gzip. Compress it with gzip or remove Content-Encoding."
    )


@dataclass(slots=True)
class Complexity:
    """What a JSON text costs to decode and to map: upper bounds, from counts of characters."""

    size: int = 0
    """Bytes of the text."""
    values: int = 1
    """Objects and lists are values too."""
    objects: int = 0
    lists: int = 0

    def add(self, piece: bytes) -> None:
        """Count the next piece of the text. Raises `BadRequest` when the text would block the event loop too long."""
        objects, lists = piece.count(b"{"), piece.count(b"[")
        self.size += len(piece)
        self.objects += objects
        self.lists += lists
        self.values += objects + lists + piece.count(b",")
        if self.values > MAX_VALUES or self.objects + self.lists > MAX_CONTAINERS:
            message = (
                f"The body has more than {MAX_CONTAINERS} objects and lists, or more than {MAX_VALUES} values. Send "
                "smaller batches."
            )
            raise BadRequest(413, "request_too_large", message)

    @property
    def containers(self) -> int:
        """Objects and lists."""
        return self.objects + self.lists

    @property
    def memory(self) -> int:
        """Bytes that the text takes when it is decoded.

        Measured with CPython 3.11: of text, a character takes up to 4 bytes, also those of one byte in JSON. Beside
        that a value and its name take up to 105 bytes each, and up to 103 more where they are in an object, also while
        that grows. An object itself takes up to 232 bytes, and a list up to 88.
        """
        return 4 * self.size + 313 * self.values + 232 * self.objects + 88 * self.lists


def overloaded() -> BadRequest:
    """The error at the memory limit."""
    message = "The gateway has reached its memory limit (server.max_memory). Send the request again later."
    return BadRequest(429, "overloaded", message)


def request_too_large(max_bytes: int) -> BadRequest:
    """The error for a body above the limit."""
    return BadRequest(
        413, "request_too_large", f"The request is larger than {max_bytes} bytes (uncompressed). Send smaller batches."
    )


def decode(body: bytes) -> Any:
    """Parse JSON as SDKs write it. Raises `BadRequest`."""
    try:
        return decode_strictly(body)
    except orjson.JSONDecodeError as error:
        return decode_leniently(body, error)


def decode_strictly(body: bytes) -> Any:
    """Parse strict JSON, the usual case. Raises `orjson.JSONDecodeError`."""
    return orjson.loads(body)


def decode_leniently(body: bytes, error: orjson.JSONDecodeError) -> Any:
    """Parse JSON for which `decode_strictly` raised `error`. Raises `BadRequest`.

    This accepts a byte order mark, and reads these as null: `NaN` and infinities, numbers beyond the range of a
    float, and strings with an unpaired surrogate. It takes bodies up to `MAX_LENIENT_BYTES` and `MAX_LENIENT_VALUES`.
    """
    complexity = Complexity()
    complexity.add(body)
    if len(body) > MAX_LENIENT_BYTES or complexity.values > MAX_LENIENT_VALUES:
        message = (
            f"The body is not strict JSON: {error.msg} at byte {error.pos}. Bodies above {MAX_LENIENT_BYTES} bytes or "
            f"{MAX_LENIENT_VALUES} values have to be: send smaller batches, or leave out NaN, infinities and unpaired "
            "surrogates."
        )
        raise BadRequest(400, "invalid_json", message)
    try:
        text = body.removeprefix(BOM).decode()
    except UnicodeDecodeError as invalid:
        message = f"The body is not UTF-8 text (invalid byte at position {invalid.start}). Encode it as UTF-8."
        raise BadRequest(400, "invalid_json", message) from None
    try:
        document = json.loads(text, parse_constant=lambda _: None, parse_float=_float, parse_int=_int)
        return make_encodable(document, -ENVELOPE_LEVELS) if SURROGATE_ESCAPE(text) else document
    except json.JSONDecodeError as invalid:
        message = f"The body is not valid JSON: {invalid.msg} at character {invalid.pos}. Send a JSON object."
        raise BadRequest(400, "invalid_json", message) from None
    except RecursionError:
        raise BadRequest(400, "invalid_json", "The JSON is nested too deeply. Send events with fewer levels.") from None


def _float(text: str) -> float | None:
    number = float(text) if len(text) <= MAX_NUMBER_DIGITS else math.inf
    return number if math.isfinite(number) else None


def _int(text: str) -> int | float | None:
    if len(text) < 19:
        return int(text)
    if len(text) > MAX_NUMBER_DIGITS:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**64 else _float(text)
