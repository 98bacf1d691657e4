"""Finds the source of a request by its write key: in the Authorization header, or in the body."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from gateway.ingest.decode import BadRequest
from gateway.ingest.events import Source

MAX_CACHED_HEADERS = 4096
"""Authorization headers for which the source is cached."""
MAX_CACHED_HEADER = 1024
"""Characters of a header that is cached."""

_WRITE_KEY = re.compile(rb'"writeKey"\s*:\s*"([^"\\]{1,256})"').finditer


class Authenticator:
    """The write keys of all sources."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        """`sources` by write key."""
        self._sources = sources
        self._by_header: dict[str, Source | None] = {}

    def reload(self, sources: Mapping[str, Source]) -> None:
        """Use other sources from the next request on."""
        self._sources = sources
        self._by_header.clear()

    def by_header(self, header: str | None) -> Source | None:
        """The source of an Authorization header; None without a header. Raises `BadRequest`. Runs once a request."""
        if header is None:
            return None
        cache = self._by_header
        if header in cache:
            source = cache[header]
        else:
            source = self._sources.get(_user_name(header))
            if len(cache) >= MAX_CACHED_HEADERS:
                cache.clear()
            if len(header) <= MAX_CACHED_HEADER:
                cache[header] = source
        if source is None:
            message = "The write key in the Authorization header is unknown. Use the write key of a configured source."
            raise BadRequest(401, "unknown_write_key", message)
        return source

    def by_body(self, key: Any) -> Source:
        """The source of the body's `writeKey`. Raises `BadRequest`."""
        if key.__class__ is not str or not key:
            message = (
                "The write key is missing. Send it as the user name of Basic authentication, or as `writeKey` in the "
                "body."
            )
            raise BadRequest(401, "no_write_key", message)
        source = self._sources.get(key)
        if source is None:
            message = "The `writeKey` in the body is unknown. Use the write key of a configured source."
            raise BadRequest(401, "unknown_write_key", message)
        return source

    def is_named_in(self, beginning: bytes) -> bool:
        """Whether the beginning of a JSON body contains the write key of a source.

        It only decides whether the rest of the body is read. `by_body` decides about the complete body.
        """
        return any(match[1].decode(errors="replace") in self._sources for match in _WRITE_KEY(beginning))


def _user_name(header: str) -> str:
    """The user name of a Basic authentication header; "" (never a write key) for any other header."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        with suppress(binascii.Error, UnicodeDecodeError, ValueError):
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[0]
    return ""
