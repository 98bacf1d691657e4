"""Parquet files, with the optional package pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.importer.inputs import STDIN, missing_pyarrow
from gateway.importer.rows import Row
from gateway.model import GatewayError


class ParquetTable:
    """Parquet. Its row groups are read in pieces, so that memory does not depend on the size of the file."""

    has_calls = False
    PIECE_ROWS = 1000

    def __init__(self, name: str) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 (optional)
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ImportError:
            raise missing_pyarrow(name, "Parquet") from None
        self._name = name
        self._errors = (pa.ArrowException, OSError)
        if name == STDIN:
            raise GatewayError("standard input cannot be read as Parquet; save it to a file")
        try:
            self._file = pq.ParquetFile(name)
        except self._errors as error:
            raise GatewayError(f"{name}: cannot be read as Parquet: {error}") from None
        self.columns: Sequence[str] = self._file.schema_arrow.names
        self._count = self._file.metadata.num_rows
        self._read = 0

    def close(self) -> None:
        """See `Table`."""
        self._file.close()

    def position(self) -> float | None:
        """See `Table`."""
        return self._read / self._count if self._count else 1.0

    def rows(self) -> Iterator[Row]:
        """See `Table`."""
        try:
            for piece in self._file.iter_batches(batch_size=self.PIECE_ROWS):
                for cells in zip(*(column.to_pylist() for column in piece.columns), strict=True):
                    self._read += 1
                    yield Row(self._read, self._read, ["" if cell is None else cell for cell in cells])
        except self._errors as error:
            raise GatewayError(f"{self._name}, after row {self._read}: cannot be read as Parquet: {error}") from None
