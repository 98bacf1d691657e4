"""Operations on the spool's files: private to their owner, durable directory entries, used by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.spool.protocol import SpoolUnavailable

WAL = "-wal"


def make_folder(folder: Path) -> None:
    """Make a directory and its missing ancestors with mode 0700, durable against a power cut."""
    missing = []
    ancestor = folder.absolute()
    while not ancestor.exists():
        missing.append(ancestor)
        ancestor = ancestor.parent
    for directory in reversed(missing):
        directory.mkdir(mode=0o700, exist_ok=True)
        sync_folder(directory.parent)


def make_private(path: Path) -> None:
    """Make a file if it does not exist, and give it mode 0600. SQLite gives the log the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the entries of a directory durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the content of a file durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size(path: Path) -> int:
    """Return the size of a file in bytes, 0 when it does not exist."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def truncate(path: Path, length: int) -> None:
    """Shorten a file to `length` bytes if it is longer."""
    if size(path) > length:
        os.truncate(path, length)


def sibling(path: Path, suffix: str) -> Path:
    """Return the path with a suffix appended to its name."""
    return path.with_name(path.name + suffix)


def free_disk(folder: Path) -> int:
    """Return the bytes on the disk of a directory that this process may still use."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a spool. Raises `SpoolUnavailable` when another process holds it."""
    if not path.parent.is_dir():
        raise SpoolUnavailable(f"the directory {path.parent} does not exist; check spool.path in the settings")
    lock = Lock(sibling(path, ".lock"))
    try:
        yield
    finally:
        lock.release()


class OpenFile:
    """Notices that another program shortened, removed or replaced a file that SQLite has open.

    It has a descriptor of its own. Close it after SQLite's connection: closing any descriptor of a file releases all
    POSIX locks that the process holds on the file.
    """

    __slots__ = ("_path", "descriptor")

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def size(self) -> int:
        """Return the size in bytes."""
        return os.fstat(self.descriptor).st_size

    def is_in_place(self) -> bool:
        """Whether the file is still the one at its path."""
        return _is_at(self.descriptor, self._path)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


class Lock:
    """Excludes other processes while it is held. The kernel releases it when the process ends.

    The file is never deleted: otherwise two processes could hold locks on two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        """Raises `SpoolUnavailable` when another process holds it."""
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise SpoolUnavailable(
                f"{path.parent} is in use by another process ({holder}). Stop it, or use another spool.path: two "
                "gateways cannot share one"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def is_in_place(self) -> bool:
        """Whether the lock file is still the one at its path. If not, it does not exclude other processes any more."""
        return _is_at(self._descriptor, self._path)

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except (FileNotFoundError, NotADirectoryError):
        return False
