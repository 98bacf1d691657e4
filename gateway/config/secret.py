"""A value that is never printed: a write key, a token, an app secret.

Its origin is kept, so that a rotated secret can be read again, and so that a message can name the origin.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema


class Secret:
    """A secret that is given as `{ env = "NAME" }`, `{ file = "/path" }` or a plain string."""

    __slots__ = ("_env", "_file", "_value")

    def __init__(self, value: str, *, env: str | None = None, file: str | None = None) -> None:
        self._value = value
        self._env = env
        self._file = file

    @classmethod
    def parse(cls, given: Any) -> Self:
        """Read a secret from its form in the settings.

        Raises `ValueError` when the environment variable or the file is missing or unusable. The message never contains
        the value.
        """
        match given:
            case Secret():
                return cls(given._value, env=given._env, file=given._file)  # noqa: SLF001 (the same class)
            case str():
                return cls(_usable(given, "the string"))
            case {"env": str(name), **rest} if not rest:
                return cls(_from_environment(name), env=name)
            case {"file": str(path), **rest} if not rest:
                return cls(_from_file(path), file=path)
            case _:
                raise ValueError('invalid value (not shown); expected { env = "NAME" }, { file = "/path" } or a string')

    def reveal(self) -> str:
        """The secret itself. The caller must not log or store it."""
        return self._value

    @property
    def parts(self) -> tuple[str, str | None, str | None]:
        """The secret itself, and the environment variable or file that it was read from."""
        return self._value, self._env, self._file

    def reread(self) -> Secret:
        """The secret as it is in its file now. A secret from elsewhere is returned unchanged.

        Raises `ValueError` as `parse` does.
        """
        return Secret(_from_file(self._file), file=self._file) if self._file else self

    @property
    def is_from_file(self) -> bool:
        """Whether it was read from a file, so that `reread` may return another value."""
        return self._file is not None

    @property
    def origin(self) -> str:
        """A description of its origin, for messages."""
        if self._env:
            return f"environment variable {self._env}"
        if self._file:
            return f"file {self._file}"
        return "the settings"

    def __repr__(self) -> str:
        return f"Secret(from {self.origin})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse)


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise ValueError(f"environment variable {name} is not set; expected a secret in it")
    return _usable(value, f"environment variable {name}")


def _from_file(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ValueError(f"file {path} cannot be read: {reason}") from None
    return _usable(text, f"file {path}")


def _usable(value: str, origin: str) -> str:
    value = value.strip()
    if not value:
        raise ValueError(f"{origin} is empty; expected a secret")
    if not value.isprintable() or " " in value:
        raise ValueError(f"{origin} contains spaces or control characters; expected a secret without them")
    return value
