"""What a page is made of: the request as it sees it, and what it returns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from gateway.admin.access import Identity, Role
from gateway.admin.gateway import Gateway
from gateway.console.mappers import Mappers
from gateway.console.plots import Plot
from gateway.console.tables import Table
from gateway.model import GatewayError, UnixSeconds
from gateway.telemetry import Snapshot

SNAPSHOT_SECONDS = 1.0
"""How long a snapshot is used for further pages: several processes have to be asked for one."""


class NotFound(GatewayError):
    """There is no such page, destination or dead letter."""


class NotAllowed(GatewayError):
    """The viewer may look and not act."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page."""

    identity: Identity
    form_token: str
    """Every form carries it."""
    can_sign_out: bool = False

    @property
    def can_act(self) -> bool:
        """Whether the viewer may change something."""
        return self.identity.role is Role.ADMIN


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page."""

    path: str
    query: Mapping[str, str]
    form: Mapping[str, str]
    """Empty unless a form was sent."""
    viewer: Viewer
    now: UnixSeconds
    name: str = ""
    """The variable part of the path, such as the name of a destination."""

    def link(self, **changes: str | None) -> str:
        """The address of the same view with other parameters; None removes one."""
        kept = {name: value for name, value in self.query.items() if name not in {"format", "table", "notice", "count"}}
        given = {name: value for name, value in {**kept, **changes}.items() if value is not None}
        return f"{self.path}?{urlencode(given)}" if given else self.path


@dataclass(frozen=True, slots=True)
class View:
    """A page to show."""

    template: str
    title: str
    model: Any
    tables: Mapping[str, Callable[[], Table]] = field(default_factory=dict)
    """What can be downloaded, by name. A table is made only if it is."""
    plots: Sequence[Plot] = ()
    """Its plots, which can be downloaded as well."""

    @property
    def downloads(self) -> Mapping[str, Callable[[], Table]]:
        """The tables, and those of the plots."""
        return {**{plot.name: plot.table for plot in self.plots}, **self.tables}


@dataclass(frozen=True, slots=True)
class Redirect:
    """Show another page, after an action."""

    location: str


class Page(Protocol):
    """Makes one page. Raises `BadQuery`, `NotFound` and other `GatewayError`s."""

    async def __call__(self, services: Services, visit: Visit, /) -> View | Redirect:
        """The page, or another page to show instead."""
        ...


class Services:
    """What pages are made from."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.mappers = Mappers()
        self.reading = asyncio.Semaphore(2)
        """Held while dead letters are read for a page: each page takes some megabytes."""
        self.acting = asyncio.Semaphore(1)
        """Held during an action on dead letters."""
        self._lock = asyncio.Lock()
        self._snapshot: Snapshot | None = None
        self._taken_at = 0.0

    async def snapshot(self) -> Snapshot:
        """The state of the gateway, at most `SNAPSHOT_SECONDS` old."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._snapshot is None or now - self._taken_at >= SNAPSHOT_SECONDS:
                self._snapshot = await self.gateway.snapshot()
                self._taken_at = asyncio.get_running_loop().time()
            return self._snapshot
