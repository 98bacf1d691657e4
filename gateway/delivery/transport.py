"""Sends requests over HTTP. The only module that uses aiohttp's client.

It does not interpret responses; `gateway.meta.response` classifies them.
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

MAX_RESPONSE_BYTES = 256 * 2**10
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
    """Sends requests over persistent connections; the environment names the proxy (`HTTPS_PROXY`, `NO_PROXY`)."""

    def __init__(self, destination: DestinationSettings) -> None:
        upload = destination.upload
        self._timeout = aiohttp.ClientTimeout(total=upload.timeout, connect=upload.connect_timeout)
        self._ssl = _ssl_context(upload.ca_file) if upload.graph_url.startswith("https:") else True
        self._proxy = _proxy_for(upload.graph_url)
        self._session: aiohttp.ClientSession | None = None  # created on the loop, by the first call

    async def send(self, request: GraphRequest) -> HttpResponse:
        """Send the request and return the response. Raises `NoResponse`."""
        if self._session is None:
            # `FairCallLimit` limits the calls, and so the connections. A limit of the pool would not be fair.
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=10, ssl=self._ssl)
            # Meta needs no cookies, and a jar would keep all that a server sets.
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout, cookie_jar=jar)
        try:
            async with self._session.request(
                request.method,
                URL(request.url, encoded=True),
                data=request.body or None,
                headers=request.headers,
                allow_redirects=False,
                proxy=self._proxy,
            ) as response:
                body = await _read_bounded(response.content)
                return HttpResponse(response.status, response.headers, body)
        except aiohttp.ConnectionTimeoutError:
            raise NoResponse("connect_timeout", in_doubt=False) from None
        except TimeoutError:
            raise NoResponse("timeout", in_doubt=True) from None
        except aiohttp.ClientConnectorError:
            raise NoResponse("no_connection", in_doubt=False) from None
        except aiohttp.ServerDisconnectedError:
            # Also raised for a persistent connection that the server had closed: aiohttp does not repeat a POST.
            raise NoResponse("disconnected", in_doubt=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise NoResponse(f"broken_{type(error).__name__}", in_doubt=True) from None

    async def close(self) -> None:
        """Close all connections. The next `send` opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names. Read once: aiohttp's `trust_env` reads it, and a file, for each request."""
    parts = urlsplit(url)
    proxies = getproxies_environment()
    if not parts.hostname or proxy_bypass(parts.hostname):
        return None
    return proxies.get(parts.scheme) or proxies.get("all")


@lru_cache(16)
def _ssl_context(ca_file: str | None) -> ssl.SSLContext:
    """Verifies certificates against the system's authorities and those of `ca_file`.

    Cached, since loading the system's authorities takes 50 ms.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


async def _read_bounded(content: aiohttp.StreamReader) -> bytes:
    """The first `MAX_RESPONSE_BYTES` of a body."""
    body = bytearray()
    async for data in content.iter_any():
        body += data
        if len(body) > MAX_RESPONSE_BYTES:
            break
    return bytes(body[:MAX_RESPONSE_BYTES])
