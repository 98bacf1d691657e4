"""The spool's files: private to their owner, durable in their folders, and used by one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.spool.protocol import SpoolUnavailable

WAL = "-wal"


def make_folder(folder: Path) -> None:
    """Make a folder and its missing ancestors, mode 0700, so that a power cut does not undo it."""
    missing = []
    ancestor = folder.absolute()
    while not ancestor.exists():
        missing.append(ancestor)
        ancestor = ancestor.parent
    for made in reversed(missing):
        made.mkdir(mode=0o700, exist_ok=True)
        sync_folder(made.parent)


def make_private(path: Path) -> None:
    """Make a file, if it is not there, mode 0600; its companions inherit the mode from it."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def size(path: Path) -> int:
    """Bytes of a file, 0 when it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def inode(path: Path) -> int | None:
    """Which file it is; None when it is not there."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 (once a commit; half the time of Path.stat)
    except FileNotFoundError:
        return None


def truncate(path: Path, length: int) -> None:
    """Let go of what a file has beyond a length."""
    if size(path) > length:
        os.truncate(path, length)


def beside(path: Path, suffix: str) -> Path:
    """The path with something after its name."""
    return path.with_name(path.name + suffix)


def free_disk(folder: Path) -> int:
    """Bytes that we may still write to the disk below a folder."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from a spool for a while. Raises `SpoolUnavailable` when one has it."""
    if not path.parent.is_dir():
        raise SpoolUnavailable(f"there is no folder {path.parent}: give the spool.path of the settings")
    lock = Lock(beside(path, ".lock"))
    try:
        yield
    finally:
        lock.release()


class Lock:
    """Keeps other processes out for as long as it is held; the kernel lets go of it when the process ends.

    The file stays: removing it would let two processes hold locks on two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        """Raises `SpoolUnavailable` when another process holds it."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise SpoolUnavailable(
                f"{path.parent} is in use by another process ({holder}): each gateway needs a spool.path of its own"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._descriptor)
