"""Connections: how many there may be, what each may hold, and what remains of it afterwards."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import pytest

from gateway.ingest import connections
from gateway.ingest.connections import MAX_HEAD_BYTES, PIECE_BYTES, RESERVED_DESCRIPTORS, max_connections
from tests.hostile.requests import GET, Target, batch, malformed, sale
from tests.ingest.harness import Client, running

LIMIT = 16


def head_of(size: int) -> bytes:
    """The head of a GET with this size."""
    lines = [b"X-%04d: %s\r\n" % (number, b"a" * 1000) for number in range(size // 1010 - 1)]
    rest = size - len(GET) - sum(map(len, lines))
    return GET[:-2] + b"".join(lines) + b"Y: " + b"b" * (rest - 5) + b"\r\n\r\n"


# Limit of connections


@pytest.mark.parametrize(
    ("descriptors", "configured", "expected"),
    [
        (1024, None, 1024 - RESERVED_DESCRIPTORS),
        (1024, 100, 100),
        (1024, 5000, 1024 - RESERVED_DESCRIPTORS),
        (256, None, 128),
        (20, None, 16),
        (1_000_000, None, 10_000),
        (1_000_000, 50_000, 50_000),
        (resource.RLIM_INFINITY, None, 10_000),
    ],
)
def test_the_limit_leaves_descriptors_for_everything_else(
    descriptors: int, configured: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert max_connections(configured) == expected


async def test_at_the_limit_the_oldest_silent_connection_is_closed_then_the_oldest_without_a_key() -> None:
    async with running({"max_connections": LIMIT}) as server:
        clients = [await server.connect() for _ in range(LIMIT)]
        await asyncio.sleep(0.05)
        for client in clients[:4]:
            await client.send(server.target.post(batch(sale(1))))  # with a write key
            assert (await client.response()).status == 200
        for client in clients[4:8]:
            await client.send(GET)
            assert (await client.response()).status == 404
        order = [*clients[8:], *clients[4:8]]
        newcomers = []
        for victim in order:
            newcomer = await server.connect()
            await newcomer.send(server.target.post(batch(sale(2))))
            assert (await newcomer.response()).status == 200
            newcomers.append(newcomer)
            assert await victim.is_closed()
        # All have a write key now: the newcomer is closed.
        assert await (await server.connect()).is_closed()
        for client in [*clients[:4], *newcomers]:
            await client.send(server.target.post(batch(sale(3))))
            assert (await client.response()).status == 200
            client.close()
        assert server.ledger.requests["connection_limit", 503] == len(order) + 1


async def test_a_connection_that_trickles_a_body_without_a_key_is_closed_for_a_new_one() -> None:
    async with running({"max_connections": LIMIT, "read_timeout": 1.0}) as server:
        slow = [await server.connect() for _ in range(LIMIT)]
        for client in slow:
            await client.send(server.target._replace(write_key="").head(1000) + b"{")
        await asyncio.sleep(0.05)
        assert (await server.exchange(server.target.post(batch(sale(1))))).status == 200
        assert await slow[0].is_closed()
        await server.until(lambda: server.counted(499) == 1)


async def test_the_limit_is_logged_once_a_minute_with_the_number_of_closed_connections(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lines() -> list[str]:
        return [record.message for record in caplog.records if "server.max_connections" in record.message]

    async with running({"max_connections": LIMIT}) as server:
        clients = [await server.connect() for _ in range(LIMIT + 20)]
        await server.until(lambda: server.ledger.requests["connection_limit", 503] == 20)
        assert len(lines()) == 1
        monkeypatch.setattr(connections, "LOG_INTERVAL", 0.0)
        clients.append(await server.connect())
        await server.until(lambda: len(lines()) == 2)
        assert "20 closed" in lines()[1]


# Heads


@pytest.mark.parametrize("piece", [100, 5000, 10**6])
async def test_a_head_up_to_the_limit_is_accepted_and_a_longer_one_gets_431(piece: int) -> None:
    async with running() as server:
        for size in (MAX_HEAD_BYTES - PIECE_BYTES, MAX_HEAD_BYTES + 2 * PIECE_BYTES):
            client = await server.connect()
            head = head_of(size)
            for start in range(0, len(head), piece):
                await client.send(head[start : start + piece])
                await asyncio.sleep(0)
            response = await client.response()
            if size < MAX_HEAD_BYTES:
                assert response.status == 404
            else:
                # 0: the response was lost, because the sender was still sending.
                assert (response.status, response.body.get("code")) in {(431, "head_too_large"), (0, None)}
                assert await client.is_closed()
        assert server.ledger.requests["malformed", 431] == 1


async def test_heads_are_reserved_while_the_connection_keeps_them_and_take_at_most_a_quarter_of_the_budget() -> None:
    async with running(max_memory=2**20) as server:
        size = MAX_HEAD_BYTES - PIECE_BYTES
        clients: list[Client] = []
        for number in range(10):
            clients.append(await server.connect())
            head = head_of(size)
            await clients[-1].send(head if number % 2 else head[:-3])
            await asyncio.sleep(0.02)
        await server.until(lambda: 2**20 // 4 - 2 * size <= server.budget.reserved <= 2**20 // 4 + 2 * size)
        open_clients = [client for client in clients if not await client.is_closed(within=0.1)]
        assert 0 < len(open_clients) < len(clients)
        assert (await server.exchange(GET)).status == 404
        open_clients[0].close()
        for client in clients:
            client.close()
        await server.until(lambda: server.budget.reserved == 0)


async def test_a_small_head_after_a_large_one_releases_it() -> None:
    async with running() as server:
        client = await server.connect()
        await client.send(head_of(20_000))
        assert (await client.response()).status == 404
        await server.until(lambda: server.budget.reserved == pytest.approx(40_000, rel=0.1))
        await client.send(GET)
        assert (await client.response()).status == 404
        await server.until(lambda: server.budget.reserved == 0)
        client.close()


@pytest.mark.parametrize("used", [False, True])
async def test_a_head_that_does_not_arrive_in_time_closes_the_connection(used: bool) -> None:
    async with running({"read_timeout": 0.4}) as server:
        client = await server.connect()
        if used:
            await client.send(server.target.post(batch(sale(1))))
            assert (await client.response()).status == 200
        started_at = asyncio.get_running_loop().time()
        for byte in GET[:6]:
            await client.send(bytes([byte]))
            await asyncio.sleep(0.05)
        assert await client.is_closed()
        assert 0.3 < asyncio.get_running_loop().time() - started_at < 1.2


async def test_an_idle_connection_stays_open_between_two_requests() -> None:
    async with running({"read_timeout": 0.2}) as server:
        client = await server.connect()
        for _ in range(2):
            await client.send(server.target.post(batch(sale(1))))
            assert (await client.response()).status == 200
            await asyncio.sleep(0.6)
        client.close()


# What arrives behind a request


@pytest.mark.parametrize("piece", [7, 1000, 10**7])
async def test_pipelined_requests_are_answered_completely_and_in_order(piece: int) -> None:
    async with running() as server:
        requests = [server.target.post(batch(sale(number, x="y" * (number * 700)))) for number in range(60)]
        requests += [GET, server.target.gzip(batch(sale(60))), server.target.post(b"[]")]
        expected = [200] * 60 + [404, 200, 400]
        client = await server.connect()
        content = b"".join(requests)
        if piece < 100:
            content = b"".join(requests[:3])
            expected = expected[:3]

        async def send() -> None:
            for start in range(0, len(content), piece):
                await client.send(content[start : start + piece])

        sending = asyncio.create_task(send())
        assert [(await client.response()).status for _ in expected] == expected
        await sending
        numbers = [int(body.split(b"hostile-")[1].split(b'"')[0]) for body in server.committer.bodies]
        assert numbers == list(range(len(numbers)))
        client.close()


async def test_what_arrives_behind_a_request_in_progress_is_reserved_and_bounded() -> None:
    async with running() as server:
        server.committer.release.clear()
        client = await server.connect()
        await client.send(server.target.post(batch(sale(1))))
        await server.until(lambda: server.committer.waiting == 1)
        reserved = server.budget.reserved
        body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b" " * 500_000
        client.writer.write(body * 30)
        await asyncio.sleep(0.2)
        held = server.budget.reserved - reserved
        assert 100_000 < held < 2**20
        server.committer.release.set()
        assert (await client.response()).status == 200
        for _ in range(30):
            assert (await client.response()).status == 404
        client.close()


async def test_a_sender_that_sends_without_reading_is_closed_before_much_is_held() -> None:
    async with running() as server:
        sender = server.target.connect(receive_buffer=4096)
        sender.setblocking(False)
        loop = asyncio.get_running_loop()
        most = 0
        with suppress(ConnectionError):
            for _ in range(10_000):
                await loop.sock_sendall(sender, GET * 200)
                most = max(most, server.budget.reserved)
            pytest.fail("the connection was not closed")
        assert most < 2**20
        sender.close()
        await server.until(lambda: server.budget.reserved == 0)


async def test_a_slow_reader_of_one_response_gets_all_of_it() -> None:
    async with running({"max_batch_events": 2500}) as server:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", server.ingest.port))
        await loop.sock_sendall(client, server.target.post(batch(*([{}] * 2500))))
        received = b""
        while b'"rejected_by_code":{"unknown_type":2500}}' not in received:
            await asyncio.sleep(0.001)
            received += await loop.sock_recv(client, 1024)
        client.close()


# Malformed requests


async def test_a_malformed_request_gets_400_is_counted_and_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    random = Random(7)
    async with running({"read_timeout": 2.0}) as server:
        for _ in range(300):
            client = await server.connect()
            await client.send(malformed(random))
            client.writer.write_eof()
            await client.response()
            client.close()
        assert server.ledger.requests["malformed", 400] > 100
        assert server.counted(500) == 0
    assert "jane.roe" not in caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("end", [b"zz\r\n", b"-1\r\n", b"5\r\nhello!"])
async def test_a_chunked_body_that_turns_out_malformed_gets_400_at_once(end: bytes) -> None:
    async with running() as server:
        client = await server.connect()
        await client.send(server.target.head(None) + b"5\r\nhello\r\n")
        await asyncio.sleep(0.05)
        await client.send(end)
        async with asyncio.timeout(1):
            assert (await client.response()).body["code"] == "broken_body"
        client.close()


async def test_a_chunked_body_of_tiny_chunks_is_refused_and_one_of_small_chunks_is_accepted() -> None:
    async with running() as server:
        body = batch(*(sale(number) for number in range(300)))
        for size, accepted in ((1, False), (64, True)):
            client = await server.connect()
            chunks = [body[start : start + size] for start in range(0, len(body), size)]
            await client.send(
                server.target.head(None) + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
            )
            await client.send(b"0\r\n\r\n")
            response = await client.response()
            assert response.status == (200 if accepted else 400)
            client.close()


# What remains


def remaining_connections() -> int:
    return sum(isinstance(each, connections.Connection) for each in gc.get_objects())


async def _ends(client: Client) -> None:
    client.reset()


async def _reads(client: Client) -> None:
    await client.response()
    client.close()


KEYLESS = Target("127.0.0.1", 0)
ENDS: dict[str, tuple[bytes, Callable[[Client], Awaitable[None]]]] = {
    "before a request": (b"", _ends),
    "in a head": (GET[:-5], _ends),
    "in a large head": (head_of(20_000)[:-3], _ends),
    "in a body": (KEYLESS.head(100_000) + b"{" * 50_000, _ends),
    "in a body with a key": (Target("a", 0, "wk-of-the-test").head(900_000) + b"{" * 500_000, _ends),
    "in a chunked body": (KEYLESS.head(None) + b"5\r\nhello\r\n", _ends),
    "in a refused body": (KEYLESS.head(99_000_000) + b"{" * 300_000, _ends),
    "after a response": (KEYLESS.post(b"[]"), _reads),
    "after a large head": (head_of(20_000), _reads),
    "after a head that is too large": (head_of(80_000), _reads),
    "after a malformed request": (b"\0\r\n\r\n", _reads),
    "after a malformed body": (KEYLESS.head(None) + b"5\r\nhello\r\nzz\r\n", _reads),
    "after tiny chunks": (KEYLESS.head(None) + b"1\r\na\r\n" * 20_000, _reads),
    "with requests behind": (GET * 5000, _ends),
    "in a gzip body": (KEYLESS.head(1000, Content_Encoding="gzip") + b"\x1f\x8b", _ends),
}


@pytest.mark.parametrize(("request_", "end"), ENDS.values(), ids=ENDS.keys())
async def test_a_closed_connection_leaves_nothing_reserved_logged_or_for_the_garbage_collector(
    request_: bytes, end: Callable[[Client], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    async with running({"read_timeout": 2.0}) as server:

        async def connection() -> None:
            client = await server.connect()
            client.writer.write(request_)
            await asyncio.sleep(0.02)
            await end(client)
            await asyncio.sleep(0.02)

        await connection()  # so that what is created once is not counted
        gc.collect()
        gc.disable()
        try:
            before = remaining_connections()
            for _ in range(5):
                await connection()
            await server.until(lambda: server.budget.reserved == 0)
            await server.until(lambda: remaining_connections() <= before)
        finally:
            gc.enable()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_stop_with_requests_in_progress_releases_everything() -> None:
    async with running({"read_timeout": 0.5}) as server:
        clients = [await server.connect() for _ in range(6)]
        for number, client in enumerate(clients):
            await client.send((server.target.head(1000) + b"{", GET[:-2], GET, b"")[number % 4])
        await asyncio.sleep(0.05)
    assert server.budget.reserved == 0
