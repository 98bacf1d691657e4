"""The log of rejections: the first of each source and code at once, further ones as counts once a minute."""

from __future__ import annotations

import logging

import pytest

from gateway.telemetry.logging import DuplicateFilter, JsonFormatter
from gateway.telemetry.rejection_log import COUNT_SECONDS, RejectionLog

FIRST = 'rejected an event of source "shop" for destination "store": unmapped_event. No event set. Map the name.'


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(clock: Clock) -> RejectionLog:
    return RejectionLog({"unmapped_event": "No event set. Map the name."}, clock)


def counts(*entries: tuple[str, str, str, int]) -> dict[tuple[str, str, str], int]:
    return {(source, destination, code): count for source, destination, code, count in entries}


def test_the_first_rejection_of_a_source_and_code_is_logged_at_once(
    log: RejectionLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.update(counts(("shop", "store", "unmapped_event", 1)))
    log.update(counts(("shop", "store", "unmapped_event", 5), ("shop", "store", "no_match_key", 1)))
    log.update(counts(("shop", "store", "unmapped_event", 6), ("web", "store", "unmapped_event", 1)))
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 3
    assert caplog.messages == [
        FIRST,
        'rejected an event of source "shop" for destination "store": no_match_key.',
        FIRST.replace("shop", "web"),
    ]
    assert (caplog.records[0].__dict__["source"], caplog.records[0].__dict__["code"]) == ("shop", "unmapped_event")
    assert '"source":"shop"' in JsonFormatter().format(caplog.records[0])


def test_further_rejections_are_counted_once_a_minute(
    log: RejectionLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log.update(counts(("shop", "store", "unmapped_event", 1), ("shop", "store", "no_match_key", 1)))
    caplog.clear()
    clock.now += COUNT_SECONDS - 0.1
    log.update(counts(("shop", "store", "unmapped_event", 400), ("shop", "store", "no_match_key", 1)))
    assert caplog.messages == []
    clock.now += 0.1
    log.update(counts(("shop", "store", "unmapped_event", 1235), ("shop", "store", "no_match_key", 1)))
    assert caplog.messages == ['source "shop": 1,234 more events rejected in the last minute: unmapped_event']
    clock.now += COUNT_SECONDS
    log.update(counts(("shop", "store", "unmapped_event", 1235), ("shop", "store", "no_match_key", 2)))
    assert caplog.messages[1:] == ['source "shop": 1 more event rejected in the last minute: no_match_key']


def test_an_event_that_two_destinations_reject_is_logged_once(
    log: RejectionLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log.update(counts(("shop", "store", "unmapped_event", 1), ("shop", "legacy", "unmapped_event", 1)))
    clock.now += COUNT_SECONDS
    log.update(counts(("shop", "store", "unmapped_event", 1), ("shop", "legacy", "unmapped_event", 1)))
    assert caplog.messages == [FIRST.replace('"store"', '"store, legacy"')]


def test_what_is_not_logged_yet_is_logged_before_the_process_ends(
    log: RejectionLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.update(counts(("shop", "store", "unmapped_event", 3)))
    log.flush(counts(("shop", "store", "unmapped_event", 4)))
    assert caplog.messages == [
        FIRST,
        'source "shop": 3 more events rejected in the last minute: unmapped_event',
    ]
    log.flush(counts(("shop", "store", "unmapped_event", 4)))
    assert len(caplog.messages) == 2


def test_the_suppression_of_repeated_warnings_passes_each_source_and_code(
    log: RejectionLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    duplicates = DuplicateFilter(clock, logging.NullHandler())
    codes = ["unmapped_event", "no_match_key", "unknown_type"]
    log.update(counts(*[("shop", "store", code, 1) for code in codes]))
    clock.now += COUNT_SECONDS
    log.update(counts(*[("shop", "store", code, 9) for code in codes]))
    assert len(caplog.records) == 6
    assert all(duplicates.filter(record) for record in caplog.records)
