"""Which requests the admin port serves: checks of the `Host` header, of the page that sends the request, of the token.

A web page in an operator's browser can send requests to a loopback address. It cannot choose `Host` and `Origin`, so
these show whether the page belongs to the gateway: `Host` has the page's own name when that name resolves to a loopback
address (DNS rebinding), and `Origin` has it when the page sends to the loopback address directly (cross-site request).
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum

from multidict import CIMultiDictProxy

from gateway.config import AdminSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:/@\s]+)(:[0-9]{0,5})?")


class Role(StrEnum):
    """What somebody may do."""

    READ = "read"
    """Read everything."""
    ADMIN = "admin"
    """Also act: replay and delete dead letters, probe lanes."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request, as far as its token says."""

    role: Role
    name: str
    """For the audit log."""


ANYONE = Identity(Role.ADMIN, "anyone (no token)")
"""The identity of all requests if no token is set, which is possible on a loopback address only."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused."""

    status: int
    code: str
    message: str


HOST_NOT_ALLOWED = Refusal(
    403,
    "host_not_allowed",
    "The `Host` header is missing or names an unknown host. Use a loopback address, or add the name to `admin.hosts`.",
)
CROSS_SITE = Refusal(
    403,
    "cross_site",
    "A web page of another site must not change anything. Send the request without a browser.",
)
READ_ONLY = Refusal(403, "read_only", "`admin.read_token` allows no changes. Use `admin.token`.")
UNAUTHORIZED = Refusal(401, "unauthorized", "Send the admin token as `Authorization: Bearer ...`.")


class AccessPolicy:
    """Decides which requests are refused. It keeps no state."""

    def __init__(self, settings: AdminSettings) -> None:
        given = (
            (settings.token, Identity(Role.ADMIN, "admin token")),
            (settings.read_token, Identity(Role.READ, "read token")),
        )
        self._tokens = [(token.reveal().encode(), identity) for token, identity in given if token is not None]
        host = settings.host.lower()
        self._hosts = frozenset({f"[{host}]" if ":" in host else host, *settings.hosts})

    def refusal(
        self, method: str, headers: CIMultiDictProxy[str], local_address: str, *, is_public: bool
    ) -> Refusal | None:
        """Why the request is refused; None if it is allowed.

        `local_address`: the IP address at which it arrived. `is_public`: neither the host nor the token is checked.
        """
        if is_public:
            return None if method in SAFE_METHODS or _is_same_site(headers) else CROSS_SITE
        refusal = self.site_refusal(method, headers, local_address)
        if refusal is not None:
            return refusal
        identity = self.identify(headers)
        if identity is None:
            return UNAUTHORIZED
        return READ_ONLY if identity.role is Role.READ and method not in SAFE_METHODS else None

    def site_refusal(self, method: str, headers: CIMultiDictProxy[str], local_address: str) -> Refusal | None:
        """Why the request is refused because of its host or of the page that sends it; None if it is allowed."""
        if not self._is_known_host(headers, local_address):
            return HOST_NOT_ALLOWED
        return None if method in SAFE_METHODS or _is_same_site(headers) else CROSS_SITE

    def identify(self, headers: CIMultiDictProxy[str]) -> Identity | None:
        """The owner of the token in the `Authorization` header; None without a valid one."""
        if not self._tokens:
            return ANYONE
        given = headers.getall("Authorization", [])
        if len(given) != 1 or not given[0].startswith("Bearer "):
            return None
        return self.owner(given[0].removeprefix("Bearer "))

    def owner(self, token: str) -> Identity | None:
        """The owner of a token; None if it is not valid."""
        # The server decodes bytes that are not UTF-8 to surrogates.
        given = token.encode(errors="surrogateescape")
        owners = [identity for known, identity in self._tokens if hmac.compare_digest(given, known)]
        return owners[0] if owners else None

    def _is_known_host(self, headers: CIMultiDictProxy[str], local_address: str) -> bool:
        given = headers.getall("Host", [])
        match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if match is None:
            return False
        name = match["name"].lower().removesuffix(".")
        if name == "localhost" or name in self._hosts or given[0].lower() in self._hosts:
            return True
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return address.is_loopback or str(address) == local_address


def _is_same_site(headers: CIMultiDictProxy[str]) -> bool:
    """Whether no web page of another site sends the request. Other clients send neither of the two headers."""
    if any(value not in {"same-origin", "none"} for value in headers.getall("Sec-Fetch-Site", [])):
        return False
    host = headers.get("Host", "").lower()
    return all(origin.lower().partition("://")[2] == host for origin in headers.getall("Origin", []))
