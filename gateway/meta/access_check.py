"""The requests that check what an access token may do, and how the responses are read. Pure.

The token is in a header, and no text of Meta is used: it may quote the token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import orjson

from gateway.config import DestinationSettings
from gateway.meta.request import GraphRequest, read_request

MAX_PERMISSIONS = 200


def permissions_request(destination: DestinationSettings, token: str) -> GraphRequest:
    """Asks for the permissions of the token (Meta: permissions of a user)."""
    return read_request(destination, "me/permissions", {}, token)


def dataset_request(destination: DestinationSettings, event_set: str, token: str) -> GraphRequest:
    """Asks whether the token can see a dataset."""
    return read_request(destination, quote(event_set, safe=""), {"fields": "id"}, token)


def read_permissions(body: bytes) -> Sequence[str] | None:
    """The granted permissions in a response; None if it has no list of permissions."""
    data = _object(body).get("data")
    if not isinstance(data, list):
        return None
    entries = [entry for entry in data[:MAX_PERMISSIONS] if isinstance(entry, dict)]
    return [str(entry.get("permission")) for entry in entries if entry.get("status") == "granted"]


def is_dataset(body: bytes, event_set: str) -> bool:
    """Whether a response describes this dataset."""
    return str(_object(body).get("id")) == event_set


def _object(body: bytes) -> dict[str, Any]:
    try:
        response = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return response if isinstance(response, dict) else {}
