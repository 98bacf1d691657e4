"""The interface of the web pages that the admin server serves beside its JSON routes."""

from __future__ import annotations

from typing import Protocol

from aiohttp import web

from gateway.admin.access import AccessPolicy


class Site(Protocol):
    """Web pages."""

    def serves(self, path: str) -> bool:
        """Whether a page has this path. Paths of the JSON routes are never asked for."""
        ...

    async def respond(self, request: web.BaseRequest, policy: AccessPolicy) -> web.StreamResponse:
        """The response to a request whose `Host` and `Origin` have been checked. It checks who sends the request."""
        ...
