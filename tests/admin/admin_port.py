"""An admin port over a real socket, for a gateway whose dead letters are in a real spool and whose rest is fixed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gateway.admin import AdminServer
from gateway.config import AdminSettings, Settings, parse
from gateway.dead_letters import DeadLetterOperations, DeadLetterService
from gateway.history import HistoryPage, HistoryQuery, Metric, Series
from gateway.mapping import compile_mapper
from gateway.meta import DatasetQuality
from gateway.model import DeadLetter, JsonObject, Lane, MetaFault, Stage
from gateway.spool import StorageEngine, create_spool
from gateway.tap import TapEntry, TapOutcome, TapPage
from gateway.telemetry import LaneStatistics, Snapshot
from gateway.trace import TracedEvent, TraceResult, TraceState

NOW = 1_772_366_400.0
LANE = Lane("store", "1148872185708962", "spring")


class FixedGateway:
    """The gateway behind the admin port."""

    def __init__(self, settings: Settings, dead_letters: DeadLetterOperations) -> None:
        self.settings = settings
        self.dead_letters = dead_letters
        self.queries: list[HistoryQuery] = []
        self.cursors: list[str] = []
        self.traced: list[str] = []
        self.history_failure: Exception | None = None
        self.reasons: Sequence[str] = ()
        self.resumed: list[tuple[str | None, str | None]] = []
        self.failure: Exception | None = None

    async def readiness(self) -> Sequence[str]:
        if self.failure is not None:
            raise self.failure
        return self.reasons

    async def snapshot(self) -> Snapshot:
        snapshot = Snapshot(started_at=NOW - 60, reasons=self.reasons, mapping="native (SHA-NI)")
        snapshot.ledger.lanes[LANE].accepted = 3
        snapshot.ledger.lanes[LANE].delivered = 1
        snapshot.lanes = [
            LaneStatistics(
                lane=LANE,
                waiting_events=2,
                waiting_bytes=300,
                oldest_at=NOW - 5,
                in_flight=0,
                last_outcome="delivered",
                calls_per_second=10.0,
                concurrency=4,
                blocked=None,
            )
        ]
        return snapshot

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        self.resumed.append((destination, event_set))
        return 2

    async def history(self, query: HistoryQuery) -> HistoryPage:
        if self.history_failure is not None:
            raise self.history_failure
        self.queries.append(query)
        series = Series(Metric.DELIVERED, {"destination": "store", "event_set": "1"}, [1.0, 0.0])
        return HistoryPage(NOW, 60, [True, False], [series])

    async def trace(self, identifier: str) -> TraceResult:
        self.traced.append(identifier)
        event = TracedEvent("m1", "1001", "store", "1148", "-", NOW, TraceState.DELIVERED, NOW + 1, "A1", 1)
        return TraceResult([event], recorded_since=NOW - 60)

    async def tap(self, cursor: str) -> TapPage:
        self.cursors.append(cursor)
        return TapPage([TapEntry(NOW, "shop", TapOutcome.REJECTED, "Order", code="no_match_key")], "1.0", 3)

    async def quality(self) -> Sequence[DatasetQuality]:
        return [DatasetQuality("store", "1148", NOW, error="Replace the token.")]


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def json(self) -> JsonObject:
        assert self.headers["content-type"].startswith("application/json"), self
        return dict(json.loads(self.body))


class AdminPort:
    """The port, the gateway behind it and its spool."""

    def __init__(self, server: AdminServer, gateway: FixedGateway, spool: StorageEngine) -> None:
        self.server = server
        self.gateway = gateway
        self.spool = spool

    async def send(self, request: bytes) -> Reply:
        """Send bytes, and read the response until the connection is closed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        try:
            writer.write(request)
            received = await asyncio.wait_for(reader.read(), 20)
        finally:
            writer.close()
        head, _, body = received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        return Reply(int(lines[0].split()[1]), headers, body)

    async def request(self, method: str, target: str, *headers: bytes, host: bytes | None = b"localhost") -> Reply:
        """Send a request without a body. `headers`: complete lines."""
        lines = [f"{method} {target} HTTP/1.1".encode(), b"Connection: close", *headers]
        if host is not None:
            lines.append(b"Host: " + host)
        return await self.send(b"\r\n".join(lines) + b"\r\n\r\n")

    async def get(self, target: str, *headers: bytes) -> Reply:
        return await self.request("GET", target, *headers)

    async def post(self, target: str, *headers: bytes) -> Reply:
        return await self.request("POST", target, *headers)


def settings(folder: Path, engine: str = "memory", **admin: Any) -> Settings:
    return parse(
        {
            "admin": {"port": 0, **admin},
            "spool": {"engine": engine, "path": str(folder / "spool")},
            "sources": {"shop": {"write_key": "wk", "destinations": ["store"]}},
            "destinations": {
                "store": {
                    "api": "conversions",
                    "access_token": "t",
                    "standard_to_event_sets": {"Purchase": [LANE.event_set]},
                }
            },
        }
    )


@asynccontextmanager
async def admin_port(folder: Path, engine: str = "memory", **admin: Any) -> AsyncIterator[AdminPort]:
    """A running admin port. `admin`: settings of the section."""
    given = settings(folder, engine, **admin)
    spool = create_spool(given.spool, lambda: NOW)
    await spool.open()
    mappers = {name: compile_mapper(name, destination) for name, destination in given.destinations.items()}
    letters = DeadLetterService(spool, given.destinations, mappers, stored=lambda _: None, clock=lambda: NOW)
    gateway = FixedGateway(given, letters)
    # An address that listens on all interfaces needs a token; the tests of other addresses replace only the policy.
    server = AdminServer(given.admin, gateway, clock=lambda: NOW)
    await server.start()
    try:
        yield AdminPort(server, gateway, spool)
    finally:
        await server.stop()
        await spool.close()


def letter(number: int = 1, **changes: Any) -> DeadLetter:
    """A dead letter of an event that Meta refused."""
    body = {"event_name": "Purchase", "event_time": int(NOW) - 60, "action_source": "physical_store", "n": number}
    values: dict[str, Any] = {
        "stage": Stage.UPLOAD,
        "code": "event_refused",
        "message": "Meta refused the event",
        "destination": "store",
        "source": None,
        "lane": LANE,
        "at": NOW - 30,
        "attempts": 1,
        "fault": MetaFault(100, 2804050, "A1b2"),
        "event": json.dumps(body).encode(),
        "message_id": f"m{number}",
        "order_id": f"o{number}",
        **changes,
    }
    return DeadLetter(**values)


__all__ = ["LANE", "NOW", "AdminPort", "AdminSettings", "FixedGateway", "Reply", "admin_port", "letter", "settings"]
