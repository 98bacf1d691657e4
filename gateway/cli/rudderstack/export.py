"""Reads RudderStack's exports: finds the destinations for Meta in a file, and reads the values of their configuration.

Exports differ in the objects around a configuration, so it is searched at any depth. A value of a wrong type is an
error that names its key; nothing is converted then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.model import JsonObject

_TEMPLATE = re.compile(r"\{\{.*\}\}|env\..+", re.DOTALL)
"""A value that RudderStack replaces for each event, or when it starts."""
_IDS = re.compile(r"[\s,;]+")
_ID = re.compile(r"[0-9]{1,30}")


class Kind(StrEnum):
    """The kinds of destinations that can be converted. The values are RudderStack's names for people."""

    OFFLINE = "Facebook Offline Conversions"
    CONVERSIONS = "Facebook Conversions"


@dataclass(frozen=True, slots=True)
class ExportedDestination:
    """A destination as it was found in the file."""

    kind: Kind
    name: str
    """Its name in RudderStack; "" for a configuration without one."""
    config: JsonObject
    key: str
    """Where the configuration is in the file, such as `destinations[0].config`; "" for the whole file."""


def find_destinations(tree: Any) -> tuple[list[ExportedDestination], list[str]]:
    """The destinations for Meta in an export, each once, and the types of the other destinations in it."""
    found: dict[Any, ExportedDestination] = {}
    others: list[str] = []
    _search(tree, "", found, others)
    return list(found.values()), sorted(set(others))


def _search(node: Any, key: str, found: dict[Any, ExportedDestination], others: list[str]) -> None:
    if isinstance(node, list):
        for number, entry in enumerate(node):
            _search(entry, f"{key}[{number}]", found, others)
    if not isinstance(node, dict):
        return
    config_key = next((name for name in ("config", "Config") if isinstance(node.get(name), dict)), None)
    if config_key is not None:
        config, place = node[config_key], f"{key}.{config_key}".lstrip(".")
        type_name = _type_of(node)
        kind = _kind_of_config(config) if type_name is None else _kind_of_type(type_name)
        if kind is not None:
            name = node.get("name")
            # A workspace lists a destination under each of its sources.
            identity = node.get("id") if isinstance(node.get("id"), str) else place
            found.setdefault(
                identity, ExportedDestination(kind, name.strip() if isinstance(name, str) else "", config, place)
            )
            return
        if type_name is not None and "destinations" not in node:
            others.append(type_name)
            return
    elif (kind := _kind_of_config(node)) is not None:
        found.setdefault(key, ExportedDestination(kind, "", node, key))
        return
    for name, entry in node.items():
        _search(entry, f"{key}.{name}".lstrip("."), found, others)


def _type_of(node: JsonObject) -> str | None:
    """The name of the destination's type, from its definition or beside its configuration."""
    definition = node.get("destinationDefinition") or node.get("DestinationDefinition")
    if isinstance(definition, dict):
        name = definition.get("name") or definition.get("Name") or definition.get("displayName")
    else:
        name = definition or node.get("type") or node.get("destinationType")
    return name if isinstance(name, str) and name else None


def _kind_of_type(name: str) -> Kind | None:
    plain = name.lower().replace("_", " ").strip()
    return next((kind for kind in Kind if kind.lower() == plain), None)


def _kind_of_config(config: JsonObject) -> Kind | None:
    """The kind of a configuration without a type, by the keys that only one kind has."""
    if "eventsToIds" in config:
        return Kind.OFFLINE
    if "datasetId" in config or ("pixelId" in config and "accessToken" in config):
        return Kind.CONVERSIONS
    return None


class ConfigReader:
    """Reads values of a configuration, and collects an error for each that cannot be used."""

    def __init__(self, exported: ExportedDestination) -> None:
        self.config = exported.config
        self._prefix = f"{exported.key}." if exported.key else ""
        self.faults: list[str] = []
        self.incomplete: list[str] = []
        """Keys of rows in which only one of the two sides is set."""

    def fault(self, key: str, message: str) -> None:
        """Add an error. `message` says what is wrong, and after a semicolon what is expected."""
        self.faults.append(f"{self._prefix}{key}: {message}")

    def has(self, key: str) -> bool:
        """Whether a key is set: neither absent, null, false, nor empty."""
        return bool(_without_blanks(self.config.get(key)))

    def text(self, key: str) -> str | None:
        """A text, trimmed; None if it is absent or blank."""
        return self._text(self.config.get(key), key)

    def switch(self, key: str) -> bool | None:
        """A boolean; None if it is absent."""
        value = self.config.get(key)
        if value is None or isinstance(value, bool):
            return value
        self.fault(key, f"invalid value {_shown(value)}; expected true or false")
        return None

    def pairs(self, key: str) -> Iterator[tuple[str, str, str]]:
        """The complete rows of a list of `from` and `to`: key of the row, from, to. Empty rows are passed over."""
        for place, row in self.rows(self.config.get(key), key):
            if not isinstance(row, dict):
                self.fault(place, f"invalid value {_shown(row)}; expected an object with from and to")
                continue
            name, value = self._text(row.get("from"), f"{place}.from"), self._text(row.get("to"), f"{place}.to")
            if name and value:
                yield place, name, value
            elif name or value:
                self.incomplete.append(place)

    def rows(self, value: Any, key: str) -> Iterator[tuple[str, Any]]:
        """The entries of a list with their keys. An absent list is empty."""
        if value is not None and not isinstance(value, list):
            self.fault(key, f"invalid value {_shown(value)}; expected a list")
            return
        yield from ((f"{key}[{number}]", entry) for number, entry in enumerate(value or ()))

    def texts(self, value: Any, key: str, name: str) -> list[str]:
        """The texts of a list of texts, or of objects that have them under `name`."""
        found = []
        for place, row in self.rows(value, key):
            text = self._text(row.get(name), f"{place}.{name}") if isinstance(row, dict) else self._text(row, place)
            found += [text] if text else []
        return list(dict.fromkeys(found))

    def ids(self, text: str, key: str) -> Sequence[str]:
        """The IDs in a text, which may list several with commas or spaces between them."""
        ids = [part for part in _IDS.split(text) if part]
        for part in ids:
            if not _ID.fullmatch(part):
                self.fault(key, f"invalid value {_shown(part)}; expected the ID of a dataset: digits only")
        return ids

    def _text(self, value: Any, key: str) -> str | None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if value is None:
            return None
        if not isinstance(value, str):
            self.fault(key, f"invalid value {_shown(value)}; expected a string")
            return None
        text = value.strip()
        if _TEMPLATE.fullmatch(text):
            self.fault(key, f"{_shown(text)} is a template of RudderStack; replace it by its value in the export")
            return None
        return text or None


def _without_blanks(value: Any) -> Any:
    """A value without what RudderStack's forms leave in an export that was never filled in."""
    if isinstance(value, dict):
        return {name: rest for name, entry in value.items() if (rest := _without_blanks(entry))}
    if isinstance(value, list):
        return [rest for entry in value if (rest := _without_blanks(entry))]
    return value.strip() if isinstance(value, str) else value


def _shown(value: Any) -> str:
    """A value for an error message, shortened."""
    if isinstance(value, dict | list):
        return "(an object)" if isinstance(value, dict) else "(a list)"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
