"""Request bodies: what is read before the write key is known, what is reserved, and that all of it is released."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest

from gateway.ingest.body import UNAUTHENTICATED_BYTES, Reservation
from gateway.ingest.decode import BadRequest
from gateway.memory_budget import BudgetShare, MemoryBudget
from gateway.spool import CommitQueueFull, SpoolFull, SpoolUnavailable
from tests.hostile.requests import (
    EMPTY_OBJECTS,
    GET,
    batch,
    malformed,
    mutated,
    random_event,
    random_gzip,
    random_json,
    sale,
)
from tests.ingest.harness import WRITE_KEY, Server, running

MIB = 2**20


# Reservation


def test_a_reservation_is_released_once_at_the_end_however_it_grew() -> None:
    budget = MemoryBudget(1000)
    share = BudgetShare(budget, 400)
    with Reservation(budget) as reservation:
        reservation.grow(100)
        reservation.grow(200)
        reservation.resize(500)
        assert budget.reserved == 500
        reservation.resize(50)
        assert budget.reserved == 50
        reservation.move(share)
        assert (budget.reserved, share.reserved) == (50, 50)
        reservation.release()
        reservation.release()
        assert (budget.reserved, share.reserved) == (0, 0)
        reservation.grow(10)
    assert (budget.reserved, share.reserved) == (0, 0)


def test_a_reservation_that_cannot_grow_is_refused_with_429_and_released() -> None:
    budget = MemoryBudget(1000)
    share = BudgetShare(budget, 400)
    with Reservation(budget) as reservation:
        reservation.grow(500)
        with pytest.raises(BadRequest) as refused:
            reservation.move(share)
        assert (budget.reserved, share.reserved) == (0, 0)
    assert (refused.value.status, refused.value.code) == (429, "overloaded")
    assert (budget.reserved, share.reserved) == (0, 0)


# What is read before the write key is known


@pytest.mark.parametrize("gzip", [False, True])
async def test_a_large_body_without_a_key_is_refused_after_64_kib(gzip: bool) -> None:
    async with running() as server:
        target = server.target._replace(write_key="")
        head = target.head(4_000_000, **({"Content_Encoding": "gzip"} if gzip else {}))
        content = Random(1).randbytes(UNAUTHENTICATED_BYTES + 10)
        client = await server.connect()
        await client.send(head + (b"\x1f\x8b\x08\0\0\0\0\0\0\xff\0\xff\xff\0\0" if gzip else b"") + content)
        response = await client.response()
        assert (response.status, response.body["code"]) in {(401, "no_write_key"), (400, "invalid_gzip")}


async def test_a_gzip_body_that_is_small_but_expands_to_more_is_refused_before_it_is_expanded() -> None:
    async with running() as server:
        target = server.target._replace(write_key="")
        response = await server.exchange(target.gzip(EMPTY_OBJECTS))
        assert (response.status, response.body["code"]) == (401, "no_write_key")


async def test_a_wrong_key_in_the_header_is_refused_before_the_body_is_sent() -> None:
    async with running() as server:
        client = await server.connect()
        await client.send(server.target._replace(write_key="wrong").head(4_000_000))
        response = await client.response()
        assert (response.status, response.body["code"]) == (401, "unknown_write_key")


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("gzip", [False, True])
async def test_a_large_body_with_the_key_in_its_beginning_is_accepted(gzip: bool, chunked: bool) -> None:
    async with running() as server:
        target = server.target._replace(write_key="")
        body = json.dumps({"writeKey": WRITE_KEY, "batch": [sale(number, x=[number] * 40) for number in range(1000)]})
        request = target.gzip(body.encode()) if gzip else target.post(body.encode())
        if chunked:
            head, _, content = request.partition(b"\r\n\r\n")
            lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
            parts = [content[start : start + 50_000] for start in range(0, len(content), 50_000)]
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
            request = b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", chunks + b"0\r\n\r\n"])
        response = await server.exchange(request)
        assert (response.status, response.body["accepted"]) == (200, 1000)


async def test_a_small_body_without_a_key_is_refused_and_one_with_a_key_is_accepted() -> None:
    async with running() as server:
        target = server.target._replace(write_key="")
        response = await server.exchange(target.post(batch(sale(1))))
        assert (response.status, response.body["code"]) == (401, "no_write_key")
        response = await server.exchange(target.post(batch(sale(1), writeKey="wrong")))
        assert (response.status, response.body["code"]) == (401, "unknown_write_key")
        assert (await server.exchange(target.post(batch(sale(1), writeKey=WRITE_KEY)))).status == 200


# Expect


async def test_expect_gets_an_interim_response_at_once_and_then_the_final_one() -> None:
    async with running() as server:
        client = await server.connect()
        body = batch(sale(1))
        await client.send(server.target.head(len(body), Expect="100-continue"))
        assert (await client.response()).status == 100
        await client.send(body)
        assert (await client.response()).status == 200


@pytest.mark.parametrize(
    ("path", "expectation", "status"),
    [("/v1/batch", "bananas", 417), ("/v1/nothing", "100-continue", 404), ("/v1/batch", "100-Continue", 100)],
)
async def test_an_expectation_that_is_not_met_gets_the_final_response_only(
    path: str, expectation: str, status: int
) -> None:
    async with running({"read_timeout": 0.5}) as server:
        client = await server.connect()
        await client.send(server.target.head(10, path, Expect=expectation))
        assert (await client.response()).status == status


async def test_an_announced_body_above_the_limit_is_refused_without_an_interim_response() -> None:
    async with running() as server:
        client = await server.connect()
        await client.send(server.target.head(5_000_000, Expect="100-continue"))
        assert (await client.response()).status == 413


# Time and limits


async def test_a_body_that_does_not_arrive_in_time_gets_408() -> None:
    async with running({"read_timeout": 0.3}) as server:
        client = await server.connect()
        await client.send(server.target.head(100) + b"{")
        response = await client.response()
        assert (response.status, response.body["code"]) == (408, "too_slow")


async def test_a_chunked_body_above_the_limit_gets_413() -> None:
    async with running({"max_request_bytes": 100_000}) as server:
        client = await server.connect()
        await client.send(server.target.head(None) + (b"8000\r\n" + b" " * 0x8000 + b"\r\n") * 4)
        assert (await client.response()).status == 413


async def test_slow_senders_without_a_key_get_a_quarter_of_the_budget_and_slow_senders_half() -> None:
    async with running({"read_timeout": 2.0}, max_memory=4 * MIB) as server:
        for write_key, share, size in (("", 1, 60_000), (WRITE_KEY, 2, 200_000)):
            head = server.target._replace(write_key=write_key).head(1_000_000)
            clients = [await server.connect() for _ in range(20)]
            for client in clients:
                await client.send(head + b" " * size)
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert share * MIB - 2 * size <= server.budget.reserved <= share * MIB
            # Others are served meanwhile.
            assert (await server.exchange(server.target.post(batch(sale(1))))).status == 200
            for client in clients:
                client.reset()
            await server.until(lambda: server.budget.reserved == 0)
        assert server.counted(429) > 10


async def test_a_body_that_takes_more_memory_than_half_of_the_budget_gets_413() -> None:
    async with running(max_memory=2 * MIB) as server:
        assert (await server.exchange(server.target.post(batch(*([1] * 3000))))).status == 413


async def test_requests_beyond_the_budget_get_429_and_later_ones_are_accepted() -> None:
    async with running(max_memory=8 * MIB) as server:
        server.committer.release.clear()
        request = server.target.post(batch(*(sale(number, x="y" * 20_000) for number in range(20))))
        clients = [await server.connect() for _ in range(40)]
        for client in clients:
            await client.send(request)
        await server.until(lambda: server.committer.waiting + server.counted(429) == 40)
        assert server.committer.waiting * 400_000 <= server.budget.reserved <= 8 * MIB, "events wait for the commit"
        assert 0 < server.counted(429) < 40
        server.committer.release.set()
        statuses = [(await client.response()).status for client in clients]
        assert statuses.count(200) == 40 - server.counted(429)
        assert (await server.exchange(request)).status == 200


# Release


@pytest.mark.parametrize(
    ("error", "status"),
    [(SpoolFull("full"), 503), (SpoolUnavailable("gone"), 503), (CommitQueueFull("busy"), 429), (OSError("bug"), 500)],
)
async def test_a_failed_commit_releases_what_was_reserved(error: Exception, status: int) -> None:
    async with running() as server:
        server.committer.error = error
        assert (await server.exchange(server.target.post(batch(sale(1))))).status == status
        await server.until(lambda: server.budget.reserved == 0)


async def _send_anything(server: Server, random: Random, number: int) -> None:
    target = server.target._replace(write_key=random.choice([WRITE_KEY, WRITE_KEY, "", "wrong"]))
    body = batch(*(random_event(random, sale(number + each)) for each in range(random.randrange(30))))
    client = await server.connect()
    match random.randrange(9):
        case 0:
            request = target.post(body)
        case 1:
            request = target.post(json.dumps(random_json(random)).encode(), random.choice(["/v1/track", "/v1/batch"]))
        case 2:
            packed = random_gzip(random, body)
            request = target.post(packed, Content_Encoding="gzip")
        case 3:
            request = mutated(random, target.post(body))
        case 4:
            request = malformed(random)
        case 5:
            request = target.post(body) * random.randrange(1, 6) + GET
        case 6:
            request = target.head(len(body) + 100) + body
        case 7:
            request = target.head(None) + b"%x\r\n%s\r\n" % (len(body), body)
        case _:
            request = target.post(b'{"batch":[' + b"[]," * 40_000 + b"1]}")
    client.writer.write(request)
    match random.randrange(4):
        case 0:
            client.reset()
        case 1:
            await asyncio.sleep(random.random() / 50)
            client.reset()
        case 2:
            client.writer.write_eof()
            await client.response()
        case _:
            try:
                async with asyncio.timeout(0.3):
                    await client.response()
            except TimeoutError:
                pass
    client.close()


@pytest.mark.parametrize("seed", range(4))
async def test_after_any_sequence_of_requests_nothing_is_reserved(seed: int) -> None:
    random = Random(seed)
    async with running({"read_timeout": 0.4}, max_memory=4 * MIB) as server:
        for number in range(60):
            server.committer.error = random.choice([*[None] * 8, SpoolFull("full"), OSError("bug")])
            await asyncio.gather(*(_send_anything(server, random, 100 * number + each) for each in range(3)))
        await server.until(lambda: server.budget.reserved == 0)
        assert server.counted(200) > 5
        server.committer.error = None
        assert (await server.exchange(server.target.post(batch(sale(1))))).status == 200
