"""What a gateway in one process keeps for the console: trace, live view, history and its settings."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.app import GatewayApp
from gateway.config import Settings, parse
from gateway.history import HistoryQuery, HistoryUnavailable, Metric
from gateway.runtime.lifecycle import StopSignal
from gateway.sandbox.server import Sandbox, SandboxOptions
from gateway.trace import TraceState


def settings(folder: Path, meta: str = "http://127.0.0.1:9", engine: str = "sqlite", **console: Any) -> Settings:
    return parse(
        {
            "server": {"port": 0, "drain_delay": 0, "drain_timeout": 5},
            "admin": {"port": 0},
            "console": console,
            "spool": {"engine": engine, "path": str(folder / "spool")},
            "sources": {"shop": {"write_key": "wk", "destinations": ["store"]}},
            "destinations": {
                "store": {
                    "api": "conversions",
                    "access_token": "t",
                    "standard_to_event_sets": {"Purchase": ["1"]},
                    "batch": {"max_age": 0.05},
                    "upload": {"graph_url": meta, "backoff_base": 0.05},
                }
            },
        }
    )


@asynccontextmanager
async def serving(given: Settings) -> AsyncIterator[GatewayApp]:
    app, stop = GatewayApp(given), StopSignal()
    task = asyncio.create_task(app.run(stop))
    await app.serving.wait()
    try:
        yield app
    finally:
        stop.request()
        stop.request()
        await asyncio.wait_for(task, 10)


@asynccontextmanager
async def meta() -> AsyncIterator[str]:
    sandbox = Sandbox(SandboxOptions())
    await sandbox.start()
    try:
        yield f"http://127.0.0.1:{sandbox.port}"
    finally:
        await sandbox.stop()


async def send(app: GatewayApp, number: int) -> None:
    event = {
        "event": "Order Completed",
        "messageId": f"m{number}",
        "context": {"traits": {"email": "a@example.com"}},
        "properties": {"order_id": f"100{number}", "total": 5, "currency": "USD"},
    }
    url = f"http://127.0.0.1:{app._ingest.port}/v1/track"
    headers = {"Authorization": f"Basic {b64encode(b'wk:').decode()}"}
    async with aiohttp.ClientSession() as session, session.post(url, json=event, headers=headers) as response:
        assert response.status == 200, await response.text()


async def state_of(app: GatewayApp, identifier: str) -> list[TraceState]:
    return [event.state for event in (await app.trace(identifier)).events]


async def until_delivered(app: GatewayApp, identifier: str) -> None:
    async with asyncio.timeout(10):
        while await state_of(app, identifier) != [TraceState.DELIVERED]:  # noqa: ASYNC110 (as an operator does)
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("engine", ["sqlite", "memory"])
async def test_an_event_is_traced_from_its_storage_to_the_call_that_delivered_it(tmp_path: Path, engine: str) -> None:
    async with meta() as url, serving(settings(tmp_path, url, engine)) as app:
        await send(app, 1)
        assert len(await state_of(app, "1001")) == 1
        await until_delivered(app, "1001")
        (event,) = (await app.trace("m1")).events
        assert (event.order_id, event.attempts) == ("1001", 1)
        assert event.meta_trace_id


async def test_a_waiting_event_has_its_reason_and_is_still_known_after_a_restart(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as app:
        await send(app, 1)
        (event,) = (await app.trace("1001")).events
        assert event.state is TraceState.WAITING
        assert event.waiting is not None
    async with meta() as url, serving(settings(tmp_path, url)) as app:
        await until_delivered(app, "1001")
        assert (await app.trace("1001")).gaps == []


async def test_the_history_of_a_run_is_there_after_a_restart(tmp_path: Path) -> None:
    async with meta() as url:
        async with serving(settings(tmp_path, url)) as app:
            await send(app, 1)
            await until_delivered(app, "m1")
        async with serving(settings(tmp_path, url)) as app:
            now = app._clock()
            page = await app.history(HistoryQuery([Metric.ACCEPTED, Metric.DELIVERED], now - 600, now + 60))
    assert {series.metric: sum(series.values) for series in page.series} == {"accepted": 1, "delivered": 1}


async def test_ids_are_hidden_where_the_settings_say_so(tmp_path: Path) -> None:
    async with serving(settings(tmp_path, show_ids=False)) as app:
        cursor = (await app.tap("")).cursor
        await send(app, 1)
        (event,) = (await app.trace("m1")).events
        (entry,) = (await app.tap(cursor)).entries
    assert (event.message_id, event.order_id, entry.message_id, entry.order_id) == (None, None, None, None)


async def test_a_trace_that_is_turned_off_leaves_no_id_on_the_disk(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as app:
        await send(app, 1)
    assert (tmp_path / "spool" / "trace.sqlite").exists()
    async with serving(settings(tmp_path, trace_days=0)) as app:
        assert not (await app.trace("m1")).is_enabled
    assert not list((tmp_path / "spool").glob("trace*"))


async def test_nothing_is_recorded_for_a_console_that_is_turned_off(tmp_path: Path) -> None:
    async with serving(settings(tmp_path, enabled=False, quality=False)) as app:
        await send(app, 1)
        with pytest.raises(HistoryUnavailable, match=r"console\.enabled"):
            await app.history(HistoryQuery([Metric.ACCEPTED], 0, 60))
        assert not (await app.trace("m1")).is_enabled
        assert await app.quality() == []
    names = {path.name for path in (tmp_path / "spool").iterdir()}
    assert not {name for name in names if name.startswith(("history", "trace"))}


async def test_damaged_files_do_not_stop_the_gateway(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir(0o700)
    for name in ("history.sqlite", "trace.sqlite"):
        (folder / name).write_bytes(b"damaged" * 2000)
    async with serving(settings(tmp_path)) as app:
        await send(app, 1)
        assert len(await state_of(app, "m1")) == 1
    assert {path.name for path in folder.glob("*.damaged")} == {"history.sqlite.damaged", "trace.sqlite.damaged"}
