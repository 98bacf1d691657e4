"""Decides how a file is read: settings, else guesses from column names and first rows. Nothing uncertain is guessed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from gateway.importer.amounts import AMBIGUOUS_NUMBER, guess_separator
from gateway.importer.choices import FileFormat
from gateway.importer.columns import Recognised, problems_of, recognise
from gateway.importer.convert import CallConverter, Converter, RowConverter
from gateway.importer.inputs import STDIN, Fingerprint, check_text, fingerprint, format_of, readable
from gateway.importer.rows import Row
from gateway.importer.settings import SETTINGS_SUFFIX, ImportSettings, load_settings, validated
from gateway.importer.tables import Table, open_table, sample_of
from gateway.importer.times import AMBIGUOUS_DATE, NO_TIME_ZONE, guess_order
from gateway.model import GatewayError, Rejection

UNCERTAIN = {
    AMBIGUOUS_DATE: "could have the day or the month first",
    NO_TIME_ZONE: "has no UTC offset, and its time zone is not known",
    AMBIGUOUS_NUMBER: "has a separator that could be a decimal or a thousands separator",
}
"""Rejection codes that stop an import if one of the first rows has them: all rows would be read in the same way."""


@dataclass(slots=True)
class Plan:
    """How one file is read."""

    name: str
    settings: ImportSettings
    """Complete: given by the user, and guessed."""
    recognised: Recognised | None
    """None if the columns are set, or if the file has calls instead of columns."""
    settings_file: Path | None
    fingerprint: Fingerprint | None
    """None for standard input."""
    table: Table
    sample: Sequence[Row]
    converter: Converter
    _rest: Iterator[Row]

    @property
    def unused(self) -> list[str]:
        """Columns that are not sent."""
        used = {column for columns in self.settings.columns.values() for column in columns}
        used |= {*self.settings.properties.values(), *self.settings.only}
        return [column for column in self.table.columns if column and column not in used]

    def rows(self) -> Iterator[Row]:
        """All rows, once. Raises `GatewayError`."""
        with readable(self.name):
            yield from self.sample
            yield from self._rest

    def close(self) -> None:
        """Close the file."""
        self.table.close()


def plan_import(name: str, overrides: Mapping[str, object], settings_path: Path | None) -> Plan:
    """Look at a file and decide how to read it. Raises `GatewayError` with every problem.

    `overrides` are settings of the command line. `settings_path`: None to use the file's own settings file, if any.
    """
    plan, problems = draft_plan(name, overrides, settings_path)
    if problems:
        plan.close()
        place = plan.settings_file or f"{name}{SETTINGS_SUFFIX} (gateway backfill --init writes it)"
        lines = [f"{name}: {problem}" for problem in problems]
        raise GatewayError("\n".join([*lines, f"{name}: nothing was sent. Settings are read from {place}"]))
    return plan


def draft_plan(name: str, overrides: Mapping[str, object], settings_path: Path | None) -> tuple[Plan, Sequence[str]]:
    """As `plan_import`, but with the problems as sentences."""
    if settings_path is None and name != STDIN and Path(name + SETTINGS_SUFFIX).exists():
        settings_path = Path(name + SETTINGS_SUFFIX)
    given = load_settings(settings_path) if settings_path else ImportSettings()
    given = validated({**given.model_dump(exclude_unset=True), **overrides}, name)
    file_format = given.format or format_of(name)
    content = None
    if name != STDIN:
        content = fingerprint(name)
        if file_format is not FileFormat.PARQUET:
            check_text(name, given.encoding)
    with readable(name):
        table = open_table(name, file_format, delimiter=given.delimiter, encoding=given.encoding)
    try:
        return _planned(name, given, settings_path, content, table)
    except BaseException:
        table.close()
        raise


def _planned(
    name: str, given: ImportSettings, settings_path: Path | None, content: Fingerprint | None, table: Table
) -> tuple[Plan, Sequence[str]]:
    rows = table.rows()
    with readable(name):
        sample = sample_of(rows)
    columns = ",".join(table.columns)
    key = blake2b((content.digest if content else columns).encode(), digest_size=32).digest()
    if table.has_calls:
        plan = Plan(name, given, None, settings_path, content, table, sample, CallConverter(key), rows)
        return plan, []
    recognised = None if given.columns else recognise(table.columns)
    settings = given if recognised is None else _with_columns(given, recognised)
    settings = _with_guesses(settings, table.columns, sample)
    converter = _converter(name, table.columns, settings, key)
    problems = problems_of(settings.columns)
    for field, names in (recognised.ambiguous if recognised else {}).items():
        choices = " or ".join(map(repr, names))
        problems.append(f"{field} could be {choices}; set it in `columns.{field}`")
    if not problems:
        problems = _uncertain(sample, converter)
    plan = Plan(name, settings, recognised, settings_path, content, table, sample, converter, rows)
    return plan, problems


def _converter(name: str, columns: Sequence[str], settings: ImportSettings, key: bytes) -> RowConverter:
    try:
        return RowConverter(columns, settings, key)
    except GatewayError as error:
        raise GatewayError(f"{name}: {error}") from None


def _with_columns(settings: ImportSettings, recognised: Recognised) -> ImportSettings:
    return settings.model_copy(update={"columns": recognised.columns, "only": dict(settings.only) or recognised.only})


def _with_guesses(settings: ImportSettings, columns: Sequence[str], sample: Iterable[Row]) -> ImportSettings:
    """The settings, completed by what the first rows show without doubt."""
    readable = [row for row in sample if row.fault is None]

    def cells(field: str) -> list[object]:
        names = settings.columns.get(field, ())
        indexes = [index for index, column in enumerate(columns) if column in names]
        return [row.cells[index] for row in readable for index in indexes]

    guesses = {
        "date_order": settings.date_order or guess_order(cells("event_time")),
        "birthday_order": settings.birthday_order or guess_order(cells("birthday")),
        "decimal": settings.decimal or guess_separator(cells("value")),
    }
    return settings.model_copy(update=guesses)


def _uncertain(sample: Iterable[Row], converter: Converter) -> list[str]:
    """Why values of the first rows could be read in two ways, with the first line of each reason."""
    found: dict[str, str] = {}
    for row in sample:
        result = converter.convert(row)
        if isinstance(result, Rejection) and result.code in UNCERTAIN and result.message not in found:
            found[result.message] = f"line {row.line}: {result.message}"
    return list(found.values())
