"""Describes exceptions for the log: their types and stacks, without the data that their messages may quote.

The message of an exception often contains the value that caused it, which can be an event, a header or a write key.
"""

from __future__ import annotations

import os
import traceback
from errno import errorcode
from types import FrameType, TracebackType

from gateway.model import GatewayError

MAX_EXCEPTIONS = 16
"""Exceptions of one chain or group that are described."""
MAX_FRAMES = 40
"""Frames of one exception that are described: half of them the outermost, half the innermost."""


def describe_exception(error: BaseException, *, messages: bool) -> list[str]:
    """Lines on an exception, its causes and the members of a group: type, then file, line and function of each frame.

    Frames are in the order of the calls, the outermost first. With `messages`, a `GatewayError` is described with its
    message and an `OSError` with the text of its number; all other messages, and source lines, are left out.
    """
    lines: list[str] = []
    described: set[int] = set()
    pending: list[tuple[str, BaseException]] = [("", error)]
    while pending:
        relation, current = pending.pop()
        if id(current) in described:
            continue
        if len(described) == MAX_EXCEPTIONS:
            lines.append("(further exceptions are left out)")
            break
        described.add(id(current))
        name = type_name(type(current))
        message = _message(current) if messages else ""
        lines.append(f"{relation}{name}: {message}" if message else f"{relation}{name}")
        lines += _frames(current.__traceback__)
        if current.__cause__ is not None:
            pending.append(("caused by ", current.__cause__))
        elif current.__context__ is not None and not current.__suppress_context__:
            pending.append(("while handling ", current.__context__))
        if isinstance(current, BaseExceptionGroup):
            members = current.exceptions[:MAX_EXCEPTIONS]
            pending += [(f"member of {name}: ", member) for member in reversed(members)]
    return lines


def type_name(kind: type[BaseException]) -> str:
    """The name of an exception's type, with its module unless it is built in."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def innermost_frame(error: BaseException) -> str:
    """File, line and function in which the exception was raised; empty if it was not raised."""
    *_, innermost = [None, *traceback.walk_tb(error.__traceback__)]
    return _location(*innermost) if innermost is not None else ""


def _message(error: BaseException) -> str:
    if isinstance(error, GatewayError):
        return str(error)
    # The text of the number, not the exception's own, which can quote a URL. Only built-in types have an `errno` of the
    # operating system for sure.
    number = error.errno if isinstance(error, OSError) and type(error).__module__ == "builtins" else None
    return f"[Errno {number}] {os.strerror(number)}" if number is not None and number in errorcode else ""


def _frames(trace: TracebackType | None) -> list[str]:
    lines = [f"  {_location(frame, line)}" for frame, line in traceback.walk_tb(trace)]
    if len(lines) <= MAX_FRAMES:
        return lines
    half = MAX_FRAMES // 2
    return [*lines[:half], f"  ({len(lines) - MAX_FRAMES} frames are left out)", *lines[-half:]]


def _location(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}:{line} {frame.f_code.co_qualname}"
