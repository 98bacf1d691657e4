"""Log configuration and formats: one JSON object a line, or text for a terminal. Repeated warnings are suppressed."""

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

SUPPRESS_SECONDS = 30.0
"""Seconds in which a warning of one kind is written once. The next line of the kind counts the suppressed ones."""
MAX_KINDS = 512
"""Kinds of warnings that are tracked at once."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure_logging(settings: LoggingSettings, stream: TextIO | None = None, worker: int | None = None) -> None:
    """Write all log records of this process to one stream (standard error), in the format of the settings.

    `worker`: number of this process, which is added to each line.
    """
    stream = stream or sys.stderr
    as_text = settings.format is LogFormat.TEXT or (settings.format is LogFormat.AUTO and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter(colours=stream.isatty()) if as_text else JsonFormatter())
    duplicates = DuplicateFilter(time.monotonic)
    handler.addFilter(duplicates)
    if worker is not None:
        handler.addFilter(_worker_filter(worker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.captureWarnings(capture=True)
    atexit.register(duplicates.flush, handler)


class DuplicateFilter(logging.Filter):
    """Passes one warning of a kind in `SUPPRESS_SECONDS`, and adds the number of suppressed ones to the next.

    Warnings are of one kind if they have the same logger, message template and lane. Records with an exception, and
    those below WARNING, always pass.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        # By logger, template and lane: the time of the last line, the number of records that were suppressed since,
        # and the last of those.
        self._seen: dict[tuple[str, str, Any], tuple[float, int, logging.LogRecord | None]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.levelno < logging.WARNING or record.exc_info:
            return True
        key = (record.name, str(record.msg), getattr(record, "lane", None))
        now = self._clock()
        written, suppressed, _ = self._seen.get(key, (now - SUPPRESS_SECONDS, 0, None))
        if now - written < SUPPRESS_SECONDS:
            self._seen[key] = (written, suppressed + 1, record)
            return False
        if len(self._seen) >= MAX_KINDS:
            self._seen.clear()
        if suppressed:
            record.suppressed = suppressed
        self._seen[key] = (now, 0, None)
        return True

    def flush(self, handler: logging.Handler) -> None:
        """Write the last suppressed record of each kind, so that no count is lost."""
        for _, suppressed, record in self._seen.values():
            if suppressed and record is not None:
                record.suppressed = suppressed
                handler.emit(record)
        self._seen.clear()


def _worker_filter(worker: int) -> Callable[[logging.LogRecord], bool]:
    def add_worker(record: logging.LogRecord) -> bool:
        record.worker = worker
        return True

    return add_worker


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts`, `level`, `logger`, `message`, and the record's `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line feed."""
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
    """Time, level and message, followed by the record's `extra` fields."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line feed; followed by the exception, if there is one."""
        level = f"{record.levelname.lower():7}"
        if self._colours:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        extra = "".join(f" {key}={value}" for key, value in _extra(record).items())
        text = f"{clock} {level} {record.getMessage()}{extra}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text
