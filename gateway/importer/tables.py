"""Tables: the columns of a file, and its rows one by one, in any of the formats."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Protocol

from gateway.importer.choices import FileFormat
from gateway.importer.delimited import DelimitedTable
from gateway.importer.ndjson import NdjsonTable, RejectedJsonTable
from gateway.importer.parquet import ParquetTable
from gateway.importer.rejected_cells import JSON_COLUMN
from gateway.importer.rows import SAMPLE_CHARACTERS, SAMPLE_ROWS, Row
from gateway.importer.texts import TextFile


class Table(Protocol):
    """A file with rows."""

    columns: Sequence[str]
    """Names as they are in the file; some may be empty or occur several times."""
    has_calls: bool
    """Whether each row is a `track` call as JSON (`Row.raw`), and not a row of a table."""

    def rows(self) -> Iterator[Row]:
        """The rows, once. Raises `GatewayError`."""
        ...

    def position(self) -> float | None:
        """Share of the file that was read, from 0 to 1; None if it is not known."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_table(
    name: str, file_format: FileFormat, *, delimiter: str | None = None, encoding: str | None = None
) -> Table:
    """Open a file. Raises `GatewayError`."""
    if file_format is FileFormat.PARQUET:
        return ParquetTable(name)
    file = TextFile(name, encoding)
    try:
        if file_format is FileFormat.NDJSON:
            return NdjsonTable(file)
        tab = "\t" if file_format is FileFormat.TSV else None
        table = DelimitedTable(file, delimiter or tab)
        return RejectedJsonTable(table) if JSON_COLUMN in table.columns else table
    except BaseException:
        file.close()
        raise


def sample_of(rows: Iterator[Row]) -> list[Row]:
    """The first rows, within the limits of a sample."""
    sample: list[Row] = []
    size = 0
    for row in itertools.islice(rows, SAMPLE_ROWS):
        sample.append(row)
        size += len(row.raw or "") + sum(len(cell) if isinstance(cell, str) else 8 for cell in row.cells)
        if size > SAMPLE_CHARACTERS:
            break
    return sample
