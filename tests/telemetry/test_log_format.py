"""Lines of the log: which fields and texts are written, and how they are escaped and cut."""

from __future__ import annotations

import ast
import asyncio
import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from aiohttp import web

import gateway
from gateway.telemetry.logging import CONTINUATION, FIELDS, MAX_TEXT, JsonFormatter, TextFormatter
from tests.telemetry.log_records import fields_of, raised, record, unsafe_characters

JSON = JsonFormatter()
TEXT = TextFormatter(colours=False)
FORMATTERS = pytest.mark.parametrize("formatter", [JSON, TEXT])

MARKER = "jane@example.com"
HUGE = 10**5000  # str() refuses it


@FORMATTERS
def test_a_message_and_its_known_fields_are_written(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%d events are kept", 3, extra={"lane": "store/1/-", "waiting": 3}))
    assert "3 events are kept" in line
    if formatter is JSON:
        assert {"lane": "store/1/-", "waiting": 3}.items() <= json.loads(line).items()
    else:
        assert line.endswith("3 events are kept lane=store/1/- waiting=3")


@FORMATTERS
def test_an_unknown_field_is_not_written(formatter: logging.Formatter) -> None:
    line = formatter.format(record(extra={"body": MARKER, "email": MARKER, MARKER: 1}))
    assert MARKER not in line
    assert formatter is not JSON or not fields_of(json.loads(line))


def test_every_field_in_the_code_is_known() -> None:
    """Literal keys of `extra=` arguments, and of the properties called `_extra`."""
    keys: set[str] = set()
    for path in Path(gateway.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                dicts = [word.value for word in node.keywords if word.arg == "extra"]
            elif isinstance(node, ast.FunctionDef) and node.name == "_extra":
                dicts = [each.value for each in ast.walk(node) if isinstance(each, ast.Return) and each.value]
            else:
                continue
            for dictionary in dicts:
                if isinstance(dictionary, ast.Dict):
                    keys |= {str(key.value) for key in dictionary.keys if isinstance(key, ast.Constant)}
    assert {"lane", "destination", "waiting"} <= keys
    assert keys <= FIELDS


@FORMATTERS
def test_control_characters_cannot_forge_a_line_or_drive_a_terminal(formatter: logging.Formatter) -> None:
    hostile = "a\n12:00:00 error  forged\x1b[2J\x9b31m\u202egnp\u2028\x7f\ud800\r"
    line = formatter.format(record("tag %s", hostile, extra={"lane": hostile}))
    assert not unsafe_characters(line)
    assert len(line.splitlines()) == 1
    shown = json.loads(line)["message"] if formatter is JSON else line
    assert r"a\x0a12:00:00 error  forged\x1b[2J\x9b31m\u202egnp\u2028\x7f\ud800\x0d" in shown


@FORMATTERS
def test_long_messages_and_fields_are_cut(formatter: logging.Formatter) -> None:
    line = formatter.format(record("m" * 1_000_000, extra={"lane": "f" * 1_000_000}))
    assert len(line) < 2 * MAX_TEXT + 300
    assert line.count("(995904 more characters)") == 2


@FORMATTERS
@pytest.mark.parametrize(
    "value", [10**30, HUGE, b"\xff", object(), ["x"], {"a": 1}, float("nan")], ids=lambda value: type(value).__name__
)
def test_a_field_of_any_type_can_be_written(formatter: logging.Formatter, value: object) -> None:
    assert "it happened" in formatter.format(record(extra={"lane": value}))


@FORMATTERS
def test_a_wrong_log_call_is_written_without_its_arguments(formatter: logging.Formatter) -> None:
    line = formatter.format(record("%d events of %d", MARKER))
    assert "log message that cannot be formatted: %d events of %d" in line
    assert MARKER not in line


@FORMATTERS
def test_a_record_of_a_library_is_written_without_its_text(formatter: logging.Formatter) -> None:
    foreign = record(f"bad {MARKER}", logger="aiohttp.server", error=raised(ValueError(MARKER)))
    foreign.server = foreign.lane = MARKER
    foreign.stack_info = f"Stack: {MARKER}"
    line = formatter.format(foreign)
    assert MARKER not in line
    assert "aiohttp.server" in line
    assert "/lib/module.py:7 function" in line
    assert "ValueError" in line
    assert "raise_it" in line


@pytest.mark.parametrize("logger", ["root", "asyncio", "gatewayx", "apsw"])
def test_only_loggers_of_the_gateway_are_its_own(logger: str) -> None:
    assert MARKER not in TEXT.format(record(MARKER, logger=logger))


def test_lines_of_an_exception_have_a_prefix_in_the_text_format() -> None:
    first, *others = TEXT.format(record(error=raised(ValueError()))).split("\n")
    assert first.endswith("it happened")
    assert len(others) >= 2
    assert all(line.startswith(CONTINUATION.lstrip("\n")) for line in others)


def test_only_the_level_is_coloured() -> None:
    line = TextFormatter(colours=True).format(record("\x1b[31mred"))
    assert line.count("\x1b") == 2
    assert line.endswith(r"\x1b[31mred")


MALFORMED = {
    "wrong chunk size": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
    "bad character in a header": b"POST / HTTP/1.1\r\nHost: a\r\nX\x01%s: 1\r\n\r\n",
}


@FORMATTERS
@pytest.mark.parametrize("request_", MALFORMED.values(), ids=MALFORMED)
async def test_no_malformed_request_is_quoted_in_the_log(request_: bytes, formatter: logging.Formatter) -> None:
    with logged(logging.getLogger("aiohttp"), formatter) as stream:
        server = web.Server(respond, access_log=None)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        writer.write(request_.replace(b"%s", MARKER.encode()))
        await reader.read()
        writer.close()
        listener.close()
        await server.shutdown(1)
    assert "aiohttp.server" in stream.getvalue()
    assert MARKER not in stream.getvalue()


async def respond(request: web.BaseRequest) -> web.Response:
    await request.read()
    return web.Response()


@contextmanager
def logged(logger: logging.Logger, formatter: logging.Formatter) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    try:
        yield stream
    finally:
        logger.removeHandler(handler)
