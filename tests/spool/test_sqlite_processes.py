"""Real processes: a kill at any instant loses nothing acknowledged, and a second process is kept out."""

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
from tests.spool.builders import MIB, everything, sqlite


@contextmanager
def sender(folder: Path, first: int) -> Iterator[subprocess.Popen[str]]:
    """A process that appends and settles."""
    command = [sys.executable, "-m", "tests.spool.sender", str(folder), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], many: int) -> list[str]:
    """What it says until it has said this much."""
    assert process.stdout
    return [process.stdout.readline() for _ in range(many)]


async def test_a_kill_at_any_instant_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    random = Random(4)
    acknowledged: set[int] = set()  # numbers of events
    settled: set[int] = set()  # IDs of chunks
    begun: set[int] = set()
    settling: set[int] = set()
    first = 1
    for _ in range(5):
        with sender(tmp_path, first) as process:
            said = lines(process, random.randrange(5, 400))
            process.kill()
            assert process.stdout
            assert process.stderr
            said += process.stdout.read().splitlines()
            assert process.stderr.read() == ""
        for line in said:
            verb, *numbers = line.split()
            of_verb = {"appending": begun, "appended": acknowledged, "settling": settling, "settled": settled}
            if verb in of_verb:
                of_verb[verb].update(int(number) for number in numbers)
        first = max(begun) + 2

        spool = sqlite(tmp_path, max_bytes=16 * MIB)
        await spool.open()
        found = {stored.id: int(split_events(stored.chunk.payload)[0]) for stored in await everything(spool)}
        dead = {json.loads(one.event or b"")["n"] for _, one in await spool.dead_letters(limit=10_000)}
        await spool.close()

        assert settled <= dead <= settling
        assert not dead & set(found), "settled and still waiting"
        assert set(found.values()) <= {number + more for number in begun for more in (0, 1)}
        assert len(found) == len(set(found.values()))
        kept = len(found) + len(dead)
        assert 2 * len(acknowledged) <= kept <= 2 * len(begun)
        assert {number for number in acknowledged if number + 1 not in found.values()} == {
            number for number in acknowledged if number not in found.values()
        }, "a call was kept in part"
    assert acknowledged
    assert settled


async def test_a_second_process_is_kept_out_and_told_who_is_in(tmp_path: Path) -> None:
    with sender(tmp_path, 1) as process:
        assert lines(process, 2)[0] == "open\n"
        with pytest.raises(SpoolUnavailable, match=rf"in use by another process \({process.pid}\)"):
            await sqlite(tmp_path).open()
        process.kill()
        process.wait()
    spool = sqlite(tmp_path, max_bytes=16 * MIB)
    await spool.open()
    await spool.close()


async def test_a_second_spool_of_the_same_process_is_kept_out_too(tmp_path: Path) -> None:
    spool, second = sqlite(tmp_path), sqlite(tmp_path)
    await spool.open()
    with pytest.raises(SpoolUnavailable, match="in use"):
        await second.open()
    with pytest.raises(SpoolUnavailable, match="open already"):
        await spool.open()
    await spool.close()
    await second.open()
    await second.close()
