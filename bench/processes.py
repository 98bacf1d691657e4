"""What a bench asks of the processes that it measures, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit


def address(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def family(pid: int) -> list[int]:
    """A process and all that came from it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for process in (task / "children").read_text().split():
            found += family(int(process))
    return found


def resident_bytes(pid: int) -> int:
    """Memory that a process and those under it have in use; pages that they share count for each."""
    return sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in family(pid)) * _PAGE


def peak_resident_bytes(pid: int) -> int:
    """The most that a process ever had in use."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this kernel tells no peak of resident memory; the bench needs Linux")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and those under it have used, all threads."""
    return sum(_ticks(one) for one in family(pid)) / os.sysconf("SC_CLK_TCK")


def hold(pid: int, cores: Iterable[int]) -> None:
    """Let a process and those under it, all threads, run on these cores only."""
    for one in family(pid):
        for task in Path(f"/proc/{one}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


_PAGE = os.sysconf("SC_PAGE_SIZE")
