"""Tests of the database thread: order of calls, maintenance, cancelled callers, and that it never blocks the loop."""

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
from tests.spool.builders import LANE, START, Clock, bulk, chunk, letter, read_all, sqlite


@pytest.fixture
def _blocking_calls_fail() -> Iterator[BlockBuster]:
    with blockbuster_ctx() as blockbuster:
        yield blockbuster


def nothing() -> None:
    """Do no maintenance."""


async def test_calls_run_in_order_and_maintenance_runs_after_each() -> None:
    steps: list[str] = []
    thread = DatabaseThread(after=lambda: steps.append("after"), idle=lambda: False, name="test")
    calls = [thread.call(lambda number=number: steps.append(f"call {number}")) for number in range(3)]  # type: ignore[misc]
    await asyncio.gather(*calls)
    last = thread.call(lambda: steps.append("last"))
    await last
    thread.stop()
    assert steps[:7] == ["call 0", "after", "call 1", "after", "call 2", "after", "last"]


async def test_an_exception_is_raised_to_its_caller_and_later_calls_run() -> None:
    thread = DatabaseThread(after=nothing, idle=lambda: False, name="test")

    def fail() -> None:
        raise LookupError("of this call")

    with pytest.raises(LookupError, match="of this call"):
        await thread.call(fail)
    assert await thread.call(lambda: 7) == 7
    thread.stop()


async def test_a_cancelled_call_still_runs_and_does_not_affect_others() -> None:
    resume = threading.Event()
    done: list[int] = []
    thread = DatabaseThread(after=nothing, idle=lambda: False, name="test")
    blocked = thread.call(resume.wait)
    cancelled = thread.call(lambda: done.append(1))
    other = thread.call(lambda: done.append(2))
    cancelled.cancel()
    resume.set()
    await blocked
    await other
    thread.stop()
    assert done == [1, 2]


async def test_an_exception_in_maintenance_is_logged_and_later_calls_run(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError("of the maintenance")

    thread = DatabaseThread(after=fail, idle=lambda: False, name="test")
    assert await thread.call(lambda: 1) == 1
    assert await thread.call(lambda: 2) == 2
    thread.stop()
    assert "spool maintenance failed" in caplog.text


async def test_idle_maintenance_repeats_until_it_is_done() -> None:
    remaining = [3]
    finished = asyncio.Event()
    loop = asyncio.get_running_loop()

    def idle() -> bool:
        remaining[0] -= 1
        if remaining[0] == 0:
            loop.call_soon_threadsafe(finished.set)
        return remaining[0] > 0

    thread = DatabaseThread(after=nothing, idle=idle, name="test")
    await thread.call(nothing)
    await asyncio.wait_for(finished.wait(), 10)
    assert await thread.call(lambda: remaining[0]) == 0
    thread.stop()


def test_the_thread_ends_when_the_event_loop_is_closed() -> None:
    resume = threading.Event()

    async def begin() -> DatabaseThread:
        thread = DatabaseThread(after=nothing, idle=lambda: False, name="test")
        _ = thread.call(resume.wait)
        thread.stop()
        return thread

    thread = asyncio.run(begin())
    resume.set()
    thread._thread.join(10)
    assert not thread._thread.is_alive()


@pytest.mark.usefixtures("_blocking_calls_fail")
async def test_no_method_of_the_engine_blocks_the_event_loop(tmp_path: Path) -> None:
    spool = sqlite(tmp_path, Clock())
    await spool.open()
    stored = await spool.append([bulk(100, 600), bulk(100, 600)], [letter()])
    await spool.read(LANE, START, 1000, 10**9)
    await spool.acknowledge(LANE, [stored[0].id], [letter()], rest=bulk(10, 600))
    spool.statistics()
    await spool.dead_letters()
    assert len(await read_all(spool)) == 2
    await spool.close()


async def test_concurrent_acknowledgements_share_a_commit_and_an_invalid_one_fails_alone(
    tmp_path: Path,
) -> None:
    spool = SqliteSpool(tmp_path / "spool.sqlite", max_bytes=2**26, clock=lambda: 1.0)
    await spool.open()
    stored = await spool.append([chunk(str(number).encode()) for number in range(50)], [])
    before = spool.statistics().commits
    ids = [item.id for item in stored]
    calls = [spool.acknowledge(LANE, [chunk_id], [letter()] if chunk_id == ids[7] else []) for chunk_id in ids]
    results = await asyncio.gather(*calls, spool.acknowledge(LANE, [ids[0]]), return_exceptions=True)
    assert results[:-1] == [None] * 50
    assert isinstance(results[-1], KeyError), "it was acknowledged before"
    statistics = spool.statistics()
    assert (statistics.events, statistics.dead_letters) == (0, 1)
    # One commit for the first call, then the group, which was retried one by one because of the invalid call.
    assert statistics.commits - before <= 1 + 50
    stored = await spool.append([chunk(str(number).encode()) for number in range(50)], [])
    before = spool.statistics().commits
    await asyncio.gather(*(spool.acknowledge(LANE, [item.id]) for item in stored))
    assert spool.statistics().commits - before == 2, "the first alone, the others together"
    await spool.close()


async def test_acknowledgements_that_wait_when_the_spool_closes_fail_without_effect(
    tmp_path: Path,
) -> None:
    spool = SqliteSpool(tmp_path / "spool.sqlite", max_bytes=2**26, clock=lambda: 1.0)
    await spool.open()
    stored = await spool.append([chunk(b"1"), chunk(b"2")], [])
    first, second = (asyncio.ensure_future(spool.acknowledge(LANE, [item.id])) for item in stored)
    await asyncio.sleep(0)
    await spool.close()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], SpoolUnavailable)
    (backlog,) = await spool.open()
    assert backlog.events == 1
    await spool.close()
