"""Log configuration and formats: one JSON object a line, or text for a terminal. Repeated warnings are suppressed.

All records of a process pass this module: those of libraries, warnings and uncaught exceptions too. A record is written
without the content of events and requests:

* Only the fields in `FIELDS` are written.
* Of the record of a library, only its origin and the types and stacks of its exceptions are written, because its text
  can quote the bytes of a request.
* Exceptions are written without messages that can quote data (`describe_exception`).
* Characters that are not printable are escaped, and long texts are cut.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import orjson

from gateway.config import LogFormat, LoggingSettings
from gateway.escaping import printable
from gateway.telemetry.exceptions import describe_exception, innermost_frame, type_name

log = logging.getLogger("gateway.process")

SUPPRESS_SECONDS = 30.0
"""Seconds in which a warning of one kind is written once. The next line of the kind counts the suppressed ones."""
MAX_KINDS = 512
"""Kinds of warnings that are tracked at once. Beyond it, all further warnings of a logger are one kind."""
MAX_TEXT = 4096
"""Characters of a message or of the value of a field; the rest is cut."""
MAX_KIND_TEXT = 200
"""Characters of a template or a lane that tell kinds of warnings apart."""
CONTINUATION = "\n    | "
"""Precedes each line of an exception in the text format, so that it cannot be taken for a record."""

_ADDED_FIELDS = frozenset({"suppressed", "worker"})  # by the filters of this module
FIELDS = _ADDED_FIELDS | {
    "action",
    "admin",
    "alert",
    "by",
    "code",
    "count",
    "destination",
    "destinations",
    "event",
    "event_set",
    "lane",
    "lanes",
    "mapping",
    "pid",
    "requests",
    "route",
    "server",
    "since",
    "source",
    "stage",
    "until",
    "version",
    "via",
    "waiting",
}
"""The fields (`extra`) of the gateway's own log records that are written."""

_COLOURS = {"DEBUG": "2", "INFO": "36", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


def configure_logging(settings: LoggingSettings, stream: TextIO | None = None, worker: int | None = None) -> None:
    """Write all log records of this process to one stream (standard error), in the format of the settings.

    Warnings and uncaught exceptions are logged too. `worker`: number of this process, which is added to each line.
    """
    stream = stream or sys.stderr
    as_text = settings.format is LogFormat.TEXT or (settings.format is LogFormat.AUTO and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter(colours=stream.isatty()) if as_text else JsonFormatter())
    if worker is not None:
        handler.addFilter(_worker_filter(worker))
    duplicates = DuplicateFilter(time.monotonic, handler)
    handler.addFilter(duplicates)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    logging.raiseExceptions = False  # otherwise a record that cannot be written is printed with its arguments
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    sys.unraisablehook = _log_unraisable
    threading.excepthook = _log_uncaught_in_thread
    atexit.register(duplicates.flush)


class DuplicateFilter(logging.Filter):
    """Passes one warning of a kind in `SUPPRESS_SECONDS`, and adds the number of suppressed ones to the next.

    Warnings are of one kind if they have the same logger, message template, lane, and type and origin of an exception.
    Records below WARNING always pass.
    """

    def __init__(self, clock: Callable[[], float], handler: logging.Handler) -> None:
        super().__init__()
        self._clock = clock
        self._handler = handler
        # Several threads log. The lock is reentrant because the garbage collector can cause a log record at any time.
        self._lock = threading.RLock()
        self._kinds: dict[tuple[Any, ...], _Kind] = {}  # the kind that was written last is at the end

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        if record.levelno < logging.WARNING:
            return True
        with self._lock:
            now = self._clock()
            key = self._key(record, now)
            kind = self._kinds.get(key)
            if kind is not None and now - kind.written_at < SUPPRESS_SECONDS:
                kind.suppressed += 1
                kind.last = _without_references(record)
                return False
            if kind is not None:
                del self._kinds[key]
                if kind.suppressed:
                    record.suppressed = kind.suppressed
            self._kinds[key] = _Kind(now)
        return True

    def flush(self) -> None:
        """Write the last suppressed record of each kind, so that no count is lost."""
        with self._lock:
            for kind in self._kinds.values():
                self._write_last(kind)
            self._kinds.clear()

    def _key(self, record: logging.LogRecord, now: float) -> tuple[Any, ...]:
        """The kind of a record. At the bound, the kind that was written first is removed if it is not in use."""
        key = _kind_of(record)
        if key not in self._kinds and len(self._kinds) >= MAX_KINDS:
            oldest = next(iter(self._kinds))
            if now - self._kinds[oldest].written_at < SUPPRESS_SECONDS:
                return (record.name,)
            self._write_last(self._kinds.pop(oldest))
        return key

    def _write_last(self, kind: _Kind) -> None:
        if kind.last is not None:
            kind.last.suppressed = kind.suppressed
            self._handler.acquire()
            try:
                self._handler.emit(kind.last)
            finally:
                self._handler.release()


@dataclass(slots=True)
class _Kind:
    """What is known of one kind of warnings."""

    written_at: float
    """Time of the last line."""
    suppressed: int = 0
    """Records that were suppressed since."""
    last: logging.LogRecord | None = None
    """The last of those."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `ts`, `level`, `logger`, `message`, `FIELDS`, and `exception` with line feeds.

    Characters that are not printable are escaped before the encoding, so that the values are safe for a terminal too.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without a line feed."""
        line = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": _text(record.name),
            "message": _message(record),
            **_fields(record),
        }
        if exception := _exception(record):
            line["exception"] = "\n".join(exception)
        return orjson.dumps(line).decode()


