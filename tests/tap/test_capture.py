import pytest

from gateway.tap import Tap, TapEntry, TapOutcome, TapPage, merge_pages, split_cursor, without_ids
from gateway.tap.capture import ACTIVE_SECONDS, ENTRIES_PER_SECOND, MAX_ENTRIES


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def entry(number: int = 0, count: int = 1, at: float = 0.0) -> TapEntry:
    return TapEntry(at, "shop", TapOutcome.ACCEPTED, str(number), message_id="m", order_id="o", count=count)


def publish(tap: Tap, *numbers: int, events: int | None = None) -> None:
    entries = [entry(number) for number in numbers][: tap.allowance()]
    tap.publish(entries, len(numbers) if events is None else events)


def names(page: TapPage) -> list[int]:
    return [int(entry.event) for entry in page.entries]


def test_a_poll_returns_what_was_published_since_the_one_before() -> None:
    tap = Tap(Clock())
    page = tap.poll("")
    assert (page.entries, page.skipped) == ([], 0)
    publish(tap, 1, 2)
    page = tap.poll(page.cursor)
    assert (names(page), page.skipped) == ([1, 2], 0)
    publish(tap, 3)
    page = tap.poll(page.cursor)
    assert names(page) == [3]
    assert names(tap.poll(page.cursor)) == []


def test_two_viewers_see_the_same_events() -> None:
    tap = Tap(Clock())
    one = tap.poll("")
    publish(tap, 1)
    other = tap.poll("")
    publish(tap, 2)
    assert names(tap.poll(one.cursor)) == [1, 2]
    assert names(other) == [1]
    assert names(tap.poll(other.cursor)) == [2]


def test_nothing_is_captured_until_somebody_polls_and_after_nobody_does_any_more() -> None:
    clock = Clock()
    tap = Tap(clock)
    assert not tap.is_active
    page = tap.poll("")
    assert tap.is_active
    publish(tap, 1)
    clock.now += ACTIVE_SECONDS + 1
    assert tap.allowance() == 0
    assert not tap.is_active
    page = tap.poll(page.cursor)
    assert (names(page), page.skipped) == ([], 1)
    assert tap.is_active


def test_events_beyond_the_rate_are_counted() -> None:
    clock = Clock()
    tap = Tap(clock)
    page = tap.poll("")
    publish(tap, *range(500))
    page = tap.poll(page.cursor)
    assert len(page.entries) == ENTRIES_PER_SECOND
    assert page.skipped == 500 - ENTRIES_PER_SECOND
    clock.now += 0.5
    publish(tap, *range(500))
    page = tap.poll(page.cursor)
    assert len(page.entries) == ENTRIES_PER_SECOND // 2
    assert page.skipped == 500 - ENTRIES_PER_SECOND // 2


def test_a_late_poll_gets_the_newest_events_and_the_number_of_the_others() -> None:
    clock = Clock()
    tap = Tap(clock)
    page = tap.poll("")
    other = tap.poll("")
    for number in range(MAX_ENTRIES + 30):
        clock.now += 1
        other = tap.poll(other.cursor)
        publish(tap, number)
    page = tap.poll(page.cursor)
    assert names(page) == list(range(30, MAX_ENTRIES + 30))
    assert page.skipped == 30


def test_an_entry_for_several_events_counts_for_all_of_them() -> None:
    tap = Tap(Clock())
    page = tap.poll("")
    tap.allowance()
    tap.publish([entry(count=7)], 10)
    assert tap.poll(page.cursor).skipped == 3


@pytest.mark.parametrize("cursor", ["", "x", "999.0", "0.999", "-1.0", "1" * 100, "1.1.1"])
def test_a_cursor_of_another_process_starts_anew(cursor: str) -> None:
    tap = Tap(Clock())
    tap.poll("")
    publish(tap, 1)
    page = tap.poll(cursor)
    assert (names(page), page.skipped) == ([1], 0)


def test_the_pages_of_several_processes_are_one_in_the_order_of_time() -> None:
    one = TapPage([entry(1, at=1.0), entry(3, at=3.0)], "2.0", 5)
    other = TapPage([entry(2, at=2.0)], "1.1", 1)
    merged = merge_pages({0: one, 12: other})
    assert (names(merged), merged.skipped) == ([1, 2, 3], 6)
    assert split_cursor(merged.cursor) == {0: "2.0", 12: "1.1"}


def test_a_joint_page_has_a_limited_number_of_entries() -> None:
    pages = {number: TapPage([entry(at=float(at)) for at in range(150)], "1.1", 0) for number in range(2)}
    merged = merge_pages(pages)
    assert (len(merged.entries), merged.skipped) == (MAX_ENTRIES, 100)


@pytest.mark.parametrize("cursor", ["", "x", "0:1.2:3", "0:1.2,", "99999:1.2", "0:\u0661.1"])
def test_parts_of_a_cursor_that_cannot_be_read_are_left_out(cursor: str) -> None:
    assert split_cursor(cursor) in ({}, {0: "1.2"})


def test_ids_can_be_hidden() -> None:
    (shown,) = without_ids(TapPage([entry()], "1.0", 0)).entries
    assert (shown.message_id, shown.order_id, shown.source) == (None, None, "shop")


def test_requests_that_are_described_at_the_same_time_share_the_allowance() -> None:
    tap = Tap(Clock())
    tap.poll("")
    first, second = tap.allowance(), tap.allowance()
    assert first == second == ENTRIES_PER_SECOND
    for allowed in (first, second):
        tap.publish([entry(number) for number in range(allowed)], allowed)
    assert tap.allowance() == 0, "and never a negative number"
