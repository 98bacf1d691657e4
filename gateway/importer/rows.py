"""A row of a file, as every reader yields it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from gateway.model import Rejection

MAX_LINE = 1024 * 1024
"""Characters of a line, and of a record with line breaks in its fields."""
MAX_FIELD = 128 * 1024
"""Characters of a field. A quote that is not closed is noticed after as many."""
SAMPLE_ROWS = 1000
SAMPLE_CHARACTERS = 8 * 1024 * 1024
"""Rows and characters that are looked at before anything is sent."""


class Row(NamedTuple):
    """One row."""

    number: int
    """From 1. The header and empty lines do not count; rows that cannot be read do."""
    line: int
    """Line of the file on which the row begins, from 1; of a Parquet file, the row number."""
    cells: Sequence[Any]
    """Texts, one for each column. NDJSON and Parquet have values of other types too. Of a row with a fault, as far as
    it could be read."""
    fault: Rejection | None = None
    """Why the row cannot be read."""
    raw: str | None = None
    """The line itself, if the file has JSON objects."""


def as_text(cell: Any) -> str:
    """A cell as a text, as it is written to a file of rejected rows."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, list | dict):
        return orjson.dumps(cell, default=str).decode()
    return str(cell)
