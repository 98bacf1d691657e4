"""From the bytes of a request to JSON, within bounds. Pure but for the thread that a large, odd body gets."""

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
"""Levels of a batch around its events."""
MAX_NUMBER_DIGITS = 400
"""Digits of a number that are read; a longer one counts as null."""


class BadRequest(GatewayError):
    """The request cannot be taken as it is. `code` is stable."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def unzip(body: bytes, max_bytes: int) -> bytes:
    """A gzip body, expanded to at most so many bytes; a bomb is refused at that size, not after it.

    Raises `BadRequest`.
    """
    inflate = zlib.decompressobj(wbits=31)
    try:
        expanded = inflate.decompress(body, max_bytes + 1)
    except zlib.error:
        raise BadRequest(400, "invalid_gzip", "The body is not gzip, though Content-Encoding says so.") from None
    if len(expanded) > max_bytes:
        raise request_too_large(max_bytes)
    if not inflate.eof:
        raise BadRequest(400, "invalid_gzip", "The gzip body ends too early; send it again, whole.")
    return expanded


def request_too_large(max_bytes: int) -> BadRequest:
    """The refusal of a body above the limit."""
    return BadRequest(
        413, "request_too_large", f"A request may have {max_bytes} bytes after decompression. Send smaller batches."
    )


def decode(body: bytes) -> Any:
    """JSON as the senders write it. Raises `BadRequest`.

    Strict JSON takes the fast way. SDKs also write `NaN` and infinities (they count as null), a byte order mark, half a
    surrogate pair (such a text counts as null), numbers beyond any range; those take a patient one.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _decode_leniently(body)


def _decode_leniently(body: bytes) -> Any:
    try:
        text = body.removeprefix(BOM).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(400, "invalid_json", f"The body is not UTF-8 text (byte {error.start}).") from None
    try:
        tree = json.loads(text, parse_constant=lambda _: None, parse_float=_float, parse_int=_int)
        return make_encodable(tree, -ENVELOPE_LEVELS) if SURROGATE_ESCAPE(text) else tree
    except json.JSONDecodeError as error:
        message = f"The body is not JSON: {error.msg} at character {error.pos}."
        raise BadRequest(400, "invalid_json", message) from None
    except RecursionError:
        raise BadRequest(400, "invalid_json", "The body is nested too deeply.") from None


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
