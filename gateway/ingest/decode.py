"""Decodes request bodies: decompression with a size limit, and JSON as SDKs write it. Pure."""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any

import orjson

from gateway.mapping import make_encodable
from gateway.model import GatewayError

BOM = b"\xef\xbb\xbf"
SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]").search
ENVELOPE_LEVELS = 2
"""JSON levels of a batch request above its events."""
MAX_NUMBER_DIGITS = 400
"""Longest number that is parsed; a longer one becomes null."""


class BadRequest(GatewayError):
    """The request is refused. `code` is stable; the message says what is wrong and what the sender has to do."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def unzip(body: bytes, max_bytes: int) -> bytes:
    """Decompress a gzip body. Decompression stops at `max_bytes`, so a zip bomb does not fill the memory.

    Raises `BadRequest`.
    """
    decompressor = zlib.decompressobj(wbits=31)
    try:
        expanded = decompressor.decompress(body, max_bytes + 1)
    except zlib.error:
        raise BadRequest(
            400, "invalid_gzip", "The body is not valid gzip. Compress it with gzip or remove Content-Encoding."
        ) from None
    if len(expanded) > max_bytes:
        raise request_too_large(max_bytes)
    if not decompressor.eof:
        raise BadRequest(400, "invalid_gzip", "The gzip body is truncated. Send the complete body again.")
    return expanded


def request_too_large(max_bytes: int) -> BadRequest:
    """The error for a body above the limit."""
    return BadRequest(
        413, "request_too_large", f"The request is larger than {max_bytes} bytes (uncompressed). Send smaller batches."
    )


def decode(body: bytes) -> Any:
    """Parse JSON as SDKs write it. Raises `BadRequest`.

    Strict JSON takes the fast path. The slow path also accepts a byte order mark, and reads these as null: `NaN` and
    infinities, numbers beyond the range of a float, and strings with an unpaired surrogate.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> Any:
    try:
        text = body.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        message = f"The body is not UTF-8 text (invalid byte at position {error.start}). Encode it as UTF-8."
        raise BadRequest(400, "invalid_json", message) from None
    try:
        document = json.loads(text, parse_constant=lambda _: None, parse_float=_float, parse_int=_int)
        return make_encodable(document, -ENVELOPE_LEVELS) if SURROGATE_ESCAPE(text) else document
    except json.JSONDecodeError as error:
        message = f"The body is not valid JSON: {error.msg} at character {error.pos}. Send a JSON object."
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
