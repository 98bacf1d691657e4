"""NDJSON files, and files of rejected rows of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from gateway.importer.delimited import DelimitedTable
from gateway.importer.lines import LINE_TOO_LONG, Lines, UnusableLine
from gateway.importer.rejected_cells import JSON_COLUMN
from gateway.importer.rows import MAX_LINE, SAMPLE_CHARACTERS, SAMPLE_ROWS, Row
from gateway.importer.texts import TextFile
from gateway.ingest.decode import BadRequest, decode
from gateway.model import GatewayError, JsonObject, Rejection

NOT_AN_OBJECT = Rejection("not_an_object", "The line is not a JSON object. Write one object in each line.")


class NdjsonTable:
    """NDJSON: a JSON object in each line. Objects inside it are columns with dotted names.

    The columns are those of the first rows. A file of `track` calls is recognised by its first object.
    """

    def __init__(self, file: TextFile, *, calls: bool = False) -> None:
        """`calls`: whether each line is a call, whatever it looks like. Raises `GatewayError`."""
        self.position = file.position
        self.close = file.close
        self._objects = _numbered(_json_lines(file.name, file.lines))
        self._sample = list(_sample(self._objects))
        documents = [document for document, _ in self._sample if document is not None]
        self.has_calls = calls or (bool(documents) and is_call(documents[0]))
        self.columns = () if self.has_calls else _columns_of(documents)

    def rows(self) -> Iterator[Row]:
        """See `Table`."""
        columns, has_calls = self.columns, self.has_calls
        for document, row in itertools.chain(self._sample, self._objects):
            if has_calls or document is None:
                yield row
            else:
                values = flattened(document)
                yield row._replace(cells=[values.get(column, "") for column in columns])


def _json_lines(name: str, lines: Lines) -> Iterator[tuple[JsonObject | None, int, Rejection | None, str]]:
    """Each line that is not empty: its object, its number, its fault, and itself."""
    while True:
        lines.begin_record()
        fault = document = None
        try:
            text = next(lines).strip()
        except StopIteration:
            return
        except UnicodeDecodeError:
            raise GatewayError(
                f"{name}, after line {lines.number}: a byte that cannot be decoded; give --encoding"
            ) from None
        except UnusableLine as error:
            text, fault = lines.record[0].strip(), error.rejection
        if not text:
            continue
        if fault is None:
            document, fault = parse_object(text)
        yield document, lines.number, fault, text


def parse_object(text: str | bytes) -> tuple[JsonObject | None, Rejection | None]:
    """The JSON object in a text, or its fault."""
    try:
        document = decode(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    except BadRequest as error:
        return None, Rejection(error.code, str(error).replace("body", "line"))
    return (document, None) if isinstance(document, dict) else (None, NOT_AN_OBJECT)


Parsed = tuple[JsonObject | None, Row]


def _numbered(lines: Iterator[tuple[JsonObject | None, int, Rejection | None, str]]) -> Iterator[Parsed]:
    for number, (document, line, fault, text) in enumerate(lines, 1):
        cut = text[:MAX_LINE] if fault is LINE_TOO_LONG else text
        yield document, Row(number, line, (), fault, cut)


def _sample(objects: Iterator[Parsed]) -> Iterator[Parsed]:
    """The first objects, within the limits of a sample."""
    size = 0
    for parsed in itertools.islice(objects, SAMPLE_ROWS):
        yield parsed
        size += len(parsed[1].raw or "")
        if size > SAMPLE_CHARACTERS:
            return


def is_call(document: JsonObject) -> bool:
    """Whether an object is a call of RudderStack or Segment, and not a row with columns."""
    return "type" in document and any(
        isinstance(document.get(key), dict) for key in ("context", "properties", "traits")
    )


def _columns_of(documents: Sequence[JsonObject]) -> Sequence[str]:
    return list(dict.fromkeys(key for document in documents for key in flattened(document)))


def flattened(document: JsonObject, prefix: str = "") -> JsonObject:
    """The values of an object, those of objects inside it by dotted names."""
    values: JsonObject = {}
    for key, value in document.items():
        if isinstance(value, dict) and prefix.count(".") < 4:
            values |= flattened(value, f"{prefix}{key}.")
        else:
            values[prefix + key] = "" if value is None else value
    return values


class RejectedJsonTable:
    """A file of rejected rows of an NDJSON file: each row has the line in `JSON_COLUMN`."""

    def __init__(self, table: DelimitedTable) -> None:
        self._table = table
        self.position = table.position
        self.close = table.close
        self._rows = table.rows()
        sample = list(itertools.islice(map(self._parse, self._rows), SAMPLE_ROWS))
        self._sample = sample
        documents = [document for document, _ in sample if document is not None]
        self.has_calls = bool(documents) and is_call(documents[0])
        self.columns = () if self.has_calls else _columns_of(documents)

    def _parse(self, row: Row) -> Parsed:
        if row.fault is not None:
            return None, row._replace(raw=",".join(map(str, row.cells)))
        text = str(row.cells[self._table.columns.index(JSON_COLUMN)])
        document, fault = parse_object(text)
        return document, Row(row.number, row.line, (), fault, text)

    def rows(self) -> Iterator[Row]:
        """See `Table`."""
        for document, row in itertools.chain(self._sample, map(self._parse, self._rows)):
            if self.has_calls or document is None:
                yield row
            else:
                values = flattened(document)
                yield row._replace(cells=[values.get(column, "") for column in self.columns])
