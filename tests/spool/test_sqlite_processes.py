"""Tests with real processes: a kill at any instant loses no durable event, and a second process is excluded."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from gateway.model import split_events
from gateway.spool import SpoolUnavailable
from tests.spool.builders import MIB, read_all, sqlite


@contextmanager
def sender(folder: Path, first: int) -> Iterator[subprocess.Popen[str]]:
    """Run a process that appends and acknowledges chunks."""
    command = [sys.executable, "-m", "tests.spool.sender", str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """Return the next lines of a process's standard output."""
    assert process.stdout
    return [process.stdout.readline() for _ in range(count)]


async def test_a_kill_at_any_instant_loses_no_durable_chunk(tmp_path: Path) -> None:
    random = Random(4)
    # Numbers of the first event of a call, and IDs of chunks.
    appending: set[int] = set()
    appended: set[int] = set()
    acknowledging: set[int] = set()
    acknowledged: set[int] = set()
    by_verb = {
        "appending": appending,
        "appended": appended,
        "acknowledging": acknowledging,
        "acknowledged": acknowledged,
    }
    first = 1
    for _ in range(5):
        with sender(tmp_path, first) as process:
            output = read_lines(process, random.randrange(5, 400))
            process.kill()
            assert process.stdout
            assert process.stderr
            output += process.stdout.read().splitlines()
            assert process.stderr.read() == ""
        for line in output:
            verb, *numbers = line.split()
            if verb in by_verb:
                by_verb[verb].update(int(number) for number in numbers)
        first = max(appending) + 2

        spool = sqlite(tmp_path, max_bytes=16 * MIB)
        await spool.open()
        waiting = {stored.id: int(split_events(stored.chunk.payload)[0]) for stored in await read_all(spool)}
        dead = {json.loads(dead_letter.event or b"")["n"] for _, dead_letter in await spool.dead_letters(limit=10_000)}
        await spool.close()

        assert acknowledged <= dead <= acknowledging
        assert not dead & set(waiting), "acknowledged and still waiting"
        assert set(waiting.values()) <= {number + offset for number in appending for offset in (0, 1)}
        assert len(waiting) == len(set(waiting.values()))
        stored_chunks = len(waiting) + len(dead)
        assert 2 * len(appended) <= stored_chunks <= 2 * len(appending)
        assert {number for number in appended if number + 1 not in waiting.values()} == {
            number for number in appended if number not in waiting.values()
        }, "a call was stored in part"
    assert appended
    assert acknowledged


async def test_a_second_process_is_excluded_with_an_error_that_names_the_first(tmp_path: Path) -> None:
    with sender(tmp_path, 1) as process:
        assert read_lines(process, 2)[0] == "open\n"
        with pytest.raises(SpoolUnavailable, match=rf"in use by another process \({process.pid}\)"):
            await sqlite(tmp_path).open()
        process.kill()
        process.wait()
    spool = sqlite(tmp_path, max_bytes=16 * MIB)
    await spool.open()
    await spool.close()


async def test_a_second_spool_of_the_same_process_is_excluded(tmp_path: Path) -> None:
    spool, second = sqlite(tmp_path), sqlite(tmp_path)
    await spool.open()
    with pytest.raises(SpoolUnavailable, match="in use"):
        await second.open()
    with pytest.raises(SpoolUnavailable, match="open already"):
        await spool.open()
    await spool.close()
    await second.open()
    await second.close()
