"""Calls to the Graph API. The only place that knows aiohttp's client, and where a request gets its shape.

A token and whatever is personal stand in the body or a header, never in the URL, and nothing of either is logged.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol
from urllib.parse import quote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
import orjson
from yarl import URL

from gateway.config import DestinationSettings, TokenPlace
from gateway.model import Lane

LONGEST_ANSWER = 2**20
"""Bytes of an answer that are read; Meta's have a few hundred."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request, ready to be sent. Its `repr` shows the URL only."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever it says."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoReply(Exception):
    """No answer came. `in_doubt`: the request may have been taken."""

    def __init__(self, code: str, *, in_doubt: bool) -> None:
        super().__init__(code)
        self.code = code
        self.in_doubt = in_doubt


class Transport(Protocol):
    """Carries calls."""

    async def send(self, call: Call) -> Reply:
        """The answer. Raises `NoReply`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class CallShape:
    """Makes the calls of one destination. What does not change from call to call is encoded once."""

    def __init__(self, destination: DestinationSettings) -> None:
        self._destination = destination
        upload = destination.upload
        self._base = f"{upload.graph_url}/{upload.graph_version}/"
        fixed = {"partner_agent": destination.partner_agent, "test_event_code": destination.test_event_code}
        self._fixed = {key: value for key, value in fixed.items() if value is not None}

    def call(self, lane: Lane, payload: bytes, token: str) -> Call:
        """A call that carries events joined by line feeds. Nothing of them is encoded again."""
        destination = self._destination
        envelope = {"upload_tag": lane.upload_tag, **self._fixed}
        headers = {"Content-Type": "application/json"}
        if destination.upload.token_in is TokenPlace.BEARER:
            headers["Authorization"] = f"Bearer {token}"
        else:
            envelope["access_token"] = token
        if destination.app_secret is not None:
            secret = destination.app_secret.reveal().encode()
            envelope["appsecret_proof"] = hmac.new(secret, token.encode(), hashlib.sha256).hexdigest()
        body = b"".join((b'{"data":[', payload.replace(b"\n", b","), b"],", orjson.dumps(envelope)[1:]))
        return Call(f"{self._base}{quote(lane.event_set, safe='')}/events", headers, body)


class HttpTransport:
    """Calls over HTTP with kept connections; a proxy comes from the environment (`HTTPS_PROXY`, `NO_PROXY`)."""

    def __init__(self, destination: DestinationSettings) -> None:
        upload = destination.upload
        self._timeout = aiohttp.ClientTimeout(total=upload.timeout, connect=upload.connect_timeout)
        self._trusted = _trusted(upload.ca_file) if upload.graph_url.startswith("https:") else True
        self._proxy = _proxy_for(upload.graph_url)
        self._session: aiohttp.ClientSession | None = None  # made on the loop, at the first call

    async def send(self, call: Call) -> Reply:
        """The answer. Raises `NoReply`."""
        if self._session is None:
            # Lanes bound their own calls, so the pool has no limit of its own to make lanes wait for each other.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=10, ssl=self._trusted)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        try:
            async with self._session.post(
                URL(call.url, encoded=True),
                data=call.body,
                headers=call.headers,
                allow_redirects=False,
                proxy=self._proxy,
            ) as answer:
                body = await _bounded(answer.content)
                return Reply(answer.status, answer.headers, body)
        except aiohttp.ConnectionTimeoutError:
            raise NoReply("connect_timeout", in_doubt=False) from None
        except TimeoutError:
            raise NoReply("timeout", in_doubt=True) from None
        except aiohttp.ClientConnectorError:
            raise NoReply("no_connection", in_doubt=False) from None
        except aiohttp.ServerDisconnectedError:
            # Also what a kept connection gives that the server had closed: aiohttp repeats no POST.
            raise NoReply("disconnected", in_doubt=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise NoReply(f"broken_{type(error).__name__}", in_doubt=True) from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _proxy_for(url: str) -> str | None:
    """What the environment says, asked once: aiohttp's `trust_env` asks it, and a file, at each call."""
    parts = urlsplit(url)
    proxies = getproxies_environment()
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


@lru_cache(16)
def _trusted(ca_file: str | None) -> ssl.SSLContext:
    """Certificates are verified, always: against the system's authorities and those of `ca_file`.

    Kept, since it takes 50 ms to load the system's.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    read = bytearray()
    async for piece in content.iter_any():
        read += piece
        if len(read) > LONGEST_ANSWER:
            break
    return bytes(read[:LONGEST_ANSWER])
