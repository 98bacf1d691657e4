"""Deduplication window of a destination: the `messageId`s of events that it accepted recently.

Senders repeat requests whose response they did not receive. Meta does not deduplicate offline events by `messageId` (it
compares order or customer), so repeats are removed here.

The window has two generations of IDs. New IDs go into the current one. When that is full or old, it becomes the
previous one, and the IDs of the former previous one are forgotten. An ID is therefore known for at least `events`
further events or `age` seconds, whichever comes first, and for at most twice that.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

log = logging.getLogger("gateway.ingest")

KEY_BYTES = 12
"""Bytes of a message ID's hash. Among a million IDs the probability that two share one is below 1e-17."""

PARTITIONS = 16
"""Sets of a generation."""


def key_of(source: str, message_id: str) -> bytes:
    """The hash under which a message ID of a source is remembered. Two sources may use the same IDs."""
    return sha256(f"{source}\0{message_id}".encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


class DedupWindow:
    """The window of one destination. With a `path` it survives a restart of the process.

    A generation is divided into several small sets. One large set would block the event loop for 10 ms when it grows,
    and for twice that when it is freed.
    """

    def __init__(self, events: int, age: float, now: float, path: Path | None = None) -> None:
        """`now` is in unix seconds, in every method."""
        self._events = events
        self._age = age
        self._path = path
        # Only the loop's thread touches these.
        self._current = _generation()
        self._count = 0  # of keys in the current generation
        self._previous = _generation()
        self._discarded: list[set[bytes]] = []  # of a forgotten generation; freed one set at a time
        self._started_at = now  # of the current generation
        self._unsaved: list[bytes] = []  # of the current generation
        self._previous_unsaved: list[bytes] | None = None  # of the previous one; None: no rotation since the last save
        self._file_is_outdated = False  # whether two rotations have happened since the last save

    def __contains__(self, key: bytes) -> bool:
        part = key[0] % PARTITIONS
        return key in self._current[part] or key in self._previous[part]

    def has_any(self, keys: Iterable[bytes | None]) -> bool:
        """Whether one of the keys is known. Runs once a request, over all of its keys."""
        current, previous = self._current, self._previous
        return any(key and (key in current[part := key[0] % PARTITIONS] or key in previous[part]) for key in keys)

    def add(self, keys: Iterable[bytes], now: float) -> None:
        """Remember events that became durable. Runs once a request."""
        if self._count >= self._events or now - self._started_at >= self._age:
            self._rotate(now)
        elif self._discarded:
            self._discarded.pop()
        for key in keys:
            part = self._current[key[0] % PARTITIONS]
            if key not in part:
                part.add(key)
                self._count += 1
                if self._path is not None:
                    self._unsaved.append(key)

    def _rotate(self, now: float) -> None:
        # Sets that are left of an earlier discarded generation are freed at once: short generations are small.
        self._discarded = self._previous
        self._previous, self._current, self._count = self._current, _generation(), 0
        self._started_at = now
        self._file_is_outdated = self._previous_unsaved is not None
        self._previous_unsaved, self._unsaved = self._unsaved, []

    def to_save(self) -> Save | None:
        """Take the keys that are not saved yet, on the loop's thread; None when there are none, or no path."""
        if self._path is None or (not self._unsaved and self._previous_unsaved is None):
            return None
        previous_unsaved = None if self._previous_unsaved is None else b"".join(self._previous_unsaved)
        save = Save(self._path, b"".join(self._unsaved), previous_unsaved, file_is_outdated=self._file_is_outdated)
        self._unsaved, self._previous_unsaved = [], None
        return save

    def load(self, now: float) -> int:
        """Load the keys that an earlier process saved; how many. Unreadable or expired files are ignored."""
        if self._path is None:
            return 0
        current, previous = _read(self._path, now - self._age), _read(_previous(self._path), now - 2 * self._age)
        for generation, keys in ((self._current, current), (self._previous, previous)):
            for key in keys:
                generation[key[0] % PARTITIONS].add(key)
        self._count = len(current)
        return len(current) + len(previous)


def _generation() -> list[set[bytes]]:
    return [set() for _ in range(PARTITIONS)]


class Save:
    """One write of a window to its files, for a thread that may block on the disk.

    The file of the current generation is only appended to. When the generation ends, the file is renamed to that of the
    previous one.
    """

    def __init__(
        self, path: Path, current_unsaved: bytes, previous_unsaved: bytes | None, *, file_is_outdated: bool
    ) -> None:
        """`previous_unsaved`: keys of the generation that ended since the last save; None when none did.

        `file_is_outdated`: two generations ended since the last save, so the file belongs to neither of them.
        """
        self._path = path
        self._current_unsaved = current_unsaved
        self._previous_unsaved = previous_unsaved
        self._file_is_outdated = file_is_outdated

    def write(self) -> None:
        """Write the keys. On an I/O error they are lost to the next process, but stay in the memory of this one."""
        try:
            if self._previous_unsaved is None:
                _write(self._path, self._current_unsaved, os.O_APPEND)
                return
            _write(self._path, self._previous_unsaved, os.O_TRUNC if self._file_is_outdated else os.O_APPEND)
            self._path.replace(_previous(self._path))
            _write(self._path, self._current_unsaved, os.O_TRUNC)
        except OSError as error:
            log.warning(
                "cannot save the deduplication window %s: %s. After a restart, repeated events may be accepted again; "
                "check the disk",
                self._path.name,
                error.strerror,
            )


def write_all(saves: Iterable[Save]) -> None:
    """Write the windows of several destinations."""
    for save in saves:
        save.write()


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write keys to a file, which stays a sequence of whole keys even after a write that failed half way."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | mode, 0o600)
    try:
        if mode == os.O_APPEND and (rest := os.fstat(descriptor).st_size % KEY_BYTES):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - rest)
        remaining = memoryview(content)
        while remaining:
            remaining = remaining[os.write(descriptor, remaining) :]
    finally:
        os.close(descriptor)


def _read(path: Path, since: float) -> set[bytes]:
    try:
        if path.stat().st_mtime < since:
            return set()
        content = path.read_bytes()
    except OSError:
        return set()
    complete = len(content) - len(content) % KEY_BYTES
    return {content[start : start + KEY_BYTES] for start in range(0, complete, KEY_BYTES)}
