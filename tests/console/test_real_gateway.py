"""The console of a real gateway with two workers: its counts, an order's story, and that nothing personal is shown."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import pytest

from gateway.mapping.fields import CUSTOM, EVENT, IDENTITY
from gateway.model import JsonObject
from tests.console.test_pages import words
from tests.e2e.environment import Environment, sale, until

pytestmark = pytest.mark.slow

MARKER = "Quartzmarker"
EMAIL = f"{MARKER}@example.com"
SHOWN = {"order_id", "event_id", "event_time", "action_source", "currency", "value", "app_data", "contents"}
"""Fields that are shown (the IDs), or whose value must have a form that has no room for a marker."""
MAX_PAGES = 150


def marked_sale(number: int, **changes: Any) -> JsonObject:
    """A sale that has the marker in every source field but those of `SHOWN`, and in properties of its own."""
    event = sale(number)
    fields = [field for field in (*IDENTITY, *EVENT, *CUSTOM) if field.name not in SHOWN]
    for path in (path for field in fields for path in field.paths):
        put(event, path, f"{MARKER}{number}")
    event["context"]["traits"] |= {"email": EMAIL, "phone": "+1 650 555 1234", "address": {"city": MARKER}}
    event["context"] |= {
        "ip": "203.0.113.99",
        "userAgent": f"{MARKER}/1.0",
        "page": {"url": f"https://x.example/{MARKER}"},
    }
    event["properties"] |= {"note": MARKER, "list": [MARKER], "deep": {"a": {"b": MARKER}}}
    event["properties"]["products"] = [{"product_id": MARKER, "name": MARKER, "price": 1}]
    return {**event, **changes}


def put(event: JsonObject, path: str, value: Any) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        inner = event.get(parent)
        if not isinstance(inner, dict):
            return  # a list, or an earlier path went through it
        event = inner
    event.setdefault(leaf, value)


@pytest.fixture(name="environment")
def _environment(tmp_path: Path) -> Iterator[Environment]:
    with Environment(tmp_path, server="workers = 2") as environment:
        environment.faults({"status": 400, "code": 100, "subcode": 2804050, "event_index": 0, "calls": 3})
        environment.start()
        yield environment


@asynccontextmanager
async def client_of(environment: Environment) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(environment.admin) as client:
        yield client


async def crawl(client: aiohttp.ClientSession, start: str) -> dict[str, str]:
    """All pages and downloads that links lead to, by address."""
    found: dict[str, str] = {}
    waiting = [start]
    while waiting and len(found) < MAX_PAGES:
        path = waiting.pop(0)
        if path in found:
            continue
        async with client.get(path) as response:
            found[path] = await response.text()
            assert response.status == 200, path
        if not path.startswith("/static/") and "format=" not in path:
            for link in re.findall(r'(?:href|data-plot|hx-get)="([^"]+)"', found[path]):
                target = urljoin(path, html.unescape(link))
                if urlsplit(target).netloc or "#" in target or target.startswith("/static/"):
                    continue
                if "range=" not in target or "range=1h" in target:
                    waiting.append(target)
    return found


async def first_message(client: aiohttp.ClientSession, path: str) -> str:
    async with client.get(path) as response:
        return (await asyncio.wait_for(response.content.readuntil(b"\n\n"), 10)).decode()


async def test_nothing_personal_is_on_any_page_stream_or_download(environment: Environment) -> None:
    async with client_of(environment) as client:
        live = asyncio.create_task(watch_live(client))
        await asyncio.sleep(0.5)  # the live view captures only while somebody looks
        events = [marked_sale(number) for number in range(8)]
        events += [marked_sale(20, event=EMAIL), marked_sale(21, originalTimestamp=MARKER), sale(22, messageId=EMAIL)]
        status, _ = environment.track(*events)
        assert status == 200
        until(lambda: environment.ledger()["waiting"] == 0, "delivery")
        streamed = await live
        assert "Purchase" in streamed
        pages = await crawl(client, "/")
        for path in ("/event?id=message-3", "/event?id=order-21", "/live", "/problems/replay", "/problems/discard"):
            pages |= await crawl(client, path)
        pages |= {path: await first_message(client, path) for path in ("/?format=stream", "/problems?format=stream")}
        pages["live stream"] = streamed
    assert len(pages) > 40
    assert any(path.startswith("/problems/letters/") for path in pages)
    for path, text in pages.items():
        assert MARKER.lower() not in text.lower(), path
        assert "203.0.113.99" not in text, path
        assert "6505551234" not in text, path
        assert "customer22@example.com" not in text, path


async def watch_live(client: aiohttp.ClientSession) -> str:
    """All that the live page shows for some seconds."""
    texts = []
    async with client.get("/live?format=stream") as response:
        ends_at = time.monotonic() + 4
        while time.monotonic() < ends_at:
            try:
                async with asyncio.timeout(1.5):
                    texts.append((await response.content.readuntil(b"\n\n")).decode())
            except TimeoutError:
                continue
    return "".join(texts)


async def test_the_counts_of_two_workers_add_up_and_an_order_tells_its_story(environment: Environment) -> None:
    for number in range(40):
        environment.track(sale(number))  # each with a connection of its own, so that both workers get some
    environment.track({**sale(99), "event": "Not Mapped"})
    until(lambda: environment.ledger()["waiting"] == 0, "delivery")
    async with client_of(environment) as client:
        async with client.get("/") as response:
            page = words(await response.text())
        assert "in 2 worker processes" in page
        ledger = environment.ledger()
        assert f"accepted {ledger['accepted']} delivered {ledger['delivered']}" in page
        assert "unmapped_event" in page
        async with client.get("/problems/replay?code=unmapped_event") as response:
            assert "0 would be processed again; 2 would stay" in words(await response.text())
        async with client.get("/event?id=message-39") as response:
            story = words(await response.text())
        assert "Meta accepted it" in story
        assert "Order ID order-39" in story
