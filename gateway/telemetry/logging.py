"""The log: one JSON object a line, or text for people on a terminal. Repeated warnings are folded."""

from __future__ import annotations

import atexit
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from gateway.config import LogFormat, LoggingSettings

FOLD_SECONDS = 30.0
"""A warning is written at most once in this time; the next line of its kind says how many there were."""
FOLDED_KINDS = 512
"""Kinds of warnings that are watched at once."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure_logging(settings: LoggingSettings, stream: TextIO | None = None, worker: int | None = None) -> None:
    """Send everything that is logged in this process to one stream, in the form that the settings ask for.

    `worker`: the number of this process, which each line then has.
    """
    stream = stream or sys.stderr
    as_text = settings.format is LogFormat.TEXT or (settings.format is LogFormat.AUTO and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter(colours=stream.isatty()) if as_text else JsonFormatter())
    fold = DuplicateFilter(time.monotonic)
    handler.addFilter(fold)
    if worker is not None:
        handler.addFilter(_worker_filter(worker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.captureWarnings(capture=True)
    atexit.register(fold.flush, handler)


class DuplicateFilter(logging.Filter):
    """Lets one warning of a kind through, counts the others, and adds the count to the next that passes."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        # By logger, template and lane. When it was last written, what was held back since, and the last one held back.
        self._seen: dict[tuple[str, str, Any], tuple[float, int, logging.LogRecord | None]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is written now."""
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        key = (record.name, str(record.msg), getattr(record, "lane", None))
        now = self._clock()
        written, held, _ = self._seen.get(key, (now - FOLD_SECONDS, 0, None))
        if now - written < FOLD_SECONDS:
            self._seen[key] = (written, held + 1, record)
            return False
        if len(self._seen) >= FOLDED_KINDS:
            self._seen.clear()
        if held:
            record.deduplicated = held
        self._seen[key] = (now, 0, None)
        return True

    def flush(self, handler: logging.Handler) -> None:
        """Write what is still held back, so that no count is lost."""
        for _, held, record in self._seen.values():
            if held and record is not None:
                record.deduplicated = held
                handler.emit(record)
        self._seen.clear()


def _worker_filter(worker: int) -> Callable[[logging.LogRecord], bool]:
    def name(record: logging.LogRecord) -> bool:
        record.worker = worker
        return True

    return name


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One object a line: `ts`, `level`, `logger`, `message`, and what the call added."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


class TextFormatter(logging.Formatter):
    """Time, level and message, with what the call added behind."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        level = f"{record.levelname.lower():7}"
        if self._colours:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        moment = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        added = "".join(f" {key}={value}" for key, value in _extra(record).items())
        text = f"{moment} {level} {record.getMessage()}{added}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text
