"""The client: what it repeats, splits and gives up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson
import pytest

from gateway.importer.client import GatewayClient, Stopped, _seconds
from gateway.model import GatewayError, JsonObject, Rejection
from tests.importer.fake_gateway import Answer, FakeGateway, accepted

NOW = "0"
"""`Retry-After` of a response that may be repeated at once."""


def calls(count: int, *bad: int) -> list[bytes]:
    return [
        orjson.dumps({"messageId": f"m-{number}", "properties": {"order_id": f"{'bad' if number in bad else 'o'}-1"}})
        for number in range(count)
    ]


def client(gateway: FakeGateway, stop: asyncio.Event | None = None, give_up_after: float = 60.0) -> GatewayClient:
    return GatewayClient(gateway.url, "wk", stop or asyncio.Event(), give_up_after=give_up_after)


async def test_rejected_calls_are_named_by_their_index() -> None:
    async with FakeGateway() as gateway, client(gateway) as sender:
        response = await sender.send(calls(5, 1, 3))
    assert (response.accepted, response.ignored) == (3, 0)
    assert response.rejected == [(index, Rejection("bad_order", "The order is bad.")) for index in (1, 3)]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_request_is_repeated_with_the_same_calls(status: int) -> None:
    async with FakeGateway(Answer(status, retry_after=NOW)) as gateway, client(gateway) as sender:
        assert (await sender.send(calls(3))).accepted == 3
    assert len(gateway.batches) == 2
    assert gateway.batches[0] == gateway.batches[1]


async def test_retry_after_is_obeyed_by_all_requests_until_the_import_is_stopped() -> None:
    stop, answered = asyncio.Event(), asyncio.Event()
    async with FakeGateway(Answer(503, retry_after="1200")) as gateway, client(gateway, stop) as sender:
        gateway.on_request = answered.set
        first = asyncio.create_task(sender.send(calls(1)))
        await answered.wait()
        while not sender.waiting_for and not first.done():
            await asyncio.wait([first], timeout=0.01)
        second = asyncio.create_task(sender.send(calls(1)))
        await asyncio.sleep(0)
        stop.set()
        for task in (first, second):
            with pytest.raises(Stopped):
                await task
        assert "status 503" in sender.waiting_for
    assert len(gateway.batches) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("2", 2),
        ("0.5", 0.5),
        ("99999999", 3600),
        ("nan", None),
        ("-1", None),
        ("Wed, 1", None),
    ],
)
def test_retry_after_is_read_with_an_upper_bound(header: str | None, seconds: float | None) -> None:
    assert _seconds(header) == seconds


async def test_a_batch_that_is_too_large_is_split_and_indexes_stay_right() -> None:
    def respond(batch: Sequence[JsonObject]) -> Answer:
        return Answer(413) if len(batch) > 2 else accepted(batch)

    async with FakeGateway(respond=respond) as gateway, client(gateway) as sender:
        response = await sender.send(calls(7, 0, 6))
    assert response.accepted == 5
    assert [index for index, _ in response.rejected] == [0, 6]


async def test_a_single_call_that_is_refused_costs_only_itself() -> None:
    def respond(batch: Sequence[JsonObject]) -> Answer:
        too_large = b'{"code":"event_too_large","message":"Too large."}'
        return Answer(413, too_large) if any(call["messageId"] == "m-2" for call in batch) else accepted(batch)

    async with FakeGateway(respond=respond) as gateway, client(gateway) as sender:
        response = await sender.send(calls(5))
    assert response.accepted == 4
    assert response.rejected == [(2, Rejection("event_too_large", "Too large."))]


@pytest.mark.parametrize("status", [401, 404, 301])
async def test_a_wrong_key_or_address_ends_the_import_at_once(status: int) -> None:
    async with FakeGateway(Answer(status)) as gateway, client(gateway) as sender:
        with pytest.raises(GatewayError, match=f"answered with status {status}: refused: Refused"):
            await sender.send(calls(3))
    assert len(gateway.batches) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>"),
        Answer(200, b'{"accepted":1,"ignored":0,"rejected":[]}'),
        Answer(200, b'{"accepted":1,"ignored":0,"rejected":[{"index":2,"code":"c","message":"m"}]}'),
        Answer(400, b"<html>"),
    ],
    ids=["no JSON", "wrong counts", "unknown index", "refused by another server"],
)
async def test_another_server_than_a_gateway_is_noticed(answer: Answer) -> None:
    async with FakeGateway(respond=lambda _: answer) as gateway, client(gateway) as sender:
        with pytest.raises(GatewayError, match="as a gateway does"):
            await sender.send(calls(2))


async def test_a_gateway_that_does_not_accept_is_given_up_after_a_while() -> None:
    refusal = Answer(503, retry_after=NOW)
    async with FakeGateway(respond=lambda _: refusal) as gateway, client(gateway, give_up_after=0.0) as sender:
        with pytest.raises(GatewayError, match=r"status 503: refused: Refused\.; gave up after 0 s"):
            await sender.send(calls(1))


async def test_a_gateway_that_cannot_be_reached_is_given_up() -> None:
    async with FakeGateway() as gateway:
        url = gateway.url
    async with GatewayClient(url, "wk", asyncio.Event(), give_up_after=0.0) as sender:
        with pytest.raises(GatewayError, match="cannot connect to"):
            await sender.send(calls(1))
