"""The page of the settings, which answers: what is in force."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from gateway.config import FIXED_SECTIONS, Secret, Settings
from gateway.console.formats import size
from gateway.console.tables import Table
from gateway.console.view import Services, View, Visit
from gateway.mapping.routes import routes_of
from gateway.model import UnixSeconds
from gateway.telemetry import Snapshot

MAX_SHOWN = 500
"""Rows of each table that are shown."""


SIZES = ("bytes", "memory")
"""Ends of the names of sizes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key and its value."""

    key: str
    value: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class Section:
    """The keys of one table of the settings file."""

    name: str
    entries: Sequence[Entry]
    needs_restart: bool
    """Whether a change takes effect at the next start only."""


@dataclass(frozen=True, slots=True)
class RouteRow:
    """Where the events of one name go."""

    destination: str
    event: str
    standard: str
    event_sets: Sequence[str]
    configured: bool
    """Whether the settings map the name; otherwise the built-in table does."""


@dataclass(frozen=True, slots=True)
class SettingsPage:
    """The page."""

    sections: Sequence[Section]
    routes: Sequence[RouteRow]
    sources: Sequence[tuple[str, Sequence[str]]]
    read_at: UnixSeconds
    errors: Sequence[str]
    """Errors of the last reload."""
    reloads: Mapping[str, int]


async def show(services: Services, visit: Visit) -> View:  # noqa: ARG001 (every page takes both)
    """The page."""
    model = build(services.gateway.settings, await services.snapshot())
    tables = {
        "settings": lambda: Table.of(Entry, _all_entries(model)),
        "routes": lambda: Table.of(RouteRow, model.routes),
    }
    return View("settings.html", "Settings", model, tables)


def _all_entries(page: SettingsPage) -> Iterator[Entry]:
    """All keys, each with its whole path."""
    for section in page.sections:
        for entry in section.entries:
            yield Entry(f"{section.name}.{entry.key}", entry.value, entry.is_default)


def build(settings: Settings, snapshot: Snapshot) -> SettingsPage:
    """The values of the page."""
    return SettingsPage(
        sections=list(_sections(settings)),
        routes=[
            RouteRow(name, route.event, route.standard, list(route.event_sets), route.configured)
            for name, destination in settings.destinations.items()
            for routes in routes_of(destination).values()
            for route in routes
        ][:MAX_SHOWN],
        sources=[(name, source.destinations) for name, source in settings.sources.items()],
        read_at=snapshot.settings_at,
        errors=snapshot.settings_errors,
        reloads=snapshot.ledger.reloads,
    )


def _sections(settings: Settings) -> Iterator[Section]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            yield Section(name, list(_entries(value)), name in FIXED_SECTIONS)
        else:
            for each, section in value.items():
                yield Section(f"{name}.{each}", list(_entries(section)), needs_restart=False)


def _entries(section: BaseModel, prefix: str = "") -> Iterator[Entry]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _entries(value, f"{prefix}{name}.")
        else:
            is_default = not field.is_required() and value == field.get_default(call_default_factory=True)
            is_size = isinstance(value, int) and name.endswith(SIZES)
            yield Entry(f"{prefix}{name}", size(value) if is_size else text_of(value), is_default)


def text_of(value: Any) -> str:
    """A value as it would be written in the file; a secret as its origin."""
    match value:
        case Secret():
            return f"(secret, from {value.origin})"
        case None:
            return "not set"
        case bool():
            return "true" if value else "false"
        case Enum():
            return str(value.value)
        case Mapping():
            return ", ".join(f"{key} = {text_of(inner)}" for key, inner in value.items()) or "none"
        case tuple() | list():
            return ", ".join(text_of(inner) for inner in value) or "none"
        case _:
            return str(value)
