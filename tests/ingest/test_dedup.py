"""DedupWindow: which message IDs it contains, for how long, and which of them survive a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.ingest.dedup import KEY_BYTES, PARTITIONS, DedupWindow, key_of


def keys(first: int, last: int) -> list[bytes]:
    return [key_of("shop", f"message-{number}") for number in range(first, last)]


def known(window: DedupWindow, first: int, last: int) -> int:
    return sum(key in window for key in keys(first, last))


def save_now(window: DedupWindow) -> None:
    if save := window.to_save():
        save.write()


def test_an_id_is_known_for_at_least_the_number_of_events_and_at_most_twice() -> None:
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


def test_a_saved_window_survives_a_restart_regardless_of_the_times_of_saving(tmp_path: Path) -> None:
    path = tmp_path / "dedup-store"
    window = DedupWindow(events=100, age=1e9, now=0.0, path=path)
    for number in range(250):
        window.add(keys(number, number + 1), 0.0)
        if number % 7 == 0:
            save_now(window)
    save_now(window)

    restarted = DedupWindow(events=100, age=1e9, now=0.0, path=path)
    assert restarted.load(0.0) == 150
    assert known(restarted, 100, 250) == 150
    assert known(restarted, 0, 100) == 0
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
    assert b"message" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_the_last_two_generations_survive_when_several_end_between_two_saves(tmp_path: Path) -> None:
    path = tmp_path / "dedup-store"
    window = DedupWindow(events=10, age=1e9, now=0.0, path=path)
    for number in range(75):
        window.add(keys(number, number + 1), 0.0)
        if number == 4:
            save_now(window)
    save_now(window)

    restarted = DedupWindow(events=10, age=1e9, now=0.0, path=path)
    assert restarted.load(0.0) == 15
    assert known(restarted, 60, 75) == 15


def test_loaded_ids_count_towards_the_size_of_the_current_generation(tmp_path: Path) -> None:
    path = tmp_path / "dedup-store"
    window = DedupWindow(events=10, age=1e9, now=0.0, path=path)
    window.add(keys(0, 8), 0.0)
    save_now(window)
    restarted = DedupWindow(events=10, age=1e9, now=0.0, path=path)
    restarted.load(0.0)
    for number in range(8, 31):
        restarted.add(keys(number, number + 1), 0.0)
    assert known(restarted, 0, 20) == 0
    assert known(restarted, 20, 31) == 11


@pytest.mark.parametrize(("events", "each"), [(1, 1), (100, 100), (1000, 100)])
def test_short_generations_do_not_accumulate_discarded_sets(events: int, each: int) -> None:
    window = DedupWindow(events, age=1e9, now=0.0)
    for number in range(200):
        window.add(keys(number * each, (number + 1) * each), 0.0)
    assert len(window._discarded) <= PARTITIONS


def test_expired_truncated_and_missing_files_are_ignored_without_an_error(tmp_path: Path) -> None:
    path = tmp_path / "dedup-store"
    assert DedupWindow(100, 60.0, 0.0, path).load(0.0) == 0
    path.write_bytes(b"".join(keys(0, 3)) + b"truncated")
    os.utime(path, (1000.0, 1000.0))
    assert DedupWindow(100, 60.0, 1000.0, path).load(1059.0) == 3
    assert DedupWindow(100, 60.0, 1000.0, path).load(1061.0) == 0


def test_an_io_error_is_logged_and_does_not_raise(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    window = DedupWindow(100, 60.0, 0.0, tmp_path / "no" / "such" / "folder")
    window.add(keys(0, 5), 0.0)
    save_now(window)
    assert "cannot save the deduplication window folder" in caplog.text
    assert known(window, 0, 5) == 5


def test_no_id_is_saved_twice(tmp_path: Path) -> None:
    path = tmp_path / "dedup-store"
    window = DedupWindow(100, 60.0, 0.0, path)
    window.add(keys(0, 5), 0.0)
    save_now(window)
    assert window.to_save() is None
    window.add(keys(0, 5), 0.0)
    assert window.to_save() is None
    assert path.stat().st_size == 5 * KEY_BYTES


def test_two_sources_with_the_same_message_id_have_different_keys() -> None:
    assert key_of("shop", "1") != key_of("other", "1")
    assert len({key_of(name, str(number)) for name in ("shop", "other", "") for number in range(1000)}) == 3000


def test_a_message_id_with_an_unpaired_surrogate_has_a_key() -> None:
    assert len(key_of("shop", "\ud800")) == KEY_BYTES


@pytest.mark.parametrize("most", [1, 5, 12, 13, 100])
def test_short_writes_do_not_misalign_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: write(descriptor, bytes(content[:most])))
    path = tmp_path / "dedup-store"
    window = DedupWindow(10**6, 1e9, 0.0, path)
    for start in range(0, 40, 10):
        window.add(keys(start, start + 10), 0.0)
        save_now(window)
    restarted = DedupWindow(10**6, 1e9, 0.0, path)
    assert restarted.load(0.0) == 40
    assert known(restarted, 0, 40) == 40


def test_a_write_that_fails_in_the_middle_of_a_key_does_not_misalign_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dedup-store"
    window = DedupWindow(10**6, 1e9, 0.0, path)
    window.add(keys(0, 10), 0.0)
    save_now(window)
    write, calls = os.write, iter([True, False])

    def failing(descriptor: int, content: bytes) -> int:
        if next(calls):
            return write(descriptor, bytes(content[:29]))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", failing)
    window.add(keys(10, 20), 0.0)
    save_now(window)
    monkeypatch.setattr(os, "write", write)
    window.add(keys(20, 30), 0.0)
    save_now(window)
    restarted = DedupWindow(10**6, 1e9, 0.0, path)
    restarted.load(0.0)
    assert path.stat().st_size % KEY_BYTES == 0
    assert known(restarted, 0, 10) == 10
    assert known(restarted, 20, 30) == 10
    assert known(restarted, 10, 20) == 2, "two keys were written completely"
