"""The load generator against real sockets, and as a process of its own. Short loads on the loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench import load
from bench.generator import Generator
from bench.processes import address
from bench.requests import Requests, request
from gateway.demo.subprocesses import Subprocess

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def server(*pieces: bytes) -> AsyncIterator[tuple[str, int]]:
    """Answers every request with the same pieces; none: closes the connection."""

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

    made = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield made.sockets[0].getsockname()[:2]
    finally:
        made.close()


def some(count: int = 3) -> Requests:
    return Requests([request("/v1/track", b'{"n":%d}' % number, "") for number in range(count)])


async def test_a_closed_loop_counts_every_answer() -> None:
    async with server(GOOD) as place:
        found = await load.closed_loop(*place, some(), connections=4, seconds=10, most=50, events_per_request=7)
    assert found.answered == found.latencies.count == 50
    assert found.events_per_second == pytest.approx(350 / found.seconds)


async def test_an_even_rate_sends_as_many_as_fall_due() -> None:
    async with server(GOOD) as place:
        found = await load.fixed_rate(*place, some(), connections=4, seconds=0.2, rate=200.0)
    assert found.answered == 40
    assert found.seconds >= 39 / 200


async def test_an_answer_in_pieces_is_one_answer() -> None:
    async with server(GOOD[:9], GOOD[9:38], GOOD[38:]) as place:
        found = await load.closed_loop(*place, some(), connections=1, seconds=10, most=5)
    assert found.answered == 5


async def test_requests_that_cannot_be_stamped_are_sent_once_each() -> None:
    payloads = [request("/v1/track", b"{}", "", "gzip")] * 5
    async with server(GOOD) as place:
        found = await load.closed_loop(*place, Requests(payloads, stamps=False), connections=2, seconds=10)
    assert found.answered == 5


async def test_refusals_are_not_passed_over() -> None:
    async with server(b"HTTP/1.1 503 GatewayApp Unavailable\r\nContent-Length: 0\r\n\r\n") as place:
        with pytest.raises(load.RefusedError, match=r"4 of 4 requests were refused, first: HTTP/1\.1 503"):
            await load.closed_loop(*place, some(), connections=2, seconds=10, most=4)


async def test_a_server_that_hangs_up_ends_the_load_with_a_word() -> None:
    async with server() as place:
        with pytest.raises(ConnectionError, match="closed a connection with a request under way"):
            await load.closed_loop(*place, some(), connections=1, seconds=10, most=4)


async def test_an_answer_without_a_length_ends_the_load_with_a_word() -> None:
    async with server(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") as place:
        with pytest.raises(ConnectionError, match="no Content-Length"):
            await load.fixed_rate(*place, some(), connections=1, seconds=0.1, rate=20.0)


def test_the_generator_is_another_process_and_numbers_its_sendings_through(tmp_path: Path) -> None:
    with Subprocess(tmp_path, "bare", ["bench.floors", "bare"]) as floor, Generator(tmp_path) as generator:
        place = address(floor.started().addresses["server"])
        sent = some()
        one = generator.run(place, sent, 2, seconds=10.0, connections=2, most=20)
        other = generator.run(place, sent, 1, seconds=0.1, connections=2, rate=100.0)
        assert (one.answered, other.answered) == (20, 10)
        assert one.latencies.count == 20
        assert one.cpu_seconds > 0


def test_a_load_that_cannot_be_sent_ends_the_bench_with_a_word(tmp_path: Path) -> None:
    with Generator(tmp_path) as generator, pytest.raises(SystemExit, match="the load could not be sent"):
        generator.run(("127.0.0.1", 9), some(), 1, seconds=0.1, connections=1)
