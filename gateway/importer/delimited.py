"""CSV and TSV files."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence

from gateway.importer.lines import UnusableLine
from gateway.importer.rejected_cells import ESCAPED_COLUMNS, unescaped
from gateway.importer.rows import MAX_FIELD, Row
from gateway.importer.texts import TextFile
from gateway.model import GatewayError, Rejection

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}

MALFORMED = Rejection(
    "malformed_quotes",
    "A quoted field is not closed, or has text after its closing quote. Close it, or write a quote inside it twice.",
)
FIELD_TOO_LONG = Rejection(
    "field_too_long", f"A field is longer than {MAX_FIELD} characters, or its quote is not closed. Correct it."
)


class DelimitedTable:
    """CSV and TSV: the first row has the names of the columns."""

    has_calls = False

    def __init__(self, file: TextFile, delimiter: str | None) -> None:
        """`delimiter`: None to recognise it. Raises `GatewayError`."""
        csv.field_size_limit(MAX_FIELD)
        name = self._name = file.name
        self._lines = file.lines
        self.position = file.position
        self.close = file.close
        try:
            first = next(self._lines, "")
        except UnusableLine as error:
            raise GatewayError(f"{name}, line 1: {error}") from None
        if not first.strip():
            raise GatewayError(f"{name}: the first line is empty; expected the names of the columns")
        self._lines.begin_record()
        delimiter = delimiter or _guess_delimiter(name, first)
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        try:
            header = next(csv.reader(itertools.chain([first], self._lines), delimiter=delimiter, strict=True))
        except (csv.Error, UnusableLine):
            raise GatewayError(f"{name}, line 1: the names of the columns cannot be read; check the quotes") from None
        self.columns: Sequence[str] = [column.strip() for column in header]
        self._width = len(self.columns)
        self._is_escaped = tuple(self.columns[: len(ESCAPED_COLUMNS)]) == ESCAPED_COLUMNS
        if self._is_escaped:
            self.columns = [unescaped(column) for column in self.columns[len(ESCAPED_COLUMNS) :]]

    def rows(self) -> Iterator[Row]:
        """See `Table`."""
        lines, reader, width = self._lines, self._reader, self._width
        number = 0
        while True:
            lines.begin_record()
            line = lines.number + 1
            fault = None
            cells: Sequence[str] = ()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = FIELD_TOO_LONG if "field limit" in str(error) else MALFORMED
            except UnusableLine as error:
                fault = error.rejection
            except UnicodeDecodeError:
                raise GatewayError(
                    f"{self._name}, after line {lines.number}: a byte that cannot be decoded; give --encoding"
                ) from None
            if not cells and fault is None:
                continue  # an empty line
            number += 1
            if fault is None and len(cells) != width:
                if len(cells) > width and not any(cells[width:]):
                    cells = cells[:width]
                elif len(lines.record) > 1:
                    fault = MALFORMED  # probably a quote that is closed by one of a later row
                else:
                    fault = _wrong_columns(len(cells), width)
            if fault is not None:
                if fault.code != "wrong_columns":
                    cells = [lines.record[0].rstrip("\r\n")[:MAX_FIELD]]
                    lines.reread_after_first()
                yield Row(number, line, cells, fault)
            elif self._is_escaped:
                yield Row(number, line, [unescaped(cell) for cell in cells[len(ESCAPED_COLUMNS) :]])
            else:
                yield Row(number, line, cells)


def _wrong_columns(found: int, expected: int) -> Rejection:
    return Rejection(
        "wrong_columns", f"The row has {found} fields; expected {expected}, as many as there are column names."
    )


def _guess_delimiter(name: str, header: str) -> str:
    counts = {delimiter: len(next(csv.reader([header], delimiter=delimiter))) for delimiter in DELIMITERS}
    most = max(counts.values())
    best = [delimiter for delimiter, count in counts.items() if count == most]
    if most == 1:
        return ","
    if len(best) > 1:
        names = " or ".join(DELIMITERS[delimiter] for delimiter in best)
        raise GatewayError(f"{name}: the fields could be separated by {names}; give --delimiter")
    return best[0]
