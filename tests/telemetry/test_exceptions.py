"""Descriptions of exceptions."""

from __future__ import annotations

import pytest
from aiohttp import ClientOSError

from gateway.model import GatewayError
from gateway.spool import SpoolFull
from gateway.telemetry.exceptions import MAX_EXCEPTIONS, MAX_FRAMES, describe_exception
from tests.telemetry.log_records import raised


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (ValueError("content"), "ValueError"),
        (
            GatewayError("the port is in use; choose another"),
            "gateway.model.GatewayError: the port is in use; choose another",
        ),
        (SpoolFull("the spool is full"), "gateway.spool.protocol.SpoolFull: the spool is full"),
        (OSError(28, "content", "file"), "OSError: [Errno 28] No space left on device"),
        (OSError("content"), "OSError"),
        (
            ClientOSError(32, "cannot write https://example.com/?token=content"),
            "aiohttp.client_exceptions.ClientOSError",
        ),
    ],
)
def test_only_messages_that_quote_no_content_are_described(error: BaseException, title: str) -> None:
    assert describe_exception(raised(error), messages=True)[0] == title


def test_without_messages_only_types_are_described() -> None:
    assert describe_exception(GatewayError("text"), messages=False) == ["gateway.model.GatewayError"]


def test_causes_contexts_and_members_are_described_after_the_exception() -> None:
    member = raised(ValueError("content"), cause=raised(KeyError("content")))
    group = BaseExceptionGroup("content", [member, TypeError("content")])
    group.__context__ = raised(RuntimeError("content"))
    lines = describe_exception(group, messages=True)
    assert [line for line in lines if not line.startswith("  ")] == [
        "ExceptionGroup",
        "member of ExceptionGroup: ValueError",
        "caused by KeyError",
        "member of ExceptionGroup: TypeError",
        "while handling RuntimeError",
    ]


def test_a_suppressed_context_is_not_described() -> None:
    error = ValueError()
    error.__context__ = KeyError()
    assert describe_exception(error, messages=True) == ["ValueError", "while handling KeyError"]
    error.__suppress_context__ = True
    assert describe_exception(error, messages=True) == ["ValueError"]


def test_a_frame_has_file_line_and_function_but_no_source() -> None:
    *_, frame = describe_exception(raised(ValueError("content")), messages=True)
    file, _, function = frame.strip().partition(" ")
    path, _, line = file.rpartition(":")
    assert path.endswith("/log_records.py")
    assert line.isdecimal()
    assert function == "raised.<locals>.raise_it"


def test_a_deep_stack_is_cut_in_the_middle() -> None:
    def recurse(depth: int) -> None:
        if not depth:
            raise ValueError
        recurse(depth - 1)

    with pytest.raises(ValueError) as caught:
        recurse(300)
    lines = describe_exception(caught.value, messages=True)
    assert len(lines) == MAX_FRAMES + 2
    assert "(262 frames are left out)" in lines[MAX_FRAMES // 2 + 1]


def test_a_long_chain_and_a_large_group_are_cut() -> None:
    error: BaseException = ValueError()
    for _ in range(1000):
        error = raised(ValueError(), cause=error)
    group = BaseExceptionGroup("", [ValueError() for _ in range(1000)])
    for each in (error, group):
        lines = describe_exception(each, messages=True)
        assert sum("ValueError" in line for line in lines) <= MAX_EXCEPTIONS
        assert lines[-1] == "(further exceptions are left out)"


def test_a_cycle_of_causes_ends() -> None:
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert describe_exception(first, messages=True) == ["ValueError", "caused by KeyError"]
