"""Alerts to the webhook: their content, and webhooks that behave badly."""

from __future__ import annotations

import asyncio
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web

from gateway.config import AlertSettings
from gateway.model import Lane
from gateway.telemetry import Ledger, webhook
from gateway.telemetry.alerts import AlertType, LaneAlert
from gateway.telemetry.logging import JsonFormatter
from gateway.telemetry.webhook import WebhookNotifier
from tests.telemetry.log_records import unsafe_characters

LANE = Lane("store", "1148", "jane@example.com\x1b[2J")
SECRET = "secret-part"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def alert(
    alert_type: AlertType = AlertType.BLOCKED, lane: Lane = LANE, reason: str = "", remedy: str = ""
) -> LaneAlert:
    return LaneAlert(alert_type, lane, "token", "meta_190_463", 1204, 1_800_000_000.0, reason, remedy)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server that answers every request by `handler`."""
    server = web.Server(handler, access_log=None)
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        await server.shutdown(0.1)


async def sent(url: str, *alerts: LaneAlert) -> Ledger:
    """Send alerts; the counts afterwards."""
    ledger = Ledger()
    notifier = WebhookNotifier(AlertSettings(webhook=f"{url}/{SECRET}"), ledger)
    running = asyncio.create_task(notifier.run())
    for each in alerts:
        notifier.notify(each)
    await notifier.flush(20.0)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    return ledger


@pytest.fixture(autouse=True)
def _retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "FIRST_RETRY_SECONDS", 0.0)


@pytest.mark.parametrize("alert_type", [AlertType.BLOCKED, AlertType.RESUMED])
def test_an_alert_names_the_upload_tag_by_its_hash(alert_type: AlertType) -> None:
    content = alert(alert_type).as_json()
    assert "jane" not in str(content)
    assert content["tag_hash"] == LANE.tag_hash
    assert f'destination "store", dataset 1148, upload tag {LANE.tag_hash}: ' in content["text"]


def test_an_alert_states_reason_and_remedy() -> None:
    text = alert(reason="the token is invalid (190/463)", remedy="Replace it.").as_json()["text"]
    assert text.endswith(
        ": the token is invalid (190/463). 1,204 events kept; retrying until a call succeeds. Replace it."
    )


def test_the_text_of_an_alert_is_printable() -> None:
    hostile = "a\nb\x1b[2J\x9b\u202e\ud800"
    content = alert(lane=Lane(hostile, "1148", ""), reason=hostile, remedy=hostile).as_json()
    assert not unsafe_characters(content["text"])


async def test_the_body_of_a_response_is_not_read() -> None:
    written = 0
    ended = asyncio.Event()

    async def respond_endlessly(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"Content-Encoding": "deflate"})
        bomb = zlib.compress(bytes(10_000_000))
        await response.prepare(request)
        try:
            for _ in range(10_000):
                await response.write(bomb)
                written += len(bomb)
        finally:
            ended.set()
        return response

    async with serving(respond_endlessly) as url:
        ledger = await sent(url, alert())
        await asyncio.wait_for(ended.wait(), 10)
    assert ledger.alerts == {"delivered": 1}
    assert written < 20_000_000


async def test_a_redirect_is_not_followed() -> None:
    paths = []

    async def redirect(request: web.BaseRequest) -> web.StreamResponse:
        paths.append(request.path)
        return web.Response(status=307, headers={"Location": "/elsewhere"})

    async with serving(redirect) as url:
        ledger = await sent(url, alert())
    assert ledger.alerts == {"failed": 1}
    assert paths == [f"/{SECRET}"]


async def test_cookies_are_not_kept() -> None:
    cookies = []

    async def set_cookie(request: web.BaseRequest) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": f"cookie{len(cookies)}=1"})

    async with serving(set_cookie) as url:
        await sent(url.replace("127.0.0.1", "localhost"), alert(), alert())
    assert cookies == [None, None]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9",
        "http://127.0.0.1:99999",
        f"http://{'a' * 70}.example",  # a label that no host name can have
        "http://[",
    ],
)
async def test_neither_the_url_nor_the_tag_is_logged_and_later_alerts_are_sent(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    ledger = await sent(url, alert(), alert())
    assert ledger.alerts == {"failed": 2}
    log = "".join(map(JsonFormatter().format, caplog.records))
    assert "cannot deliver an alert to alerts.webhook" in log
    assert LANE.tag_hash in log
    assert SECRET not in log
    assert "jane" not in log


async def test_an_alert_that_was_refused_once_is_sent_again() -> None:
    bodies = []

    async def refuse_first(request: web.BaseRequest) -> web.StreamResponse:
        bodies.append(orjson.loads(await request.read()))
        return web.Response(status=503 if len(bodies) == 1 else 200)

    async with serving(refuse_first) as url:
        ledger = await sent(url, alert())
    assert ledger.alerts == {"delivered": 1}
    assert bodies == [alert().as_json()] * 2
