"""The processes that a bench measures, each on a port that the system chose and ended by whoever started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

START_SECONDS = 20.0


@contextmanager
def process(
    folder: Path, name: str, arguments: list[str], environ: Mapping[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, tuple[str, int]]]]:
    """A Python module as a child; yields it with the addresses that it announced, and ends it."""
    announce = folder / f"{name}.json"
    with (folder / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**os.environ, **(environ or {}), "GATEWAY_ANNOUNCE": str(announce)},
            stdout=log,
            stderr=log,
        )
    try:
        yield child, _announced(child, announce, folder / f"{name}.log")
    finally:
        child.terminate()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _announced(child: subprocess.Popen[bytes], announce: Path, log: Path) -> dict[str, tuple[str, int]]:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        if announce.exists() and (text := announce.read_bytes()).endswith(b"\n"):
            found: dict[str, Any] = orjson.loads(text)
            return {
                name: _address(url) for name, url in found.items() if isinstance(url, str) and url.startswith("http")
            }
        time.sleep(0.02)
    raise SystemExit(f"{child.args!r} did not start:\n{log.read_text()}")


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def resident_bytes(pid: int) -> int:
    """Memory that a process has in use, from /proc."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
