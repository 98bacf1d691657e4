"""Memory and processor time of the measured processes, read from `/proc` (Linux only)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit


def host_and_port(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def process_tree(pid: int) -> list[int]:
    """Return the IDs of a process and of all its descendants."""
    pids = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            pids += process_tree(int(child))
    return pids


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process and its descendants. Shared pages count once for each process."""
    return sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in process_tree(pid)) * _PAGE


def peak_resident_bytes(pid: int) -> int:
    """Return the peak resident memory of one process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/{pid}/status has no VmHWM, the peak of resident memory; run the benchmark on Linux")


def cpu_seconds(pid: int) -> float:
    """Return the processor time that all threads of a process and its descendants have used."""
    return sum(_cpu_ticks(member) for member in process_tree(pid)) / os.sysconf("SC_CLK_TCK")


def pin_to_cores(pid: int, cores: Iterable[int]) -> None:
    """Restrict all threads of a process and its descendants to these cores."""
    for member in process_tree(pid):
        for task in Path(f"/proc/{member}/task").iterdir():
            os.sched_setaffinity(int(task.name), cores)


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


_PAGE = os.sysconf("SC_PAGE_SIZE")
