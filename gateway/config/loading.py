"""Reads the settings from a file and the environment, and reports every error in one line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from gateway.config.settings import InvalidValueError, Settings, parse_size
from gateway.config.toml_errors import explain_toml
from gateway.model import GatewayError

PREFIX = "GATEWAY_"
_SECRET_KEYS = frozenset({"write_key", "access_token", "app_secret", "token", "webhook"})
_HIDDEN_KEYS = _SECRET_KEYS | {"graph_url"}
"""Settings whose invalid value is not shown: a secret, or a URL that may contain credentials."""
_EXPECTED = {
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "mapping_type"), "a table"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "tuple_type": "a list",
    "too_short": "at least one entry",
    "string_type": "a string",
    "string_too_short": "a string that is not empty",
}
"""By type of an error of pydantic, a description of the valid values."""
_KEY = "[key]"
"""Last part of pydantic's location when the name of an entry is invalid, not its value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One error in the settings."""

    key: str
    """Full name of the key, such as `server.port`; "" for the whole file."""
    message: str
    """The problem; then, after a semicolon, what is allowed."""

    def __str__(self) -> str:
        return f"{self.key}: {self.message}" if self.key else self.message


class ConfigError(GatewayError):
    """The settings are invalid. `str()` has one line for each error."""

    def __init__(self, origin: str, faults: Iterable[Fault]) -> None:
        self.origin = origin
        self.faults = list(faults)
        super().__init__("\n".join(f"{origin}: {fault}" for fault in self.faults))


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read a TOML file; `GATEWAY_SECTION__KEY` variables take precedence over it.

    Raises `ConfigError` when the file cannot be read, is not TOML, or contains errors.
    """
    origin = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message = "file not found; give its path with --config, or start from gateway.example.toml"
        raise ConfigError(origin, [Fault("", message)]) from None
    except OSError as error:
        raise ConfigError(origin, [Fault("", f"file cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        message = f"invalid byte at position {error.start}; expected UTF-8 text"
        raise ConfigError(origin, [Fault("", message)]) from None
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        explained = explain_toml(text, error, _HIDDEN_KEYS)
        raise ConfigError(origin, [Fault(explained.key, explained.message)]) from None
    except RecursionError:
        raise ConfigError(origin, [Fault("", "lists or tables are nested too deeply; expected a few levels")]) from None
    return parse(tree, origin, environ)


def parse(tree: dict[str, Any], origin: str = "settings", environ: Mapping[str, str] | None = None) -> Settings:
    """Validate settings that were read from TOML. Raises `ConfigError` with every error."""
    faults = _apply_environment(tree, environ or {})
    settings = None
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        for details in error.errors(include_input=False, include_url=False):
            faults += _convert(details["loc"], details["type"], details["msg"], details.get("ctx", {}), tree)
    faults += _unknown_destinations(tree)
    if settings is not None:
        faults += _duplicate_write_keys(settings)
    if faults or settings is None:
        raise ConfigError(origin, faults)
    return settings


def _apply_environment(tree: dict[str, Any], environ: Mapping[str, str]) -> list[Fault]:
    """Set `server.port` from `GATEWAY_SERVER__PORT=9000`. A value that is not valid TOML is taken as text."""
    faults = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        path = name.removeprefix(PREFIX).lower().split("__")
        branch: Any = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {}) if isinstance(branch, dict) else None
        if not isinstance(branch, dict) or not all(path):
            faults.append(Fault(name, "not the name of a setting; expected a name such as GATEWAY_SERVER__PORT"))
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


def _convert(loc: tuple[int | str, ...], kind: str, message: str, context: Mapping[str, Any], tree: Any) -> list[Fault]:
    """An error of pydantic as errors with the project's wording."""
    key = _dotted(loc)
    match kind, context.get("error"):
        case "missing", _:
            return [Fault(key, "missing; this setting is required")]
        case "extra_forbidden", _:
            return [Fault(key, "unknown setting" + _did_you_mean(loc))]
        case "too_short", _ if _value_at(loc, tree):
            return []  # pydantic counts valid entries only; there is an error for each invalid one
        case "value_error", InvalidValueError() as error:
            expected = str(error)
        case "value_error", error:
            return [Fault(key, line) for line in str(error).splitlines()]
        case _:
            expected = _expected(loc, kind, message, context)
    subject = "name" if loc[-1] == _KEY else "value"
    return [Fault(key, f"invalid {subject} {_format_value(loc, tree)}; expected {expected}")]


