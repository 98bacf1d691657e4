"""Decodes request bodies: decompression with a size limit, and JSON as SDKs write it. Pure."""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any, NamedTuple

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
MAX_CONTAINERS = 100_000
"""Objects and lists in a body. A batch of 2,500 sales with ten products each has about 50,000; decoding 100,000 takes
some 50 ms."""
MAX_VALUES = 400_000
"""Values in a body. A batch of 2,500 sales with ten products each has about 250,000; decoding 400,000 takes some
40 ms."""
MAX_LENIENT_BYTES = 256 * 1024
"""Largest body that is parsed leniently. The lenient parser takes some 30 ms for it, in one piece."""
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


def unzip(body: bytes, size: int, max_bytes: int) -> bytes:
    """Decompress a gzip body that expands to `size` bytes. Raises `BadRequest` when it does not.

    Decompression stops at that size, so a zip bomb does not fill the memory.
    """
    decompressor = zlib.decompressobj(wbits=31)
    try:
        expanded = decompressor.decompress(body, size + 1)
    except zlib.error:
        raise _invalid_gzip() from None
    if len(expanded) > max_bytes:
        raise request_too_large(max_bytes)
    if not decompressor.eof or len(expanded) != size or decompressor.unused_data:
        raise BadRequest(400, "invalid_gzip", "The gzip body is truncated or has more than one part. Send it again.")
    return expanded


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


class Complexity(NamedTuple):
    """What a JSON text costs to decode and to map. Upper bounds, from counts of characters."""

    values: int
    containers: int
    """Objects and lists; they are values too."""
    memory: int
    """Bytes that the text takes when it is decoded."""


def complexity_of(body: bytes) -> Complexity:
    """Estimate what a JSON text costs. Raises `BadRequest` for one that would block the event loop for too long.

    Measured with CPython 3.11: of text, a character takes up to 4 bytes, also those of one byte in JSON; beside that a
    text, a number or a name takes up to 96 bytes. Its place takes up to 9 bytes in a list, and 112 in an object, also
    while that grows. An object itself takes up to 232 bytes, and a list up to 88.
    """
    objects, lists, names = body.count(b"{"), body.count(b"["), body.count(b":")
    containers = objects + lists
    values = 1 + containers + body.count(b",")
    if containers > MAX_CONTAINERS:
        raise _too_complex(containers, MAX_CONTAINERS, "objects and lists")
    if values > MAX_VALUES:
        raise _too_complex(values, MAX_VALUES, "values")
    memory = 4 * len(body) + 105 * values + 208 * names + 232 * objects + 88 * lists
    return Complexity(values, containers, memory)


def _too_complex(found: int, limit: int, of: str) -> BadRequest:
    message = f"The body has {found} {of}; at most {limit} are allowed. Send smaller batches."
    return BadRequest(413, "request_too_large", message)


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
    float, and strings with an unpaired surrogate. It takes bodies up to `MAX_LENIENT_BYTES`.
    """
    if len(body) > MAX_LENIENT_BYTES:
        message = (
            f"The body is not strict JSON: {error.msg} at byte {error.pos}. Bodies above {MAX_LENIENT_BYTES} bytes "
            "have to be: send smaller batches, or leave out NaN, infinities and unpaired surrogates."
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
