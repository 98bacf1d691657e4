"""Background tasks are started again when they fail."""

from __future__ import annotations

import asyncio

import pytest

from gateway.runtime import lifecycle
from gateway.runtime.lifecycle import keep_running


async def test_a_background_task_that_fails_is_logged_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lifecycle, "FIRST_TASK_DELAY", 0.001)
    runs = 0
    stable = asyncio.Event()

    async def run() -> None:
        nonlocal runs
        runs += 1
        if runs < 4:
            raise ZeroDivisionError
        stable.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running("purge dead letters", run))
    await asyncio.wait_for(stable.wait(), 5)
    assert not task.done()
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        f"the background task purge dead letters failed; starting it again in {delay:g} s"
        for delay in (0.001, 0.002, 0.004)
    ]
    assert all(record.exc_info for record in caplog.records)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_delay_grows_to_its_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        if len(delays) == 9:
            raise asyncio.CancelledError

    async def run() -> None:
        raise OSError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await keep_running("webhook", run)
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


async def test_a_background_task_that_ends_is_not_started_again() -> None:
    runs = 0

    async def run() -> None:
        nonlocal runs
        runs += 1

    await keep_running("webhook", run)
    assert runs == 1
