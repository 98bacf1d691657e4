"""A gateway in one process: failing background tasks do not stop it, and a reload resets no counter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.app import GatewayApp
from gateway.config import AlertSettings, Settings, parse
from gateway.mapping.native import describe
from gateway.model import JsonObject
from gateway.runtime import lifecycle, rejections
from gateway.runtime.lifecycle import StopSignal
from gateway.runtime.maintenance import MaintenanceTasks
from gateway.telemetry import Snapshot, rejection_rate
from gateway.telemetry.rejection_rate import RejectionRate
from gateway.telemetry.webhook import WebhookNotifier


def settings(folder: Path, **destination: Any) -> Settings:
    return parse(
        {
            "server": {"port": 0, "drain_delay": 0, "drain_timeout": 0},
            "admin": {"port": 0},
            "spool": {"engine": "memory", "path": str(folder / "spool")},
            "sources": {"shop": {"write_key": "wk", "destinations": ["store"]}},
            "destinations": {
                "store": {
                    "api": "conversions",
                    "access_token": "t",
                    "standard_to_event_sets": {"Purchase": ["1"]},
                    "upload": {"graph_url": "http://127.0.0.1:9"},
                    **destination,
                }
            },
        }
    )


@asynccontextmanager
async def serving(given: Settings) -> AsyncIterator[GatewayApp]:
    """A gateway that serves, and is stopped in order."""
    app, stop = GatewayApp(given), StopSignal()
    task = asyncio.create_task(app.run(stop))
    serving = asyncio.create_task(app.serving.wait())
    await asyncio.wait([task, serving], return_when=asyncio.FIRST_COMPLETED)
    try:
        yield app
    finally:
        stop.request()
        await asyncio.wait_for(task, 10)


async def send(app: GatewayApp, **event: Any) -> JsonObject:
    sale = {
        "type": "track",
        "event": "Order Completed",
        "context": {"traits": {"email": "customer@example.com"}},
        "properties": {"total": 3},
        "writeKey": "wk",
        **event,
    }
    url = f"http://127.0.0.1:{app._ingest.port}/v1/track"
    async with aiohttp.ClientSession() as session, session.post(url, json=sale) as response:
        return dict(await response.json())


async def test_background_tasks_that_fail_do_not_stop_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lifecycle, "FIRST_TASK_DELAY", 0.01)
    monkeypatch.setattr(WebhookNotifier, "run", fail)
    monkeypatch.setattr(MaintenanceTasks, "save", fail)
    monkeypatch.setattr(MaintenanceTasks, "purge", fail)
    async with serving(settings(tmp_path)) as app:
        await asyncio.sleep(0.1)
        assert (await send(app))["accepted"] == 1
        assert not await app.readiness()
    for name in ("webhook", "save message IDs", "purge dead letters"):
        assert caplog.text.count(f"the background task {name} failed") > 1
    assert "the last message IDs were not saved" in caplog.text


async def test_rejections_are_logged_at_once_and_a_high_rate_is_in_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rejections, "UPDATE_SECONDS", 0.01)
    monkeypatch.setattr(rejection_rate, "SAMPLE_SECONDS", 0.0)
    given = settings(tmp_path).model_copy(update={"alerts": AlertSettings(rejection_rate=0.3, rejection_min_events=3)})
    async with serving(given) as app:
        for event in ("Order Completed", "Jane bought", "Jane bought"):
            await send(app, event=event)
        async with asyncio.timeout(10):
            while not (rates := (await app.snapshot()).rejection_rates):  # noqa: ASYNC110 (set by a background task)
                await asyncio.sleep(0.01)
        assert dict(rates) == {"shop": RejectionRate(3, 2, {"unmapped_event": 2})}
        assert any(message.startswith('rejected an event of source "shop"') for message in caplog.messages)
        await app.reload(given.model_copy(update={"alerts": AlertSettings(rejection_rate=1)}))
        async with asyncio.timeout(10):
            while (await app.snapshot()).rejection_rates:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert 'source "shop": 1 more event rejected in the last minute: unmapped_event' in caplog.messages
    assert "Jane" not in caplog.text


async def test_a_reload_that_changes_a_destination_resets_no_counter(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as app:
        await send(app)
        before = (await app.snapshot()).coverage["store"]
        assert before.events == 1
        await app.reload(settings(tmp_path, default_country="US"))
        assert (await app.snapshot()).coverage["store"] == before
        await send(app, messageId="other")
        after = (await app.snapshot()).coverage["store"]
        assert (after.events, after.keys["email"].present) == (2, 2)
        assert app.counters() == (await app.snapshot()).counters()


async def test_the_snapshot_of_several_processes_says_which_path_maps_events(tmp_path: Path) -> None:
    async with serving(settings(tmp_path)) as app:
        total = Snapshot(workers=2)
        total.add((await app.snapshot()).counters())
        assert not total.mapping
        total.add((await app.snapshot()).gauges())
        total.add(Snapshot())
        assert total.mapping == describe()


async def test_a_reload_that_fails_midway_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    async with serving(settings(tmp_path)) as app:
        monkeypatch.setattr(MaintenanceTasks, "reload", fail)
        other = settings(tmp_path)
        other = other.model_copy(update={"sources": {}})
        with pytest.raises(OSError, match="Input/output"):
            await app.reload(other)
        assert (await send(app))["accepted"] == 1
