"""Which events a destination has taken lately, by their `messageId`: senders send again what they did not hear about.

Two generations: IDs go into the younger; when that is full or old it becomes the elder, and the elder is forgotten. So
an ID is known for at least `events` further events or `age` seconds, whichever comes first, and at most for twice that.
Meta removes no such repeats of offline events (it goes by order or customer), so they end here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

log = logging.getLogger("gateway.ingest")

KEY_BYTES = 12
"""Of a message ID's hash: among a million IDs the chance that two share one is below 1e-17."""

PARTITIONS = 16
"""Sets of a generation."""


def key_of(message_id: str) -> bytes:
    """What stands for a message ID."""
    return sha256(message_id.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


class DedupWindow:
    """The window of one destination. `path` is where it outlives the process; None: nowhere.

    A generation is several small sets: one large one would hold up the loop for 10 ms when it grows, and for twice that
    when it is let go.
    """

    def __init__(self, events: int, age: float, now: float, path: Path | None = None) -> None:
        """`now` is in unix seconds, as everywhere here."""
        self._events = events
        self._age = age
        self._path = path
        # Only the loop's thread touches these.
        self._current = _generation()
        self._count = 0  # of keys in the younger generation
        self._previous = _generation()
        self._discarded: list[set[bytes]] = []  # of a generation that is forgotten; let go one by one
        self._started_at = now  # when the younger generation began
        self._unsaved: list[bytes] = []  # of the younger generation
        self._previous_unsaved: list[bytes] | None = None  # of the elder one, where it was the younger at the last save
        self._file_is_outdated = False  # whether two generations have ended since then

    def __contains__(self, key: bytes) -> bool:
        part = key[0] % PARTITIONS
        return key in self._current[part] or key in self._previous[part]

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
        self._discarded = self._previous  # what is left of an earlier one goes at once: a short generation is small
        self._previous, self._current, self._count = self._current, _generation(), 0
        self._started_at = now
        self._file_is_outdated = self._previous_unsaved is not None
        self._previous_unsaved, self._unsaved = self._unsaved, []

    def to_save(self) -> Save | None:
        """What is to be written, taken out on the loop's thread; None: nothing, or nowhere."""
        if self._path is None or (not self._unsaved and self._previous_unsaved is None):
            return None
        previous_unsaved = None if self._previous_unsaved is None else b"".join(self._previous_unsaved)
        save = Save(self._path, b"".join(self._unsaved), previous_unsaved, file_is_outdated=self._file_is_outdated)
        self._unsaved, self._previous_unsaved = [], None
        return save

    def load(self, now: float) -> int:
        """Remember what an earlier process saved; how many. What cannot be read is not known, which is no loss."""
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
    """One write of a window, done on a thread that may wait for the disk.

    The younger generation's file is only added to; when the generation ends, the file becomes the elder one's.
    """

    def __init__(self, path: Path, more: bytes, previous_unsaved: bytes | None, *, file_is_outdated: bool) -> None:
        """`closing`: the rest of a generation that has ended, or all of it when the file is of one before that."""
        self._path = path
        self._more = more
        self._previous_unsaved = previous_unsaved
        self._file_is_outdated = file_is_outdated

    def write(self) -> None:
        """Write it. A disk that refuses costs the memory across a restart, and nothing else."""
        try:
            if self._previous_unsaved is None:
                _write(self._path, self._more, os.O_APPEND)
                return
            _write(self._path, self._previous_unsaved, os.O_TRUNC if self._file_is_outdated else os.O_APPEND)
            self._path.replace(_previous(self._path))
            _write(self._path, self._more, os.O_TRUNC)
        except OSError as error:
            log.warning("the message IDs of repeats cannot be saved: %s", error.strerror)


def write_all(saves: Iterable[Save]) -> None:
    """Write several."""
    for save in saves:
        save.write()


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".elder")


def _write(path: Path, content: bytes, how: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _read(path: Path, since: float) -> set[bytes]:
    try:
        if path.stat().st_mtime < since:
            return set()
        content = path.read_bytes()
    except OSError:
        return set()
    whole = len(content) - len(content) % KEY_BYTES
    return {content[start : start + KEY_BYTES] for start in range(0, whole, KEY_BYTES)}
