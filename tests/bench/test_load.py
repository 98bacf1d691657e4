"""The load generator with real sockets, in this process and as a process of its own. Short loads on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench import load
from bench.generator import Generator
from bench.processes import host_and_port
from bench.requests import Requests, encode_request
from gateway.demo.subprocesses import Subprocess

OK_RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def server(*pieces: bytes) -> AsyncIterator[tuple[str, int]]:
    """Answer every request with the same pieces, or close the connection if there are none."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0]))
                if not pieces:
                    break
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[:2]
    finally:
        listener.close()


def three_requests() -> Requests:
    return Requests([encode_request("/v1/track", b'{"n":%d}' % number, "") for number in range(3)])


async def test_a_closed_loop_counts_every_response() -> None:
    async with server(OK_RESPONSE) as address:
        result = await load.closed_loop(
            *address, three_requests(), connections=4, seconds=10, max_requests=50, events_per_request=7
        )
    assert result.responses == result.latencies.count == 50
    assert result.events_per_second == pytest.approx(350 / result.seconds)


async def test_a_constant_rate_sends_all_requests_that_are_due() -> None:
    async with server(OK_RESPONSE) as address:
        result = await load.constant_rate(*address, three_requests(), connections=4, seconds=0.2, rate=200.0)
    assert result.responses == 40
    assert result.seconds >= 39 / 200


async def test_a_response_that_arrives_in_pieces_is_counted_once() -> None:
    async with server(OK_RESPONSE[:9], OK_RESPONSE[9:38], OK_RESPONSE[38:]) as address:
        result = await load.closed_loop(*address, three_requests(), connections=1, seconds=10, max_requests=5)
    assert result.responses == 5


async def test_requests_whose_message_ids_cannot_be_renewed_are_sent_once_each() -> None:
    payloads = [encode_request("/v1/track", b"{}", "", "gzip")] * 5
    async with server(OK_RESPONSE) as address:
        result = await load.closed_loop(*address, Requests(payloads, renews_ids=False), connections=2, seconds=10)
    assert result.responses == 5


async def test_error_responses_fail_the_load() -> None:
    async with server(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") as address:
        with pytest.raises(
            load.RequestsFailedError, match=r"4 of 4 requests failed; the first response was: HTTP/1\.1 503"
        ):
            await load.closed_loop(*address, three_requests(), connections=2, seconds=10, max_requests=4)


async def test_a_connection_that_the_server_closes_fails_the_load() -> None:
    async with server() as address:
        with pytest.raises(ConnectionError, match="closed a connection with a request in flight"):
            await load.closed_loop(*address, three_requests(), connections=1, seconds=10, max_requests=4)


async def test_a_response_without_a_content_length_fails_the_load() -> None:
    async with server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") as address:
        with pytest.raises(ConnectionError, match="no Content-Length"):
            await load.constant_rate(*address, three_requests(), connections=1, seconds=0.1, rate=20.0)


def test_the_generator_process_runs_several_loads(tmp_path: Path) -> None:
    with Subprocess(tmp_path, "bare", ["bench.baselines", "bare"]) as process, Generator(tmp_path) as generator:
        address = host_and_port(process.started().addresses["server"])
        requests = three_requests()
        first = generator.run(address, requests, 2, seconds=10.0, connections=2, max_requests=20)
        second = generator.run(address, requests, 1, seconds=0.1, connections=2, rate=100.0)
        assert (first.responses, second.responses) == (20, 10)
        assert first.latencies.count == 20
        assert first.cpu_seconds > 0


def test_a_load_that_fails_ends_the_benchmark_with_an_error(tmp_path: Path) -> None:
    with Generator(tmp_path) as generator, pytest.raises(SystemExit, match="the load failed"):
        generator.run(("127.0.0.1", 9), three_requests(), 1, seconds=0.1, connections=1)
