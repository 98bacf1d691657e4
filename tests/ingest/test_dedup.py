"""A window over message IDs: what is in it, how long, and what a restart leaves of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.ingest.dedup import KEY_BYTES, PARTITIONS, DedupWindow, key_of


def keys(first: int, last: int) -> list[bytes]:
    return [key_of(f"message-{number}") for number in range(first, last)]


def known(window: DedupWindow, first: int, last: int) -> int:
    return sum(key in window for key in keys(first, last))


def saved(window: DedupWindow) -> None:
    if save := window.to_save():
        save.write()


def test_an_id_is_known_for_at_least_as_many_events_as_promised_and_at_most_twice() -> None:
    window = DedupWindow(events=100, age=1e9, now=0.0)
    for number in range(1000):
        window.add(keys(number, number + 1), 0.0)
        assert known(window, max(0, number - 99), number + 1) == min(number + 1, 100)
        assert known(window, 0, max(0, number - 200)) == 0


def test_an_id_is_known_for_at_least_the_age_and_at_most_twice() -> None:
    window = DedupWindow(events=10**9, age=60.0, now=0.0)
    for second in range(600):
        window.add(keys(second, second + 1), float(second))
        assert known(window, max(0, second - 59), second + 1) == min(second + 1, 60)
        assert known(window, 0, max(0, second - 120)) == 0


def test_it_outlives_the_process_whatever_was_saved_when(tmp_path: Path) -> None:
    path = tmp_path / "repeats-store"
    window = DedupWindow(events=100, age=1e9, now=0.0, path=path)
    for number in range(250):
        window.add(keys(number, number + 1), 0.0)
        if number % 7 == 0:
            saved(window)
    saved(window)

    after = DedupWindow(events=100, age=1e9, now=0.0, path=path)
    assert after.load(0.0) == 150
    assert known(after, 100, 250) == 150
    assert known(after, 0, 100) == 0
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    assert b"message" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_generations_that_end_between_two_saves_leave_the_last_two(tmp_path: Path) -> None:
    path = tmp_path / "repeats-store"
    window = DedupWindow(events=10, age=1e9, now=0.0, path=path)
    for number in range(75):
        window.add(keys(number, number + 1), 0.0)
        if number == 4:
            saved(window)
    saved(window)

    after = DedupWindow(events=10, age=1e9, now=0.0, path=path)
    assert after.load(0.0) == 15
    assert known(after, 60, 75) == 15


def test_what_is_loaded_counts_for_the_generation_that_it_goes_on_with(tmp_path: Path) -> None:
    path = tmp_path / "repeats-store"
    window = DedupWindow(events=10, age=1e9, now=0.0, path=path)
    window.add(keys(0, 8), 0.0)
    saved(window)
    after = DedupWindow(events=10, age=1e9, now=0.0, path=path)
    after.load(0.0)
    for number in range(8, 31):
        after.add(keys(number, number + 1), 0.0)
    assert known(after, 0, 20) == 0
    assert known(after, 20, 31) == 11


@pytest.mark.parametrize(("events", "each"), [(1, 1), (100, 100), (1000, 100)])
def test_short_generations_leave_nothing_behind(events: int, each: int) -> None:
    window = DedupWindow(events, age=1e9, now=0.0)
    for number in range(200):
        window.add(keys(number * each, (number + 1) * each), 0.0)
    assert len(window._discarded) <= PARTITIONS


def test_what_is_too_old_or_cut_or_not_there_is_not_known_and_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "repeats-store"
    assert DedupWindow(100, 60.0, 0.0, path).load(0.0) == 0
    path.write_bytes(b"".join(keys(0, 3)) + b"cut")
    os.utime(path, (1000.0, 1000.0))
    assert DedupWindow(100, 60.0, 1000.0, path).load(1059.0) == 3
    assert DedupWindow(100, 60.0, 1000.0, path).load(1061.0) == 0


def test_a_disk_that_refuses_is_told_and_no_fault(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    window = DedupWindow(100, 60.0, 0.0, tmp_path / "no" / "such" / "folder")
    window.add(keys(0, 5), 0.0)
    saved(window)
    assert "cannot be saved" in caplog.text
    assert known(window, 0, 5) == 5


def test_nothing_is_saved_twice_or_without_need(tmp_path: Path) -> None:
    path = tmp_path / "repeats-store"
    window = DedupWindow(100, 60.0, 0.0, path)
    window.add(keys(0, 5), 0.0)
    saved(window)
    assert window.to_save() is None
    window.add(keys(0, 5), 0.0)
    assert window.to_save() is None
    assert path.stat().st_size == 5 * KEY_BYTES
