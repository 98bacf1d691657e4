"""What one client of the admin port can make the process hold, log, or wait for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.admin import connections, server
from gateway.dead_letters import MAX_PAGE_BYTES
from gateway.telemetry.loop_lag import LoopLag
from tests.admin.admin_port import AdminPort, admin_port, letter

MARKER = b"customer4711@example.com"
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def connection(port: AdminPort) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.server.port)
    try:
        yield reader, writer
    finally:
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        MARKER + b"\r\n\r\n",
        b"GET /" + MARKER + b"\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/9.9" + MARKER + b"\r\n\r\n",
        HEAD + b"Authorization: Bearer " + MARKER + b"\x01\r\n\r\n",
        HEAD + MARKER + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + MARKER + b"\r\n",
        HEAD + b"Content-Length: " + MARKER + b"\r\n\r\n",
        HEAD + b"X: " + MARKER * 1000 + b"\r\n\r\n",
        b"GET /status?" + MARKER * 1000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01" + MARKER,
    ],
)
async def test_a_malformed_request_gets_400_and_none_of_its_bytes_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    async with admin_port(tmp_path) as port:
        with caplog.at_level(logging.DEBUG):
            reply = await port.send(request_bytes)
            await asyncio.sleep(0)
        assert reply.status == 400
        assert MARKER not in reply.body
        logged = "\n".join(f"{record.getMessage()} {record.exc_info} {record.args}" for record in caplog.records)
        assert MARKER.decode() not in logged
        assert "Traceback" not in caplog.text


async def test_garbage_after_a_valid_request_ends_the_connection_without_a_log_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with admin_port(tmp_path) as port:
        with caplog.at_level(logging.DEBUG):
            body = b"POST /lanes/resume HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
            await port.send(body + MARKER + b" \r\n\r\n")
        assert MARKER.decode() not in caplog.text


async def test_a_request_body_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        for framing in (b"Content-Length: 1025", b"Content-Length: 99999999999", b"Transfer-Encoding: chunked"):
            async with connection(port) as (reader, writer):
                writer.write(b"POST /lanes/resume HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n")
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                assert head.startswith(b"HTTP/1.1 413")
                assert b"body_too_large" in await asyncio.wait_for(reader.read(), 5), "the connection is closed"
        assert port.gateway.resumed == []
        async with connection(port) as (reader, writer):
            writer.write(b"POST /lanes/resume HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
            assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", HEAD, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"])
async def test_a_connection_without_a_complete_request_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """New connections, those with half a head, and those that were used before."""
    monkeypatch.setattr(server, "KEEP_ALIVE_SECONDS", 0.2)
    async with admin_port(tmp_path) as port, connection(port) as (reader, writer):
        started_at = time.monotonic()
        writer.write(sent)
        await asyncio.wait_for(reader.read(), 5)
        assert time.monotonic() - started_at > 0.15


async def test_the_keep_alive_time_is_shorter_than_that_of_the_port_for_senders() -> None:
    assert connections.KEEP_ALIVE_SECONDS <= 30


async def test_at_the_limit_the_oldest_idle_connection_is_closed_for_a_new_one(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        idle = [
            await asyncio.open_connection("127.0.0.1", port.server.port) for _ in range(connections.MAX_CONNECTIONS)
        ]
        assert (await port.get("/healthz")).status == 200
        assert await asyncio.wait_for(idle[0][0].read(), 5) == b""
        for reader, writer in idle[2:]:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 200")
        for _, writer in idle:
            writer.close()


async def test_a_page_of_dead_letters_ends_at_its_size_and_the_next_one_continues(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        large = b'{"a":"' + b"x" * 2**20 + b'"}'
        await port.spool.append([], [letter(number, event=large) for number in range(20)])
        numbers: list[int] = []
        after: int | None = 0
        pages = 0
        while after is not None:
            reply = await port.get(f"/dead-letters?limit=1000&after={after}")
            assert len(reply.body) < MAX_PAGE_BYTES + 2**21
            numbers += [entry["number"] for entry in reply.json["dead_letters"]]
            after = reply.json["next"]
            pages += 1
        assert numbers == list(range(1, 21))
        assert pages == 4


async def test_a_large_page_does_not_block_the_loop(tmp_path: Path) -> None:
    async with admin_port(tmp_path, "sqlite") as port:
        await port.spool.append([], [letter(number, event=b'{"a":"' + b"x" * 30_000 + b'"}') for number in range(1000)])
        lag = LoopLag()
        measuring = asyncio.create_task(lag.run())
        for _ in range(5):
            assert (await port.get("/dead-letters?limit=1000")).status == 200
        measuring.cancel()
        slow = sum(lag.seconds.counts[-3:])  # above 0.25 s
        assert slow == 0, lag.seconds


async def test_a_client_that_does_not_read_is_disconnected_and_others_are_served_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEND_TIMEOUT", 0.3)
    async with admin_port(tmp_path) as port:
        large = b'{"a":"' + b"x" * 2**20 + b'"}'
        await port.spool.append([], [letter(number, event=large) for number in range(20)])
        silent = [await asyncio.open_connection("127.0.0.1", port.server.port) for _ in range(20)]
        for _, writer in silent:
            writer.write(b"GET /dead-letters?limit=1000 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        started_at = time.monotonic()
        assert (await port.get("/status")).status == 200
        assert time.monotonic() - started_at < 0.25
        await asyncio.sleep(2.0)
        for reader, _ in silent[:4]:
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(2**30), 10)
        for _, writer in silent:
            writer.close()


async def test_replays_and_discards_run_one_after_the_other(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        await port.spool.append([], [letter(number) for number in range(500)])
        running = most = 0
        discard = port.gateway.dead_letters.discard

        async def counted(where: object) -> int:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            result = await discard(where)  # type: ignore[arg-type]
            running -= 1
            return result

        port.gateway.dead_letters.discard = counted  # type: ignore[method-assign]
        replies = await asyncio.gather(*(port.post("/dead-letters/discard") for _ in range(10)))
        assert sum(reply.json["letters"] for reply in replies) == 500
        assert most == 1
