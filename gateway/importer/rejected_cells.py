"""Cells of a file of rejected rows: those that a spreadsheet would take for a formula are marked with an apostrophe."""

from __future__ import annotations

ESCAPED_COLUMNS = ("rejected_line", "rejected_code", "rejected_reason")
"""First columns of such a file."""
JSON_COLUMN = "rejected_json"
"""The column that has the rejected line of an NDJSON file."""
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Characters with which a spreadsheet takes the text of a cell for a formula (OWASP: CSV injection)."""


def escaped(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.lstrip("'").startswith(FORMULA_STARTS) else cell


def unescaped(cell: str) -> str:
    """The cell from which `escaped` made this one."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(FORMULA_STARTS) else cell
