"""Repeated warnings in the log."""

from __future__ import annotations

import gc
import io
import logging
import weakref

from gateway.telemetry.logging import MAX_KINDS, SUPPRESS_SECONDS, DuplicateFilter, TextFormatter
from tests.telemetry.log_records import raised, record


class Log:
    """A handler with the filter, on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.handler.setFormatter(TextFormatter(colours=False))
        self.filter = DuplicateFilter(lambda: self.now, self.handler)
        self.handler.addFilter(self.filter)

    def write(self, given: logging.LogRecord) -> None:
        self.handler.handle(given)

    def lines(self) -> list[str]:
        """Lines since the last call, without time, level and exceptions."""
        lines = self.stream.getvalue().splitlines()
        self.stream.seek(0)
        self.stream.truncate()
        return [line.split(maxsplit=2)[2] for line in lines if not line.startswith(" ")]


def test_a_repeated_warning_is_written_once_and_then_counted() -> None:
    log = Log()
    for number in range(5):
        log.write(record("upload %d failed", number))
    assert log.lines() == ["upload 0 failed"]
    log.now = SUPPRESS_SECONDS
    log.write(record("upload %d failed", 5))
    assert log.lines() == ["upload 5 failed suppressed=4"]


def test_warnings_of_different_lanes_and_templates_are_of_different_kinds() -> None:
    log = Log()
    for lane in ("a", "b"):
        log.write(record("failed", extra={"lane": lane}))
        log.write(record("resumed", extra={"lane": lane}))
    assert len(log.lines()) == 4


def test_lines_that_consist_of_an_argument_are_of_different_kinds() -> None:
    log = Log()
    for error in ("sources: missing", "destinations: missing", "sources: missing"):
        log.write(record("%s", error))
    assert log.lines() == ["sources: missing", "destinations: missing"]


def test_information_is_never_suppressed() -> None:
    log = Log()
    for _ in range(3):
        log.write(record("started", level=logging.INFO))
    assert len(log.lines()) == 3


def test_the_same_exception_is_written_once_and_another_one_too() -> None:
    log = Log()
    for _ in range(3):
        log.write(record("a request failed", error=raised(ValueError())))
        log.write(record("a request failed", error=raised(KeyError())))
    assert len(log.lines()) == 2


def test_records_of_a_library_are_told_apart_by_their_origin_and_not_by_their_text() -> None:
    log = Log()
    for number in range(1000):
        log.write(record(f"bad request {number}", logger="aiohttp.server", error=raised(ValueError(number))))
    assert len(log.lines()) == 1
    log.filter.flush()
    (line,) = log.lines()
    assert line.endswith("suppressed=999")


def test_the_number_of_kinds_and_of_lines_is_bounded() -> None:
    log = Log()
    for number in range(10 * MAX_KINDS):
        log.write(record("failed", extra={"lane": f"lane {number}"}))
    assert len(log.filter._kinds) <= MAX_KINDS + 1
    assert len(log.lines()) == MAX_KINDS + 1


def test_no_count_is_lost_when_a_kind_is_forgotten() -> None:
    log = Log()
    log.write(record("old"))
    log.write(record("old"))
    log.now = SUPPRESS_SECONDS
    for number in range(MAX_KINDS):
        log.write(record("new", extra={"lane": str(number)}))
    assert "old suppressed=1" in log.lines()


def test_the_size_of_a_kind_is_bounded() -> None:
    log = Log()
    log.write(record("m" * 1_000_000, extra={"lane": "l" * 1_000_000}))
    (key,) = log.filter._kinds
    assert sum(map(len, key)) < 1000


def test_the_end_of_the_process_writes_the_remaining_counts() -> None:
    log = Log()
    for number in range(3):
        log.write(record("%d failed", number, extra={"lane": "a", "worker": 1}))
    log.lines()
    log.filter.flush()
    assert log.lines() == ["2 failed lane=a worker=1 suppressed=2"]
    log.filter.flush()
    assert log.lines() == []


def test_a_suppressed_record_keeps_no_exception_or_argument_in_memory() -> None:
    class Request(Exception):
        pass

    log = Log()
    error = raised(Request())
    kept = weakref.ref(error)
    for _ in range(2):
        log.write(record("failed: %s", error, error=error))
    del error
    gc.collect()
    assert kept() is None


def test_a_kind_with_values_that_cannot_be_hashed_or_printed_does_not_raise() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError

    log = Log()
    log.write(record(Broken(), extra={"lane": [Broken()]}))
    assert len(log.lines()) == 1
