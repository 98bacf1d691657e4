"""Calls over real sockets: what is in doubt and what is not, which certificates are believed, which proxy is used."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from gateway.config import DestinationSettings
from gateway.delivery import HttpResponse, NoResponse
from gateway.delivery.transport import HttpTransport
from gateway.meta import GraphRequest


def transport(**upload: object) -> HttpTransport:
    settings = {
        "api": "conversions",
        "access_token": "token",
        "standard_to_event_sets": {"Purchase": ["1"]},
        "upload": {"timeout": 0.3, "connect_timeout": 0.2, **upload},
    }
    return HttpTransport(DestinationSettings.model_validate(settings))


async def sent(url: str, **upload: object) -> HttpResponse:
    carrier = transport(**upload)
    try:
        return await carrier.send(GraphRequest(url, {"Content-Type": "application/json"}, b'{"data":[]}'))
    finally:
        await carrier.close()


@asynccontextmanager
async def server(answer: bytes | None) -> AsyncIterator[str]:
    """Reads a request and writes raw bytes; None: it closes without a word, b"": it says nothing and keeps the line."""
    handled = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer == b"":
            await reader.read()  # until the other side gives up
        elif answer:
            writer.write(answer)
            with suppress(ConnectionError):
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        handled.set()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v25.0/1/events"
        await asyncio.wait_for(handled.wait(), 5)
    finally:
        listening.close()


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (None, "disconnected"),
        (b"", "timeout"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "broken_ClientPayloadError"),
        (b"no HTTP at all\r\n\r\n", "broken_ClientResponseError"),
    ],
    ids=["closed", "silent", "cut in the body", "rubbish"],
)
async def test_once_the_request_was_sent_the_outcome_is_in_doubt(answer: bytes | None, code: str) -> None:
    async with server(answer) as url:
        with pytest.raises(NoResponse) as silence:
            await sent(url)
    assert (silence.value.code, silence.value.in_doubt) == (code, True)


async def test_without_a_connection_nothing_is_in_doubt() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens on it
        with pytest.raises(NoResponse) as silence:
            await sent(f"http://127.0.0.1:{taken.getsockname()[1]}/v25.0/1/events")
    assert (silence.value.code, silence.value.in_doubt) == ("no_connection", False)


async def test_an_endless_answer_is_cut() -> None:
    body = b"x" * (3 * 2**20)
    async with server(b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as url:
        reply = await sent(url, timeout=5)
    assert (reply.status, len(reply.body)) == (500, 2**20)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def https(authority: trustme.CA, name: str) -> AsyncIterator[str]:
    async def answer(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.json_response({"events_received": 0})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/v25.0/1/events"
    finally:
        await runner.cleanup()


async def test_a_private_authority_is_believed_where_the_settings_name_it_and_only_there(
    authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with https(authority, "127.0.0.1") as url:
        assert (await sent(url, timeout=5, connect_timeout=5, ca_file=str(tmp_path / "ca.pem"))).status == 200
        with pytest.raises(NoResponse) as silence:
            await sent(url, timeout=5, connect_timeout=5)
        assert (silence.value.code, silence.value.in_doubt) == ("no_connection", False)


async def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with https(authority, "graph.example") as url:
        with pytest.raises(NoResponse) as silence:
            await sent(url, timeout=5, connect_timeout=5, ca_file=str(tmp_path / "ca.pem"))
    assert not silence.value.in_doubt


async def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as url:
        monkeypatch.setenv("HTTP_PROXY", url.rpartition("/v25.0")[0])
        reply = await sent(
            "http://graph.invalid/v25.0/1/events", timeout=5, connect_timeout=5, graph_url="http://graph.invalid"
        )
    assert reply.status == 200
