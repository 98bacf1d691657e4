"""Sends requests over HTTP. The only module that uses aiohttp's client.

It does not know what a response means; `gateway.meta.response` classifies it.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from yarl import URL

from gateway.config import DestinationSettings
from gateway.meta import GraphRequest

MAX_RESPONSE_BYTES = 2**20
"""Bytes of a response that are read. Responses of the Graph API have a few hundred."""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response, whatever its status."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoResponse(Exception):
    """No response was received. `in_doubt`: Meta may have processed the request."""

    def __init__(self, code: str, *, in_doubt: bool) -> None:
        super().__init__(code)
        self.code = code
        self.in_doubt = in_doubt


class Transport(Protocol):
    """Sends requests."""

    async def send(self, request: GraphRequest) -> HttpResponse:
        """Send the request and return the response. Raises `NoResponse`."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class HttpTransport:
    """Calls over HTTP with kept connections; a proxy comes from the environment (`HTTPS_PROXY`, `NO_PROXY`)."""

    def __init__(self, destination: DestinationSettings) -> None:
        upload = destination.upload
        self._timeout = aiohttp.ClientTimeout(total=upload.timeout, connect=upload.connect_timeout)
        self._trusted = _trusted(upload.ca_file) if upload.graph_url.startswith("https:") else True
        self._proxy = _proxy_for(upload.graph_url)
        self._session: aiohttp.ClientSession | None = None  # made on the loop, at the first call

    async def send(self, request: GraphRequest) -> HttpResponse:
        """The answer. Raises `NoResponse`."""
        if self._session is None:
            # Lanes bound their own calls, so the pool has no limit of its own to make lanes wait for each other.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=10, ssl=self._trusted)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        try:
            async with self._session.post(
                URL(request.url, encoded=True),
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                proxy=self._proxy,
            ) as answer:
                body = await _bounded(answer.content)
                return HttpResponse(answer.status, answer.headers, body)
        except aiohttp.ConnectionTimeoutError:
            raise NoResponse("connect_timeout", in_doubt=False) from None
        except TimeoutError:
            raise NoResponse("timeout", in_doubt=True) from None
        except aiohttp.ClientConnectorError:
            raise NoResponse("no_connection", in_doubt=False) from None
        except aiohttp.ServerDisconnectedError:
            # Also what a kept connection gives that the server had closed: aiohttp repeats no POST.
            raise NoResponse("disconnected", in_doubt=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise NoResponse(f"broken_{type(error).__name__}", in_doubt=True) from None

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _proxy_for(url: str) -> str | None:
    """What the environment says, asked once: aiohttp's `trust_env` asks it, and a file, at each request."""
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
        if len(read) > MAX_RESPONSE_BYTES:
            break
    return bytes(read[:MAX_RESPONSE_BYTES])
