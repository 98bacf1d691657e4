"""Real lanes before a made-up Meta, with the in-memory spool, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.delivery import DeliveryService, HttpResponse
from gateway.meta import GraphRequest
from gateway.model import Chunk, DeadLetter, JsonObject, Lane, MappedEvent
from gateway.spool import StorageEngine
from gateway.spool.group_commit import cut_into_chunks
from gateway.spool.memory import MemorySpool
from gateway.telemetry import Ledger

START = 1_800_000_000.0
"""Unix seconds at loop time 0."""
LANE = Lane("store", "1", "tag")
FAR = int(START) + 60 * 86400

JsonResponse = Callable[["Seen"], Any]
"""What Meta does with a call: a `HttpResponse`, an exception to raise, or a number of seconds to take before `ok`."""


def ok(count: int, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(200, headers or {}, orjson.dumps({"events_received": count, "messages": [], "fbtrace_id": "T"}))


def error(
    code: int,
    subcode: int | None = None,
    *,
    status: int = 400,
    transient: bool = False,
    index: int | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """An error as the Graph API words it."""
    found: JsonObject = {"message": "m", "type": "OAuthException", "code": code, "fbtrace_id": "T"}
    if subcode is not None:
        found["error_subcode"] = subcode
    if transient:
        found["is_transient"] = True
    if index is not None:
        found["error_user_msg"] = f"Invalid parameter ($['data'][{index}]['user_data'])"
    return HttpResponse(status, headers or {}, orjson.dumps({"error": found}))


class Seen:
    """A call that Meta saw."""

    def __init__(self, call: GraphRequest, at: float) -> None:
        self.at = at
        self.url = call.url
        self.body = call.body
        tree = orjson.loads(call.body)
        self.token: str = tree["access_token"]
        self.events: list[int] = [event["n"] for event in tree["data"]]


class Meta:
    """Notes every call and answers as it is told."""

    def __init__(self, answer: JsonResponse) -> None:
        self.answer = answer
        self.calls: list[Seen] = []
        self.latency = 0.1

    async def send(self, call: GraphRequest) -> HttpResponse:
        seen = Seen(call, asyncio.get_running_loop().time())
        self.calls.append(seen)
        await asyncio.sleep(self.latency)
        answer = self.answer(seen)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return ok(len(seen.events))
        assert isinstance(answer, HttpResponse)
        return answer

    async def close(self) -> None:
        pass


def well(seen: Seen) -> HttpResponse:
    """All is well."""
    return ok(len(seen.events))


class Field:
    """The spool, the lanes, Meta, and the account."""

    def __init__(self, answer: JsonResponse = well, spool: StorageEngine | None = None, **settings: Any) -> None:
        upload = {"requests_per_second": 100.0, "backoff_base": 1.0, **settings.pop("upload", {})}
        batch = {"max_age": 1.0, **settings.pop("batch", {})}
        tree = {
            "api": "conversions",
            "access_token": "token",
            "standard_to_event_sets": {"Purchase": ["1"]},
            "upload": upload,
            "batch": batch,
            **settings,
        }
        self.destination = DestinationSettings.model_validate(tree)
        self.meta = Meta(answer)
        self.ledger = Ledger()
        self.spool: StorageEngine = spool or MemorySpool(max_bytes=2**30, clock=self.clock)
        self.delivery = DeliveryService(
            {"store": self.destination},
            self.spool,
            self.ledger,
            transport=lambda _: self.meta,
            clock=self.clock,
            random=Random(7),
        )
        self.count = 0
        self.is_open = True
        self.kept: list[DeadLetter] = []
        """The dead letters when it was closed."""

    def clock(self) -> float:
        return START + asyncio.get_running_loop().time()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Field]:
        self.delivery.recover(await self.spool.open())
        running = asyncio.create_task(self.delivery.run())
        try:
            yield self
        finally:
            await self.delivery.stop()
            running.cancel()
            await asyncio.wait([running])
            self.kept = await self.letters()
            await self.spool.close()
            self.is_open = False

    async def accept(self, count: int, lane: Lane = LANE, expires_at: int = FAR) -> range:
        """Events with the next numbers become durable, cut as the group commit cuts them."""
        numbers = range(self.count, self.count + count)
        self.count += count
        bodies = [
            orjson.dumps({"n": n, "event_time": expires_at - 62 * 86400, "action_source": "physical_store"})
            for n in numbers
        ]
        events = [MappedEvent(lane, expires_at, body) for body in bodies]
        chunks: list[Chunk] = cut_into_chunks(lane, events, self.delivery.remaining(lane), self.destination.limits)
        self.delivery.stored(await self.spool.append(chunks, []))
        return numbers

    async def settled(self, within: float = 3600.0) -> float:
        """Wait, in virtual time, until nothing waits; the loop time."""
        async with asyncio.timeout(within):
            while self.ledger.waiting:  # noqa: ASYNC110 (virtual time; nobody tells when it is)
                await asyncio.sleep(0.25)
        return asyncio.get_running_loop().time()

    async def letters(self) -> list[DeadLetter]:
        if not self.is_open:
            return self.kept
        return [letter for _, letter in await self.spool.dead_letters(limit=10**6)]

    async def dead(self) -> list[int]:
        return [orjson.loads(letter.event or b"")["n"] for letter in await self.letters()]

    @property
    def delivered(self) -> int:
        return sum(counts.delivered for counts in self.ledger.lanes.values())

    def adds_up(self) -> bool:
        return all(
            counts.recovered + counts.accepted == counts.delivered + counts.dead + counts.waiting
            for counts in self.ledger.lanes.values()
        )
