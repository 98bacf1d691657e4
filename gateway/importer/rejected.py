"""The file of rejected rows: line, code, reason and the original columns, to be corrected and imported again.

It is CSV in UTF-8 with a byte order mark, as spreadsheets expect. A cell that a spreadsheet would take for a formula
gets an apostrophe in front. The import removes it again, since it knows the file by its first columns.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from gateway.escaping import printable
from gateway.importer.inputs import REJECTED_SUFFIX
from gateway.importer.rejected_cells import ESCAPED_COLUMNS, JSON_COLUMN, escaped
from gateway.importer.rows import Row, as_text
from gateway.importer.tables import Table
from gateway.model import GatewayError, Rejection

EDIT_SECONDS = 5.0
"""The file is written at most this long after the progress file; a later change was made by someone else."""


class RejectedFile:
    """Writes `FILE.rejected.csv`. It is created with the first rejected row."""

    def __init__(self, name: str, table: Table) -> None:
        self.path = Path(name + REJECTED_SUFFIX)
        self._columns = list(table.columns)
        self._has_json = table.has_calls
        self._descriptor: int | None = None

    def open(self, size: int, saved_at: float | None) -> None:
        """Continue the file of an earlier run that had `size` bytes when its progress was saved.

        What is behind them is cut off: the rows are imported again. `saved_at`: unix seconds; None for a new import.
        Raises `GatewayError` when the file was changed in the meantime, or belongs to another import.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return  # none yet, or the user has moved it away to correct the rows
        if saved_at is None:
            raise GatewayError(f"{self.path} exists; import it, or move it away, before this file is imported again")
        if status.st_size < size or status.st_mtime > saved_at + EDIT_SECONDS:
            raise GatewayError(
                f"{self.path} was changed since the import was stopped; move it away, and run the command again"
            )
        os.truncate(self.path, size)

    def write(self, rows: Sequence[tuple[Row, Rejection]]) -> None:
        """Add rejected rows. Raises `OSError`, and then nothing is added."""
        if not rows:
            return
        lines = _Lines()
        writer = csv.writer(lines, lineterminator="\r\n")
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            if not os.fstat(self._descriptor).st_size:
                own = [JSON_COLUMN] if self._has_json or rows[0][0].raw is not None else self._columns
                lines.append("\ufeff")
                writer.writerow([*ESCAPED_COLUMNS, *map(escaped, own)])
        for row, rejection in rows:
            cells = [as_text(cell) for cell in row.cells] if row.raw is None else [row.raw]
            writer.writerow([row.line, rejection.code, printable(rejection.message), *map(escaped, cells)])
        size = os.fstat(self._descriptor).st_size
        content = memoryview("".join(lines).encode("utf-8", "surrogatepass"))
        try:
            while content:
                content = content[os.write(self._descriptor, content) :]
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def sync(self) -> int:
        """Make the file durable; its size. Raises `OSError`."""
        if self._descriptor is None:
            return self.path.stat().st_size if self.path.exists() else 0
        os.fsync(self._descriptor)
        return os.fstat(self._descriptor).st_size

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class _Lines(list[str]):
    """Collects the lines of a CSV writer."""

    def write(self, line: str) -> None:
        self.append(line)
