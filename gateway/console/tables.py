"""A table of a page as CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

import orjson

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""First characters that make a spreadsheet take a text for a formula."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows, with values as they are: numbers, unix seconds, texts."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, kind: type, rows: Iterable[Any]) -> Table:
        """The table whose rows are dataclasses of one kind: a column for each field."""
        names = [field.name for field in fields(kind)]
        return cls(names, [[getattr(row, name) for name in names] for row in rows])

    def as_csv(self) -> bytes:
        """As CSV with a header (RFC 4180), in UTF-8."""
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(self.columns)
        writer.writerows([_cell(value) for value in row] for row in self.rows)
        return out.getvalue().encode(errors="replace")

    def as_json(self) -> bytes:
        """As a JSON array with an object for each row."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return orjson.dumps(rows, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS) + b"\n"


def _cell(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, list | tuple):
        value = "; ".join(map(str, value))
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