class TextFormatter(logging.Formatter):
    """Time, level, message and `FIELDS` on one line, followed by the lines of an exception after `CONTINUATION`."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines, without a line feed at the end."""
        level = f"{record.levelname.lower():7}"
        if self._colours:
            level = f"\x1b[{_COLOURS.get(record.levelname, '0')}m{level}\x1b[0m"
        clock = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        exception = "".join(CONTINUATION + line for line in _exception(record))
        return f"{clock} {level} {_message(record)}{fields}{exception}"


def _message(record: logging.LogRecord) -> str:
    if _is_foreign(record):
        origin = _text(f"{record.pathname}:{record.lineno} {record.funcName or ''}".rstrip())
        return f"message of {_text(record.name)} at {origin}: not written, because a library can quote requests"
    try:
        return _text(record.getMessage())
    except Exception:  # noqa: BLE001 (a bug in a log call must neither lose the record nor print its arguments)
        return f"log message that cannot be formatted: {_text(record.msg)}"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    allowed = _ADDED_FIELDS if _is_foreign(record) else FIELDS
    return {key: _value(value) for key, value in vars(record).items() if key in allowed}


def _value(value: Any) -> str | int | float | None:
    """A value that JSON can hold, with a limited size."""
    if value is None or value.__class__ in {bool, float} or (value.__class__ is int and abs(value) < 2**63):
        return value
    return _text(value)


def _exception(record: logging.LogRecord) -> list[str]:
    """Lines on the exception of a record, if it has one."""
    if not record.exc_info or record.exc_info[1] is None:
        return []
    lines = describe_exception(record.exc_info[1], messages=not _is_foreign(record))
    return [_text(line) for line in lines]


def _text(value: object) -> str:
    """A value as text on one line. It is cut to `MAX_TEXT` characters before they are escaped."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 (as for the message)
        return f"({type(value).__name__} that cannot be shown)"
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT]} ({len(text) - MAX_TEXT} more characters)"
    return printable(text)


def _is_foreign(record: logging.LogRecord) -> bool:
    """Whether the record is of a library, and can therefore quote a request."""
    return record.name != "gateway" and not record.name.startswith("gateway.")


def _kind_of(record: logging.LogRecord) -> tuple[Any, ...]:
    if _is_foreign(record):
        template = f"{record.pathname}:{record.lineno}"
    else:
        template = _message(record) if record.msg == "%s" else _text(record.msg)
    kind = (record.name, template[:MAX_KIND_TEXT], _text(getattr(record, "lane", ""))[:MAX_KIND_TEXT])
    if not record.exc_info or record.exc_info[1] is None:
        return kind
    error = record.exc_info[1]
    return (*kind, type_name(type(error)), innermost_frame(error))


def _without_references(record: logging.LogRecord) -> logging.LogRecord:
    """A copy without the arguments and the exception, which would keep the objects of a request in memory."""
    copied = ("name", "levelno", "levelname", "created", "pathname", "lineno", "funcName")
    fields = {key: getattr(record, key) for key in copied}
    return logging.makeLogRecord({**fields, **_fields(record), "msg": _message(record)})


def _worker_filter(worker: int) -> Callable[[logging.LogRecord], bool]:
    def add_worker(record: logging.LogRecord) -> bool:
        record.worker = worker
        return True

    return add_worker


# The hooks of the interpreter, which otherwise print to standard error.


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 (given by the interpreter)
    line: str | None = None,  # noqa: ARG001 (given by the interpreter)
) -> None:
    logger = logging.getLogger("py.warnings")
    if logger.isEnabledFor(logging.WARNING):
        warning = message if isinstance(message, Warning) else category(message)
        exc_info = (category, warning, None)
        logger.handle(logging.LogRecord(logger.name, logging.WARNING, filename, lineno, "", (), exc_info))


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("uncaught exception; the process ends", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        name = args.thread.name if args.thread is not None else "?"
        log.error('uncaught exception; the thread "%s" ends', name, exc_info=args.exc_value)


def _log_unraisable(args: sys.UnraisableHookArgs) -> None:
    log.error("exception where none can be raised, such as in a destructor", exc_info=args.exc_value)
