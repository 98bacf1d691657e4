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


def key_of(message_id: str) -> bytes:
    """What stands for a message ID."""
    return sha256(message_id.encode("utf-8", "surrogatepass")).digest()[:KEY_BYTES]


class Repeats:
    """The window of one destination. `path` is where it outlives the process; None: nowhere."""

    def __init__(self, events: int, age: float, now: float, path: Path | None = None) -> None:
        """`now` is in unix seconds, as everywhere here."""
        self._events = events
        self._age = age
        self._path = path
        # Only the loop's thread touches these.
        self._younger: set[bytes] = set()
        self._elder: set[bytes] = set()
        self._began = now  # when the younger generation began
        self._unsaved: list[bytes] = []
        self._turned = False  # since the last save a generation has gone

    def __contains__(self, key: bytes) -> bool:
        return key in self._younger or key in self._elder

    def add(self, keys: Iterable[bytes], now: float) -> None:
        """Remember events that became durable. Runs once a request."""
        if len(self._younger) >= self._events or now - self._began >= self._age:
            self._elder, self._younger = self._younger, set()
            self._began = now
            self._unsaved.clear()
            self._turned = True
        before = len(self._younger)
        self._younger.update(keys)
        if self._path is not None and len(self._younger) > before:
            self._unsaved += keys

    def to_save(self) -> Save | None:
        """What is to be written, taken out on the loop's thread; None: nothing, or nowhere."""
        if self._path is None or not (self._unsaved or self._turned):
            return None
        save = Save(self._path, b"".join(self._unsaved), b"".join(self._elder) if self._turned else None)
        self._unsaved = []
        self._turned = False
        return save

    def load(self, now: float) -> int:
        """Remember what an earlier process saved; how many. What cannot be read is not known, which is no loss."""
        if self._path is None:
            return 0
        self._younger = _read(self._path, now - self._age)
        self._elder = _read(_elder(self._path), now - 2 * self._age)
        return len(self._younger) + len(self._elder)


class Save:
    """One write of a window, done on a thread that may wait for the disk."""

    def __init__(self, path: Path, more: bytes, elder: bytes | None) -> None:
        self._path = path
        self._more = more
        self._whole_elder = elder

    def write(self) -> None:
        """Write it. A disk that refuses costs the memory across a restart, and nothing else."""
        try:
            if self._whole_elder is not None:
                _put(_elder(self._path), self._whole_elder, os.O_TRUNC)
                _put(self._path, self._more, os.O_TRUNC)
            else:
                _put(self._path, self._more, os.O_APPEND)
        except OSError as error:
            log.warning("the message IDs of repeats cannot be saved: %s", error.strerror)


def write_all(saves: Iterable[Save]) -> None:
    """Write several."""
    for save in saves:
        save.write()


def _elder(path: Path) -> Path:
    return path.with_name(path.name + ".elder")


def _put(path: Path, content: bytes, how: int) -> None:
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
