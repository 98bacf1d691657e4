"""A delivery service with the in-memory spool and a fake Meta, on virtual time."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import orjson

from gateway.config import DestinationSettings
from gateway.delivery import DeliveryService, HttpResponse
from gateway.memory_budget import MemoryBudget
from gateway.meta import GraphRequest
from gateway.model import Chunk, DeadLetter, JsonObject, Lane, MappedRun, join_events
from gateway.spool import StorageEngine
from gateway.spool.group_commit import cut_into_chunks
from gateway.spool.memory import MemorySpool
from gateway.telemetry import Ledger
from gateway.telemetry.alerts import Alert
from gateway.trace import Tracer

START = 1_800_000_000.0
"""Unix seconds at loop time 0."""
LANE = Lane("store", "1", "tag")
LATE_EXPIRY = int(START) + 60 * 86400
"""Unix seconds: no event expires during a test."""

Responder = Callable[["RecordedCall"], Any]
"""Decides the response to a call: a `HttpResponse`, an exception to raise, or seconds to wait before `success`; or a
coroutine that returns one of these."""


def success(count: int, headers: dict[str, str] | None = None) -> HttpResponse:
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
    """An error response of the Graph API. `index`: of the refused event that its text names."""
    details: JsonObject = {"message": "m", "type": "OAuthException", "code": code, "fbtrace_id": "T"}
    if subcode is not None:
        details["error_subcode"] = subcode
    if transient:
        details["is_transient"] = True
    if index is not None:
        details["error_user_msg"] = f"Invalid parameter ($['data'][{index}]['user_data'])"
    return HttpResponse(status, headers or {}, orjson.dumps({"error": details}))


class RecordedCall:
    """A call that the fake Meta received."""

    def __init__(self, request: GraphRequest, at: float) -> None:
        self.at = at
        self.url = request.url
        self.body = request.body
        tree = orjson.loads(request.body)
        self.event_set = request.url.split("/")[-2]
        self.token: str = tree["access_token"]
        self.events: list[int] = [event["n"] for event in tree["data"]]


class FakeMeta:
    """A transport that records every call and returns the response of a `Responder`."""

    def __init__(self, responder: Responder) -> None:
        self.responder = responder
        self.calls: list[RecordedCall] = []
        self.latency = 0.1
        self.in_flight: Counter[str] = Counter()
        """By event set."""
        self.most_in_flight = 0
        """Calls that were in flight at the same time."""

    async def send(self, request: GraphRequest) -> HttpResponse:
        call = RecordedCall(request, asyncio.get_running_loop().time())
        self.calls.append(call)
        self.in_flight[call.event_set] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight.total())
        try:
            return await self._respond(call)
        finally:
            self.in_flight[call.event_set] -= 1

    async def _respond(self, call: RecordedCall) -> HttpResponse:
        await asyncio.sleep(self.latency)
        response = self.responder(call)
        if inspect.isawaitable(response):
            response = await response
        if isinstance(response, BaseException):
            raise response
        if isinstance(response, float):
            await asyncio.sleep(response)
            return success(len(call.events))
        assert isinstance(response, HttpResponse)
        return response

    async def close(self) -> None:
        pass


def accept_all(call: RecordedCall) -> HttpResponse:
    """Every call succeeds."""
    return success(len(call.events))


class DeliveryHarness:
    """A `DeliveryService` with its spool and ledger, connected to a `FakeMeta`."""

    def __init__(
        self,
        responder: Responder = accept_all,
        spool: StorageEngine | None = None,
        *,
        max_lanes: int = 10_000,
        trace: Tracer | None = None,
        **settings: Any,
    ) -> None:
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
        self.tree = tree
        self.destination = DestinationSettings.model_validate(tree)
        self.meta = FakeMeta(responder)
        self.ledger = Ledger()
        self.budget = MemoryBudget(2**28)
        self.spool: StorageEngine = spool or MemorySpool(max_bytes=2**30, clock=self.clock)
        self.alerts: list[Alert] = []
        self.delivery = DeliveryService(
            {"store": self.destination},
            self.spool,
            self.ledger,
            transport=lambda _: self.meta,
            clock=self.clock,
            random=Random(7),
            budget=self.budget,
            max_lanes=max_lanes,
            notify=self.alerts.append,
            trace=trace,
        )
        self.next_number = 0
        self.is_open = True
        self.final_dead_letters: list[DeadLetter] = []
        """The dead letters when it was closed."""

    def clock(self) -> float:
        return START + asyncio.get_running_loop().time()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[DeliveryHarness]:
        self.delivery.recover(await self.spool.open())
        running = asyncio.create_task(self.delivery.run())
        try:
            yield self
        finally:
            await self.delivery.stop()
            running.cancel()
            await asyncio.wait([running])
            self.final_dead_letters = await self.dead_letters()
            await self.spool.close()
            self.is_open = False

    def with_token(self, token: Any) -> DestinationSettings:
        """The settings of the destination with another access token."""
        return DestinationSettings.model_validate({**self.tree, "access_token": token})

    async def accept(self, count: int, lane: Lane = LANE, expires_at: int = LATE_EXPIRY) -> range:
        """Store events with the next numbers, cut into chunks as the group commit does."""
        admitted = self.delivery.admit(lane)
        if admitted != lane:
            self.delivery.retagged(admitted, count)
        lane = admitted
        numbers = range(self.next_number, self.next_number + count)
        self.next_number += count
        fixed = {"action_source": "physical_store"}
        bodies = [
            orjson.dumps(
                {
                    "n": n,
                    "event_time": expires_at - 62 * 86400,
                    **fixed,
                    "event_id": f"m{n}",
                    "custom_data": {"order_id": f"o{n}"},
                }
            )
            for n in numbers
        ]
        run = MappedRun(lane, count, expires_at, join_events(bodies))
        chunks: list[Chunk] = cut_into_chunks(lane, [run], self.delivery.remaining(lane), self.destination.limits)
        self.delivery.stored(await self.spool.append(chunks, []))
        return numbers

    async def wait_until_empty(self, within: float = 3600.0) -> float:
        """Wait, in virtual time, until no event is waiting. Returns the loop time."""
        async with asyncio.timeout(within):
            while self.ledger.waiting:  # noqa: ASYNC110 (virtual time, and the ledger has no event to wait for)
                await asyncio.sleep(0.25)
        return asyncio.get_running_loop().time()

    async def dead_letters(self) -> list[DeadLetter]:
        if not self.is_open:
            return self.final_dead_letters
        return [letter for _, letter in await self.spool.dead_letters(limit=10**6)]

    async def dead_numbers(self) -> list[int]:
        """Numbers of the events in the dead letters."""
        return [orjson.loads(letter.event or b"")["n"] for letter in await self.dead_letters()]

    @property
    def delivered(self) -> int:
        return sum(counts.delivered for counts in self.ledger.lanes.values())

    def is_balanced(self) -> bool:
        """Whether the ledger's invariant holds for each lane."""
        return all(
            counts.recovered + counts.accepted == counts.delivered + counts.dead + counts.waiting
            for counts in self.ledger.lanes.values()
        )
