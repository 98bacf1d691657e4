"""The settings of an import: which column has which field, and how times and numbers are written. A TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.importer.choices import DateOrder, Decimal, FileFormat
from gateway.importer.fields import FIELDS
from gateway.model import GatewayError

SETTINGS_SUFFIX = ".toml"
MAX_SETTINGS_BYTES = 1024 * 1024


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}; expected a name such as Europe/Berlin or UTC") from None
    return name


def _delimiter(given: str) -> str:
    if len(given) != 1 or given in '"\r\n\0':
        raise ValueError("expected one character, and no quote or line break")
    return given


def _encoding(name: str) -> str:
    try:
        "".encode(name)  # also fails for codecs that are no text encodings
    except LookupError:
        raise ValueError(f"unknown text encoding {name!r}; expected a name such as utf-8, cp1252 or latin-1") from None
    return name


def _field(name: str) -> str:
    if name not in FIELDS:
        raise ValueError(f"unknown field {name!r}; expected one of {', '.join(FIELDS)}")
    return name


def _one_or_more(given: object) -> object:
    return [given] if isinstance(given, str) else given


Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_more), Field(min_length=1, max_length=20)]


class ImportSettings(BaseModel):
    """The settings. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    format: FileFormat | None = None
    """Default: from the name of the file."""
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    """Between the fields of a CSV file. Default: from its first line."""
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    """Default: from the byte order mark, else UTF-8."""
    time_zone: Annotated[str, AfterValidator(_zone)] | None = None
    """Of times without an offset, as in the IANA database."""
    date_order: DateOrder | None = None
    """Of `event_time`."""
    birthday_order: DateOrder | None = None
    decimal: Decimal | None = None
    event: str = "Order Completed"
    """Event name of rows without a column for it."""
    currency: str | None = None
    country: str | None = None
    action_source: str | None = None
    upload_tag: str | None = None
    """Values of rows without a value of their own."""
    columns: Mapping[Annotated[str, AfterValidator(_field)], Names] = {}
    """Column names by field: the first with a value counts; `email` and `phone` take the values of all."""
    properties: Mapping[str, str] = {}
    """Names of columns to send as further properties, by name of the property."""
    events: Mapping[str, str] = {}
    """Event names for the gateway, by the value in the column of `event`."""
    only: Mapping[str, Names] = {}
    """By column, the values of the rows to send; rows with other values are skipped. Case does not matter."""

    @property
    def digest(self) -> str:
        """A hash of the settings: rows that are sent with other settings are other events."""
        return blake2b(self.model_dump_json().encode(), digest_size=16).hexdigest()


def load_settings(path: Path) -> ImportSettings:
    """Read a settings file. Raises `GatewayError` with every error."""
    try:
        content = path.read_bytes()
        if len(content) > MAX_SETTINGS_BYTES:
            raise GatewayError(f"{path}: the file is larger than {MAX_SETTINGS_BYTES} bytes; is it a settings file?")
        return validated(tomllib.loads(content.decode()), str(path))
    except OSError as error:
        raise GatewayError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GatewayError(f"{path}: invalid TOML: {error}") from None


def validated(tree: Mapping[str, object], origin: str) -> ImportSettings:
    """The settings in a tree of values. Raises `GatewayError` with every error; `origin` is named in it."""
    try:
        return ImportSettings.model_validate(tree)
    except ValidationError as error:
        lines = []
        for details in error.errors(include_input=False, include_url=False):
            place = ".".join(str(part) for part in details["loc"] if part != "[key]")
            lines.append(f"{origin}: {place}: {details['msg'].removeprefix('Value error, ')}")
        raise GatewayError("\n".join(lines)) from None
