"""Read the settings: the file, the environment on top, and one line for each fault."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config.settings import Settings
from gateway.model import GatewayError

PREFIX = "GATEWAY_"
_SECRET_KEYS = frozenset({"write_key", "access_token", "app_secret", "token", "webhook"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in the settings: the key's full name, and what it has and may have."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class ConfigError(GatewayError):
    """The settings cannot be used. `str()` has one line for each fault."""

    def __init__(self, origin: str, faults: Iterable[Fault]) -> None:
        self.origin = origin
        self.faults = list(faults)
        super().__init__("\n".join(f"{origin}: {fault}" for fault in self.faults))


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from a TOML file with `GATEWAY_SECTION__KEY` variables on top.

    Raises `ConfigError` when the file cannot be read, is not TOML, or has faults.
    """
    origin = str(path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = "there is no such file; name one with --config, or start from gateway.example.toml"
        raise ConfigError(origin, [Fault("", hint)]) from None
    except OSError as error:
        raise ConfigError(origin, [Fault("", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(origin, [Fault("", f"is not UTF-8 text (byte {error.start})")]) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(origin, [Fault("", f"is not TOML: {error}")]) from None
    return parse(tree, origin, environ)


def parse(tree: dict[str, Any], origin: str = "settings", environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from a tree as TOML gives it. Raises `ConfigError` with every fault."""
    faults = _lay_on_top(tree, environ or {})
    settings = None
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        for details in error.errors(include_input=False, include_url=False):
            faults += _worded(details["loc"], details["type"], details["msg"], details.get("ctx", {}), tree)
    faults += _unknown_destinations(tree)
    if settings is not None:
        faults += _shared_keys(settings)
    if faults or settings is None:
        raise ConfigError(origin, faults)
    return settings


def _lay_on_top(tree: dict[str, Any], environ: Mapping[str, str]) -> list[Fault]:
    """Put `GATEWAY_SERVER__PORT=9000` at server.port; a value is read as TOML where it is TOML, else as text."""
    faults = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        path = name.removeprefix(PREFIX).lower().split("__")
        branch: Any = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {}) if isinstance(branch, dict) else None
        if not isinstance(branch, dict) or not all(path):
            faults.append(Fault(name, "names no key of the settings"))
        elif path[-1] in _SECRET_KEYS:
            branch[path[-1]] = environ[name]
        else:
            branch[path[-1]] = _toml_value(environ[name])
    return faults


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _worded(loc: tuple[int | str, ...], kind: str, message: str, context: Mapping[str, Any], tree: Any) -> list[Fault]:
    key = _dotted(loc)
    if kind == "missing":
        return [Fault(key, "is missing")]
    if kind == "extra_forbidden":
        return [Fault(key, "is not a setting" + _nearest(loc))]
    if kind == "value_error":
        text = str(context.get("error", message))
        return [Fault(key, line) for line in text.splitlines()]
    may = message[:1].lower() + message[1:]
    return [Fault(key, f"has {_shown(loc, tree)}; {may.replace('input should', 'it should')}")]


def _dotted(loc: Iterable[int | str]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc if part != "[key]"]
    return "".join(parts).removeprefix(".")


def _shown(loc: tuple[int | str, ...], tree: Any) -> str:
    """What a key has, cut to a line; never a secret."""
    if _SECRET_KEYS.intersection(part for part in loc if isinstance(part, str)):
        return "a value that is not shown"
    for part in loc:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            break
    if isinstance(tree, dict):
        return "a table"
    text = repr(tree)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(loc: tuple[int | str, ...]) -> str:
    """A hint at the setting that was perhaps meant."""
    import difflib  # noqa: PLC0415 (only for a faulty file)

    section: Any = Settings
    for part in loc[:-1]:
        fields = getattr(section, "model_fields", {})
        if part in fields:
            section = _inner(fields[part].annotation)
    fields = getattr(section, "model_fields", {})
    close = difflib.get_close_matches(str(loc[-1]), list(fields), n=1)
    return f"; was {close[0]} meant?" if close else ""


def _inner(annotation: Any) -> Any:
    """The section type in an annotation such as `Mapping[Name, SourceSettings]`."""
    arguments = getattr(annotation, "__args__", None)
    return _inner(arguments[-1]) if arguments else annotation


def _unknown_destinations(tree: dict[str, Any]) -> list[Fault]:
    """Sources that name destinations which are not there. Works on the raw tree: it speaks beside other faults."""
    sources, destinations = tree.get("sources"), tree.get("destinations")
    if not isinstance(sources, dict) or not isinstance(destinations, dict):
        return []
    known = ", ".join(destinations) or "none"
    return [
        Fault(f"sources.{name}.destinations", f"names {one}; known are: {known}")
        for name, source in sources.items()
        if isinstance(source, dict) and isinstance(source.get("destinations"), list)
        for one in source["destinations"]
        if isinstance(one, str) and one not in destinations
    ]


def _shared_keys(settings: Settings) -> list[Fault]:
    """Sources with one write key, wherever each has it from."""
    faults = []
    owners: dict[str, str] = {}
    for name, source in settings.sources.items():
        owner = owners.setdefault(source.write_key.reveal(), name)
        if owner != name:
            faults.append(Fault(f"sources.{name}.write_key", f"is that of sources.{owner}; every source has its own"))
    return faults
