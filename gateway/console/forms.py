"""Reads the form that a request carries."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import parse_qsl

from aiohttp import web

from gateway.admin.dead_letters import BadQuery

MAX_FORM_BYTES = 256 * 1024
"""Of the encoded form: an event of the playground with `%` escapes is up to three times its size."""
MAX_FIELDS = 50
READ_TIMEOUT = 10.0
"""Seconds."""


async def read_form(request: web.BaseRequest) -> Mapping[str, str]:
    """The fields of an `application/x-www-form-urlencoded` body; empty without a body. Raises `BadQuery`."""
    if not request.body_exists:
        return {}
    if request.content_type != "application/x-www-form-urlencoded":
        raise BadQuery("The form must be sent as `application/x-www-form-urlencoded`.")
    if request.content_length is None or request.content_length > MAX_FORM_BYTES:
        raise BadQuery(f"The form must have a `Content-Length` of at most {MAX_FORM_BYTES:,} bytes.")
    try:
        async with asyncio.timeout(READ_TIMEOUT):
            body = await request.read()
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except TimeoutError:
        raise BadQuery(f"The form did not arrive within {READ_TIMEOUT:g} seconds.") from None
    except ValueError:
        raise BadQuery("The form is not valid: it must be UTF-8 text, with few fields.") from None
    return dict(fields)
