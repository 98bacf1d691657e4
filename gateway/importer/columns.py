"""Recognises the columns of a file by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.importer.fields import FIELDS, LIST_FIELDS
from gateway.importer.headers import COMMON, EXPORTS, Export, simplified


@dataclass(slots=True)
class Recognised:
    """What the names of the columns say."""

    export: str | None = None
    """Name of the export, if it is a known one."""
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns by field, see `ImportSettings.columns`."""
    only: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """See `ImportSettings.only`."""
    ambiguous: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns by field, where several could have it."""


def recognise(columns: Sequence[str]) -> Recognised:
    """The fields of columns with known names."""
    by_name: dict[str, list[str]] = {}
    for column in columns:
        if name := simplified(column):
            by_name.setdefault(name, []).append(column)
    for export in EXPORTS:
        if export.signature <= by_name.keys():
            return _of_export(export, by_name)
    recognised = Recognised()
    for target, names in COMMON.items():
        found = [column for name in names for column in by_name.get(name, ())]
        if not found:
            continue
        if len(found) == 1 or target in LIST_FIELDS:
            recognised.columns[target] = tuple(dict.fromkeys(found))
        else:
            recognised.ambiguous[target] = tuple(found)
    return recognised


def _of_export(export: Export, by_name: Mapping[str, Sequence[str]]) -> Recognised:
    def found(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(by_name[name][0] for name in names if name in by_name)

    return Recognised(
        export.name,
        {target: columns for target, names in export.fields.items() if (columns := found(names))},
        {by_name[name][0]: tuple(values) for name, values in export.only.items() if name in by_name},
    )


def problems_of(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """What is missing for an import, one sentence each."""
    problems = []
    if "event_time" not in columns:
        problems.append("no column has the time of the event; set it in `columns.event_time`")
    if not any(FIELDS[name].is_match_key for name in columns):
        names = ", ".join(name for name, target in FIELDS.items() if target.is_match_key)
        problems.append(f"no column says who the customer is; set at least one of {names} in `columns`")
    return problems
