"""Closed sets of values in the import settings. This module imports nothing, so that the command line starts fast."""

from __future__ import annotations

from enum import StrEnum


class FileFormat(StrEnum):
    """Format of a file."""

    CSV = "csv"
    TSV = "tsv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


class DateOrder(StrEnum):
    """Which part comes first in a date such as 03/04/2026."""

    DAY_FIRST = "day_first"
    MONTH_FIRST = "month_first"


class Decimal(StrEnum):
    """The character between the units and the decimals of a number."""

    POINT = "point"
    COMMA = "comma"
