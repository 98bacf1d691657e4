"""Builds log records, and exceptions that were raised."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Mapping
from typing import Any

LEVEL = logging.WARNING


def record(
    message: object = "it happened",
    *args: object,
    logger: str = "gateway.ingest",
    level: int = LEVEL,
    error: BaseException | None = None,
    extra: Mapping[str, object] | None = None,
) -> logging.LogRecord:
    exc_info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.getLogger(logger).makeRecord(
        logger, level, "/lib/module.py", 7, message, args, exc_info, func="function", extra=dict(extra or {})
    )


def raised(error: BaseException, *, cause: BaseException | None = None) -> BaseException:
    """The exception with a traceback that ends in `raise_it`."""

    def raise_it() -> None:
        if cause is not None:
            raise error from cause
        raise error

    try:
        raise_it()
    except BaseException as caught:  # noqa: BLE001
        return caught
    raise AssertionError


def unsafe_characters(line: str) -> set[str]:
    """Control and format characters, surrogates, and line and paragraph separators."""
    return {char for char in line if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}


def fields_of(formatted: Any) -> set[str]:
    """Keys of a decoded JSON line, apart from those of every line."""
    return set(formatted) - {"ts", "level", "logger", "message"}
