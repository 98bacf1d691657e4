"""Builds the requests that upload events to Meta's Graph API.

The access token and the events are in the body or in a header, never in the URL.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

import orjson

from gateway.config import DestinationSettings, TokenPlace
from gateway.model import Lane


@dataclass(frozen=True, slots=True)
class GraphRequest:
    """A request, ready to be sent. Its `repr` shows only the URL and the method."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = "POST"


def read_request(destination: DestinationSettings, path: str, query: Mapping[str, str], token: str) -> GraphRequest:
    """A request that reads an object. The token is in a header, never in the URL."""
    upload = destination.upload
    parameters = urlencode({**query, **_appsecret_proof(destination, token)})
    url = f"{upload.graph_url}/{upload.graph_version}/{path}"
    headers = {"Authorization": f"Bearer {token}"}
    return GraphRequest(f"{url}?{parameters}" if parameters else url, headers, b"", "GET")


def _appsecret_proof(destination: DestinationSettings, token: str) -> Mapping[str, str]:
    """The field that proves that the caller has the app's secret; none if the settings have no secret."""
    if destination.app_secret is None:
        return {}
    secret = destination.app_secret.reveal().encode()
    return {"appsecret_proof": hmac.new(secret, token.encode(), hashlib.sha256).hexdigest()}


class RequestBuilder:
    """Builds the upload requests of one destination. The parts that do not change are prepared once."""

    def __init__(self, destination: DestinationSettings) -> None:
        self._destination = destination
        upload = destination.upload
        self._base = f"{upload.graph_url}/{upload.graph_version}/"
        optional = {"partner_agent": destination.partner_agent, "test_event_code": destination.test_event_code}
        self._fixed_fields = {key: value for key, value in optional.items() if value is not None}

    def build(self, lane: Lane, payload: bytes, token: str) -> GraphRequest:
        """The request that uploads `payload`, encoded events joined by `EVENT_SEPARATOR`, to the lane's event set."""
        destination = self._destination
        fields = {"upload_tag": lane.upload_tag, **self._fixed_fields}
        headers = {"Content-Type": "application/json"}
        if destination.upload.token_in is TokenPlace.BEARER:
            headers["Authorization"] = f"Bearer {token}"
        else:
            fields["access_token"] = token
        fields |= _appsecret_proof(destination, token)
        body = b"".join((b'{"data":[', payload, b"],", orjson.dumps(fields)[1:]))
        return GraphRequest(f"{self._base}{quote(lane.event_set, safe='')}/events", headers, body)
