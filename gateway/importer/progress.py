"""The progress of an import, kept beside the file: after a kill, the next run continues where this file says.

It is written to a temporary file that replaces the previous one, with an fsync, so it is always complete. It counts
only rows whose request was answered with 200 and rows that are in the file of rejected rows.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from gateway.model import GatewayError

PROGRESS_SUFFIX = ".backfill"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """What an import is: a file, read in one way, for one source of one gateway."""

    content: str
    """Hash of the file."""
    settings: str
    """Hash of the import settings."""
    url: str
    source: str
    """Hash of the write key."""


@dataclass(slots=True)
class Progress:
    """How far an import is. The counts are of rows, and add up to `rows`."""

    rows: int = 0
    """Rows from the beginning of the file that are done."""
    accepted: int = 0
    ignored: int = 0
    """Rows that the gateway had accepted before, or that its settings exclude."""
    rejected: int = 0
    skipped: int = 0
    """Rows that the import settings leave out."""
    rejected_bytes: int = 0
    """Size of the file of rejected rows."""
    is_complete: bool = False


class ProgressFile:
    """The file `FILE.backfill`."""

    def __init__(self, name: str, identity: Identity) -> None:
        self.path = Path(name + PROGRESS_SUFFIX)
        self._name = name
        self._identity = identity

    def load(self) -> Progress:
        """The progress of an earlier run; none if there was no such run.

        Raises `GatewayError` when the earlier run was of other content, other settings or another gateway.
        """
        try:
            stored = orjson.loads(self.path.read_bytes())
            identity, progress = Identity(**stored["import"]), Progress(**stored["progress"])
        except FileNotFoundError:
            return Progress()
        except OSError as error:
            raise GatewayError(f"cannot read {self.path}: {error.strerror}") from None
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise GatewayError(f"{self.path} is no progress of an import; move it away") from None
        self._check(identity, progress)
        return progress

    def _check(self, earlier: Identity, progress: Progress) -> None:
        now = self._identity
        if earlier == now:
            return
        done = f"{self._name}: {progress.rows} rows were imported"
        remedy = "or start again with --restart, which sends all rows again"
        if earlier.content != now.content:
            raise GatewayError(
                f"{done}, and then the file was changed. Import the new rows as a file of their own, {remedy}"
            )
        if earlier.settings != now.settings:
            raise GatewayError(f"{done} with other import settings. Restore the settings, {remedy}")
        if earlier.url != now.url:
            raise GatewayError(f"{done} into {earlier.url}. Give --url {earlier.url}, {remedy}")
        raise GatewayError(f"{done} with another write key. Give that write key, {remedy}")

    def save(self, progress: Progress) -> None:
        """Write the progress durably. Raises `OSError`."""
        content = orjson.dumps(
            {"version": VERSION, "import": asdict(self._identity), "progress": asdict(replace(progress))},
            option=orjson.OPT_INDENT_2,
        )
        temporary = self.path.with_name(self.path.name + ".new")
        with open(temporary, "wb") as file:  # noqa: PTH123
            file.write(content + b"\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
