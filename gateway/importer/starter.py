"""Writes a settings file to start from: the guesses for one file, its other columns, and its first rows as calls."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import orjson

from gateway.escaping import ascii_json, printable
from gateway.importer.plan import Plan
from gateway.importer.rows import as_text
from gateway.importer.settings import SETTINGS_SUFFIX, ImportSettings
from gateway.model import GatewayError, Rejection

SHOWN_ROWS = 3
_EXAMPLES = {
    "time_zone": ("Europe/Berlin", "of times without a UTC offset"),
    "date_order": ("day_first", "day_first or month_first, of event_time"),
    "birthday_order": ("day_first", "day_first or month_first, of birthday"),
    "decimal": ("point", "point or comma, in the column of value"),
    "event": ("Order Completed", "event name of rows without a column for it"),
    "currency": ("EUR", "of rows without one"),
    "country": ("DE", "of rows without one"),
    "action_source": ("physical_store", "of rows without one"),
}


def starter_path(name: str, given: Path | None) -> Path:
    """Where the settings of a file are written."""
    return given or Path(name + SETTINGS_SUFFIX)


def write_starter(path: Path, plan: Plan, problems: Sequence[str]) -> None:
    """Write the file, readable by its owner only. Raises `GatewayError` if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor)
            file.write(starter(plan, problems))
    except FileExistsError:
        raise GatewayError(f"{path} exists; edit it, or move it away") from None
    except OSError as error:
        raise GatewayError(f"cannot write {path}: {error.strerror}") from None


def starter(plan: Plan, problems: Sequence[str]) -> str:
    """The settings as TOML with comments."""
    settings, recognised = plan.settings, plan.recognised
    kind = f" (recognised as {recognised.export})" if recognised and recognised.export else ""
    lines = [f"# How `gateway backfill` reads {printable(Path(plan.name).name)}{kind}. Fields: docs/backfill.md."]
    lines += [f"# To decide: {printable(problem)}" for problem in problems]
    lines.append("")
    for name, (example, comment) in _EXAMPLES.items():
        value = getattr(settings, name)
        lines.append(f"{'' if value else '# '}{name} = {_quoted(value or example)}  # {comment}")
    for name in ("format", "delimiter", "encoding"):
        if value := getattr(settings, name):
            lines.append(f"{name} = {_quoted(value)}")
    lines += ["", "[columns]  # field = column, or several: the first with a value counts"]
    lines += [f"{name} = {_names(names)}" for name, names in settings.columns.items()]
    for field, names in (recognised.ambiguous if recognised else {}).items():
        lines += [f"# {field} = {_quoted(name)}  # choose" for name in dict.fromkeys(names)]
    lines += _only(settings)
    lines += ["", "[properties]  # further properties to send: name = column"]
    lines += [f"# {_quoted(column)} = {_quoted(column)}" for column in dict.fromkeys(plan.unused)]
    lines += [
        "",
        "# The first rows as they would be sent. They are personal data: remove them before you share this file.",
    ]
    for row in plan.sample[:SHOWN_ROWS]:
        lines.append(f"# line {row.line}: {_shown(plan.converter.convert(row))}")
    return "\n".join([*lines, ""])


def _only(settings: ImportSettings) -> list[str]:
    if not settings.only:
        return []
    rows = [f"{_quoted(column)} = {_names(values)}" for column, values in settings.only.items()]
    return ["", "[only]  # rows with other values in these columns are skipped", *rows]


def _shown(result: bytes | Rejection | None) -> str:
    match result:
        case bytes():
            call = orjson.loads(result)
            return ascii_json(orjson.dumps(call)).decode()
        case None:
            return "skipped, see `only`"
        case Rejection():
            return printable(f"rejected, {result.code}: {result.message}")


def _names(names: Sequence[str]) -> str:
    return _quoted(names[0]) if len(names) == 1 else f"[{', '.join(map(_quoted, names))}]"


def _quoted(text: object) -> str:
    """A TOML string, which has the escapes of JSON (for text without surrogates)."""
    return json.dumps(as_text(text)).replace("\x7f", "\\u007f")
