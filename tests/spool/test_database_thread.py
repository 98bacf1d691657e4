"""The thread behind the engine: order, upkeep behind the answers, callers that go away, and a loop that never waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from gateway.spool import SpoolUnavailable
from gateway.spool.sqlite import SqliteSpool
from gateway.spool.sqlite.database_thread import DatabaseThread
from tests.spool.builders import LANE, START, Clock, bulk, chunk, everything, letter, sqlite


@pytest.fixture
def _watched() -> Iterator[BlockBuster]:
    with blockbuster_ctx() as blockbuster:
        yield blockbuster


def nothing() -> None:
    """No upkeep."""


async def test_calls_are_answered_in_order_and_upkeep_runs_behind_each_answer() -> None:
    happened: list[str] = []
    writer = DatabaseThread(after=lambda: happened.append("after"), idle=lambda: False, name="test")
    calls = [writer.call(lambda number=number: happened.append(f"call {number}")) for number in range(3)]  # type: ignore[misc]
    await asyncio.gather(*calls)
    last = writer.call(lambda: happened.append("last"))
    await last
    writer.stop()
    assert happened[:7] == ["call 0", "after", "call 1", "after", "call 2", "after", "last"]


async def test_an_exception_is_the_callers_and_the_thread_goes_on() -> None:
    writer = DatabaseThread(after=nothing, idle=lambda: False, name="test")

    def fail() -> None:
        raise LookupError("this call's")

    with pytest.raises(LookupError, match="this call's"):
        await writer.call(fail)
    assert await writer.call(lambda: 7) == 7
    writer.stop()


async def test_a_caller_that_goes_away_disturbs_nobody() -> None:
    gate = threading.Event()
    done: list[int] = []
    writer = DatabaseThread(after=nothing, idle=lambda: False, name="test")
    held = writer.call(gate.wait)
    gone = writer.call(lambda: done.append(1))
    stays = writer.call(lambda: done.append(2))
    gone.cancel()
    gate.set()
    await held
    await stays
    writer.stop()
    assert done == [1, 2]


async def test_a_defect_in_the_upkeep_is_told_and_answers_go_on(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError("upkeep's")

    writer = DatabaseThread(after=fail, idle=lambda: False, name="test")
    assert await writer.call(lambda: 1) == 1
    assert await writer.call(lambda: 2) == 2
    writer.stop()
    assert "the upkeep of the spool failed" in caplog.text


async def test_upkeep_goes_on_as_long_as_there_is_some_and_rests_until_the_next_call() -> None:
    left = [3]
    rested = asyncio.Event()
    loop = asyncio.get_running_loop()

    def idle() -> bool:
        left[0] -= 1
        if left[0] == 0:
            loop.call_soon_threadsafe(rested.set)
        return left[0] > 0

    writer = DatabaseThread(after=nothing, idle=idle, name="test")
    await writer.call(nothing)
    await asyncio.wait_for(rested.wait(), 10)
    assert await writer.call(lambda: left[0]) == 0
    writer.stop()


def test_a_loop_that_is_gone_leaves_the_thread_able_to_end() -> None:
    gate = threading.Event()

    async def begin() -> DatabaseThread:
        writer = DatabaseThread(after=nothing, idle=lambda: False, name="test")
        _ = writer.call(gate.wait)
        writer.stop()
        return writer

    writer = asyncio.run(begin())
    gate.set()
    writer._thread.join(10)
    assert not writer._thread.is_alive()


@pytest.mark.usefixtures("_watched")
async def test_no_verb_of_the_engine_blocks_the_loop(tmp_path: Path) -> None:
    spool = sqlite(tmp_path, Clock())
    await spool.open()
    stored = await spool.append([bulk(100, 600), bulk(100, 600)], [letter()])
    await spool.read(LANE, START, 1000, 10**9)
    await spool.acknowledge(LANE, [stored[0].id], [letter()], rest=bulk(10, 600))
    spool.statistics()
    await spool.dead_letters()
    assert len(await everything(spool)) == 2
    await spool.close()


async def test_settlements_that_wait_for_each_other_share_a_commit_and_one_that_is_refused_is_refused_alone(
    tmp_path: Path,
) -> None:
    spool = SqliteSpool(tmp_path / "spool.sqlite", max_bytes=2**26, clock=lambda: 1.0)
    await spool.open()
    stored = await spool.append([chunk(str(number).encode()) for number in range(50)], [])
    before = spool.statistics().commits
    ids = [one.id for one in stored]
    settling = [spool.acknowledge(LANE, [one], [letter()] if one == ids[7] else []) for one in ids]
    results = await asyncio.gather(*settling, spool.acknowledge(LANE, [ids[0]]), return_exceptions=True)
    assert results[:-1] == [None] * 50
    assert isinstance(results[-1], KeyError), "it was settled before"
    statistics = spool.statistics()
    assert (statistics.events, statistics.dead_letters) == (0, 1)
    alone = 1
    assert statistics.commits - before <= alone + 50  # the group was done one by one, for the sake of the one
    stored = await spool.append([chunk(str(number).encode()) for number in range(50)], [])
    before = spool.statistics().commits
    await asyncio.gather(*(spool.acknowledge(LANE, [one.id]) for one in stored))
    assert spool.statistics().commits - before == 2, "the first by itself, the others together"
    await spool.close()


async def test_settlements_that_wait_when_the_spool_closes_are_refused_and_nothing_of_them_is_done(
    tmp_path: Path,
) -> None:
    spool = SqliteSpool(tmp_path / "spool.sqlite", max_bytes=2**26, clock=lambda: 1.0)
    await spool.open()
    stored = await spool.append([chunk(b"1"), chunk(b"2")], [])
    first, second = (asyncio.ensure_future(spool.acknowledge(LANE, [one.id])) for one in stored)
    await asyncio.sleep(0)
    await spool.close()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], SpoolUnavailable)
    (left,) = await spool.open()
    assert left.events == 1
    await spool.close()
