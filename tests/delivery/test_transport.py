"""Calls over real sockets: which failures are in doubt, which certificates are trusted, which proxy is used."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from gateway.config import DestinationSettings
from gateway.delivery import HttpResponse, NoResponse
from gateway.delivery.transport import MAX_RESPONSE_BYTES, HttpTransport
from gateway.meta import GraphRequest


def transport(**upload: object) -> HttpTransport:
    settings = {
        "api": "conversions",
        "access_token": "token",
        "standard_to_event_sets": {"Purchase": ["1"]},
        "upload": {"timeout": 0.3, "connect_timeout": 0.2, **upload},
    }
    return HttpTransport(DestinationSettings.model_validate(settings))


async def send(url: str, **upload: object) -> HttpResponse:
    http = transport(**upload)
    try:
        return await http.send(GraphRequest(url, {"Content-Type": "application/json"}, b'{"data":[]}'))
    finally:
        await http.close()


@asynccontextmanager
async def server(response: bytes | None) -> AsyncIterator[str]:
    """Reads a request and writes raw bytes. None: closes the connection at once; b"": keeps it open, writes nothing."""
    handled = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if response == b"":
            await reader.read()  # until the client closes the connection
        elif response:
            writer.write(response)
            with suppress(ConnectionError):
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        handled.set()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v25.0/1/events"
        await asyncio.wait_for(handled.wait(), 5)
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (None, "disconnected"),
        (b"", "timeout"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", "broken_ClientPayloadError"),
        (b"no HTTP at all\r\n\r\n", "broken_ClientResponseError"),
    ],
    ids=["closed", "no response", "truncated body", "not HTTP"],
)
async def test_a_failure_after_the_request_was_sent_is_in_doubt(response: bytes | None, code: str) -> None:
    async with server(response) as url:
        with pytest.raises(NoResponse) as failure:
            await send(url)
    assert (failure.value.code, failure.value.in_doubt) == (code, True)


async def test_a_refused_connection_is_not_in_doubt() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # reserved, without a listener
        with pytest.raises(NoResponse) as failure:
            await send(f"http://127.0.0.1:{reserved.getsockname()[1]}/v25.0/1/events")
    assert (failure.value.code, failure.value.in_doubt) == ("no_connection", False)


async def test_a_response_is_read_up_to_a_limit() -> None:
    body = b"x" * (3 * 2**20)
    async with server(b"HTTP/1.1 500 Oh\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)) as url:
        response = await send(url, timeout=5)
    assert (response.status, len(response.body)) == (500, MAX_RESPONSE_BYTES)


async def test_a_compressed_response_is_read_up_to_the_same_limit() -> None:
    body = gzip.compress(b"x" * (64 * 2**20))
    assert len(body) < 2**17
    tracemalloc.start()
    try:
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
        async with server(head + body) as url:
            response = await send(url, timeout=5)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(response.body) == MAX_RESPONSE_BYTES
    assert most < 8 * 2**20


async def test_cookies_of_a_response_are_not_kept() -> None:
    http = transport(timeout=5)
    requests: list[str] = []

    async def respond(request: web.BaseRequest) -> web.Response:
        requests.append(request.headers.get("Cookie", ""))
        await request.read()
        response = web.Response(text="{}")
        response.set_cookie(f"name{len(requests)}", "x" * 1000)
        return response

    runner = web.ServerRunner(web.Server(respond))
    await runner.setup()
    await web.TCPSite(runner, "localhost", 0).start()
    try:
        url = f"http://localhost:{runner.addresses[0][1]}/v25.0/1/events"
        for _ in range(3):
            assert (await http.send(GraphRequest(url, {}, b"{}"))).status == 200
    finally:
        await http.close()
        await runner.cleanup()
    assert requests == ["", "", ""]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def https(authority: trustme.CA, name: str) -> AsyncIterator[str]:
    async def respond(request: web.BaseRequest) -> web.Response:
        await request.read()
        return web.json_response({"events_received": 0})

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    runner = web.ServerRunner(web.Server(respond))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/v25.0/1/events"
    finally:
        await runner.cleanup()


async def test_a_private_certificate_authority_is_trusted_only_if_ca_file_names_it(
    authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with https(authority, "127.0.0.1") as url:
        assert (await send(url, timeout=5, connect_timeout=5, ca_file=str(tmp_path / "ca.pem"))).status == 200
        with pytest.raises(NoResponse) as failure:
            await send(url, timeout=5, connect_timeout=5)
        assert (failure.value.code, failure.value.in_doubt) == ("no_connection", False)


async def test_a_certificate_for_another_name_is_refused(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with https(authority, "graph.example") as url:
        with pytest.raises(NoResponse) as failure:
            await send(url, timeout=5, connect_timeout=5, ca_file=str(tmp_path / "ca.pem"))
    assert not failure.value.in_doubt


async def test_the_proxy_that_the_environment_names_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as url:
        monkeypatch.setenv("HTTP_PROXY", url.rpartition("/v25.0")[0])
        response = await send(
            "http://graph.invalid/v25.0/1/events", timeout=5, connect_timeout=5, graph_url="http://graph.invalid"
        )
    assert response.status == 200