def _expected(loc: tuple[int | str, ...], kind: str, message: str, context: Mapping[str, Any]) -> str:
    """A description of the valid values."""
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind == "enum":
        return str(context["expected"])
    if kind == "string_too_long":
        return f"a string of at most {context['max_length']} characters"
    field = _field_at(loc)
    if field is not None and (base := {int, float}.intersection((field.annotation, *get_args(field.annotation)))):
        return _expected_number(base.pop(), field.metadata)
    return message.removeprefix("Input should be ").removeprefix("Input should ")


def _expected_number(base: type, constraints: Iterable[Any]) -> str:
    limits: dict[str, Any] = {}
    is_size = False
    for constraint in constraints:
        is_size = is_size or getattr(constraint, "func", None) is parse_size
        limits |= {
            name: limit for name in ("ge", "gt", "le", "lt") if (limit := getattr(constraint, name, None)) is not None
        }
    noun = "a size in bytes" if is_size else "an integer" if base is int else "a number"
    match limits:
        case {"ge": low, "le": high}:
            return f"{noun} from {low} to {high}"
        case {"gt": low, "le": high}:
            return f"{noun} above {low}, at most {high}"
        case {"ge": low}:
            return f"{noun} of at least {low}"
        case _:
            return noun


def _dotted(loc: Iterable[int | str]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc if part != _KEY]
    return "".join(parts).removeprefix(".")


def _value_at(loc: Iterable[int | str], tree: Any) -> Any:
    """The value at `loc`, or the last one above it that exists."""
    for part in loc:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            break
    return tree


def _format_value(loc: tuple[int | str, ...], tree: Any) -> str:
    """The invalid value, shortened to a part of a line."""
    if _HIDDEN_KEYS.intersection(part for part in loc if isinstance(part, str)):
        return "(not shown)"
    value = loc[-2] if loc[-1] == _KEY else _value_at(loc, tree)
    if isinstance(value, dict) and value:
        return "(a table)"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _did_you_mean(loc: tuple[int | str, ...]) -> str:
    """A hint at the setting with the most similar name; "" when none is similar."""
    import difflib  # noqa: PLC0415 (only for a file with errors)

    section = _annotation_at(loc[:-1])
    fields = section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}
    close = difflib.get_close_matches(str(loc[-1]), list(fields), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _field_at(loc: tuple[int | str, ...]) -> FieldInfo | None:
    section = _annotation_at(loc[:-1])
    return (
        section.model_fields.get(str(loc[-1])) if isinstance(section, type) and issubclass(section, BaseModel) else None
    )


def _annotation_at(loc: Iterable[int | str]) -> Any:
    """The type of the setting at `loc`; None when there is no such setting."""
    annotation: Any = Settings
    for part in loc:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            annotation = field.annotation if field is not None else None
        else:
            # An entry of a table such as `Mapping[Name, SourceSettings]`.
            annotation = next(reversed(get_args(annotation)), None)
    return annotation


def _unknown_destinations(tree: dict[str, Any]) -> list[Fault]:
    """Names of destinations in sources that do not exist. Checks the TOML, so that it works beside other errors."""
    sources, destinations = tree.get("sources"), tree.get("destinations")
    if not isinstance(sources, dict) or not isinstance(destinations, dict):
        return []
    known = ", ".join(destinations) or "none"
    return [
        Fault(f"sources.{name}.destinations", f"unknown destination {destination!r}; defined are: {known}")
        for name, source in sources.items()
        if isinstance(source, dict) and isinstance(source.get("destinations"), list)
        for destination in source["destinations"]
        if isinstance(destination, str) and destination not in destinations
    ]


def _duplicate_write_keys(settings: Settings) -> list[Fault]:
    """Sources that share a write key, whether it comes from the file or the environment."""
    faults = []
    owners: dict[str, str] = {}
    for name, source in settings.sources.items():
        owner = owners.setdefault(source.write_key.reveal(), name)
        if owner != name:
            message = f"same write key as sources.{owner}; expected a different one for each source"
            faults.append(Fault(f"sources.{name}.write_key", message))
    return faults
