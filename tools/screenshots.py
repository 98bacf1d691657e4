"""Takes the pictures of the console in `docs/screenshots`: `python -m tools.screenshots`, about a minute.

A gateway uploads generated sales to the sandbox, which refuses some, and at last every call to one dataset. So that the
plots have a day to show, the history of the day before is generated; everything else is what the gateway did.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import Literal

import aiohttp
from playwright.async_api import Page, ViewportSize

from gateway.demo.run import settings_of
from gateway.demo.sales import EVENT_SETS, Sales
from gateway.demo.subprocesses import Subprocess
from gateway.history import Metric, store
from gateway.history.samples import Sample, SeriesKey
from gateway.model import JsonObject
from gateway.record_file import RecordFile
from tests.console.chromium import chromium

FOLDER = Path(__file__).parent.parent / "docs" / "screenshots"
SIZE: ViewportSize = {"width": 1280, "height": 800}
SEND_SECONDS = 70.0
"""Longer than a minute, so that the history of the day has its last minute."""
EVENTS_PER_SECOND = 20
REFUSAL: JsonObject = {"status": 400, "code": 100, "subcode": 2804050, "event_index": 3, "calls": 6}
STOPPED_DATASET = EVENT_SETS["Lead"]
STOP_SECONDS = 10.0
"""Until uploads to that dataset have stopped."""
THEMES: Sequence[Literal["light", "dark"]] = ("light", "dark")
WRITE_KEY = "screenshots"
PAGES = {
    "overview": "/",
    "destination": "/destinations/store",
    "problems": "/problems",
    "live": "/live",
    "playground": "/playground",
    "settings": "/settings",
}
"""Those with an address that is known beforehand."""


def past_minutes(now: float) -> Iterator[tuple[int, Sample]]:
    """A day of a shop that is busy at noon and in the evening."""
    random = Random(1)  # noqa: S311 (not used for security)
    destination, purchases = ("store",), ("store", EVENT_SETS["Purchase"])
    for minute in range(24 * 60, 1, -1):
        at = int(now) // 60 * 60 - minute * 60
        hour = (18.5 - minute / 60) % 24  # the pictures are taken in the busy evening, whenever they are taken
        busy = math.exp(-(((hour - 12) / 2.5) ** 2)) + 1.4 * math.exp(-(((hour - 18.5) / 2) ** 2)) + 0.05
        sales = max(0, random.gauss(850 * busy, 12))
        lag = random.gauss(2.6, 0.2) + (40 if 500 < minute < 515 else 0)  # Meta answered late for a quarter of an hour
        counters = {
            SeriesKey(Metric.ACCEPTED, purchases): sales,
            SeriesKey(Metric.DELIVERED, purchases): sales,
            SeriesKey(Metric.MAPPED, destination): sales,
            SeriesKey(Metric.KEY_PRESENT, (*destination, "email")): sales * 0.84,
            SeriesKey(Metric.KEY_PRESENT, (*destination, "phone")): sales * random.gauss(0.38, 0.01),
            SeriesKey(Metric.KEY_PRESENT, (*destination, "last_name")): sales * 0.86,
            SeriesKey(Metric.KEY_PRESENT, (*destination, "external_id")): sales * 0.61,
            SeriesKey(Metric.KEY_PRESENT, (*destination, "zip")): sales * 0.79,
            SeriesKey(Metric.KEY_PRESENT, (*destination, "country")): sales * 0.8,
            SeriesKey(Metric.KEY_PRESENT, (*destination, "city")): sales * 0.6,
            SeriesKey(Metric.KEY_DROPPED, (*destination, "phone", "no_country")): sales * 0.26,
        }
        if random.random() < 0.2 * busy:
            counters[SeriesKey(Metric.REJECTED, ("till", "no_match_key"))] = 1.0
        gauges = {
            SeriesKey(Metric.LAG_P50, destination): lag,
            SeriesKey(Metric.LAG_P99, destination): lag * random.gauss(1.9, 0.1),
            SeriesKey(Metric.WAITING, purchases): sales / 60 * lag,
        }
        yield at, Sample({key: float(round(value)) for key, value in counters.items()}, gauges)


async def write_history(folder: Path) -> None:
    """Write the day before to the file of the history, which the gateway then continues."""
    spool = folder / "spool"
    spool.mkdir(mode=0o700)
    file = RecordFile(spool / "history.sqlite", store.SCHEMA, max_bytes=store.MAX_BYTES)
    for at, values in past_minutes(time.time()):
        await file.run(partial(store.write, at=at, values=values))
    await file.close()


@asynccontextmanager
async def sending(server: str) -> AsyncIterator[None]:
    """Inside the context, sales are sent to the gateway."""
    sales = Sales(7, bad_share=0.02)

    async def send() -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                body = {"writeKey": WRITE_KEY, "batch": sales.events(EVENTS_PER_SECOND // 4)}
                await (await session.post(f"{server}/v1/batch", json=body)).release()
                await asyncio.sleep(0.25)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def add_fault(meta: str, fault: JsonObject) -> None:
    """Make the sandbox refuse calls."""
    async with aiohttp.ClientSession() as session:
        await (await session.post(f"{meta}/_sandbox/faults", json=fault)).release()


async def pages_of_events(admin: str, meta: str) -> dict[str, str]:
    """Pages whose address depends on what was sent: an order that was delivered, and an event that Meta refused."""
    purchases = f"{meta}/_sandbox/events?event_set={EVENT_SETS['Purchase']}&limit=1"
    async with aiohttp.ClientSession() as session:
        letters = await (await session.get(f"{admin}/dead-letters?stage=upload&limit=1")).json()
        delivered = await (await session.get(purchases)).json()
    return {
        "event": f"/event?id={delivered['events'][0]['custom_data']['order_id']}",
        "dead-letters": "/problems/letters",
        "dead-letter": f"/problems/letters/{letters['dead_letters'][0]['number']}",
        "replay": "/problems/replay?destination=store",
    }


async def take_all(pages: Mapping[str, str], admin: str) -> None:
    """The pictures of these pages, by name, in both themes."""
    async with chromium() as browser:
        for theme in THEMES:
            context = await browser.new_context(color_scheme=theme, viewport=SIZE)
            page = await context.new_page()
            for name, path in pages.items():
                await take(page, admin, name, path, theme)


async def take(page: Page, admin: str, name: str, path: str, theme: str) -> None:
    """One picture."""
    await page.goto(admin + path)
    await page.wait_for_timeout(4000 if name == "live" else 1000)
    await page.screenshot(path=str(FOLDER / f"{name}-{theme}.png"))


async def main() -> None:
    """Run the gateway, and take all pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gateway-screenshots-") as name, ExitStack() as stack:
        folder = Path(name)
        sandbox = stack.enter_context(Subprocess(folder, "sandbox", ["gateway", "sandbox", "--port", "0"])).started()
        meta = sandbox.addresses["server"]
        (folder / "gateway.toml").write_text(settings_of(folder, meta))
        await write_history(folder)
        await add_fault(meta, {**REFUSAL, "event_set": EVENT_SETS["Purchase"]})
        serve = ["gateway", "serve", "--config", str(folder / "gateway.toml")]
        gateway = stack.enter_context(Subprocess(folder, "gateway", serve)).started()
        admin = gateway.addresses["admin"]
        async with sending(gateway.addresses["server"]):
            await asyncio.sleep(SEND_SECONDS)
            await take_all({**PAGES, **await pages_of_events(admin, meta)}, admin)
            await add_fault(meta, {"event_set": STOPPED_DATASET, "status": 400, "code": 190, "subcode": 463})
            await asyncio.sleep(STOP_SECONDS)
            await take_all({"stopped": "/"}, admin)


if __name__ == "__main__":
    asyncio.run(main())
