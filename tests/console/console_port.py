"""A console on a real admin port, for a gateway with fixed counts, a fixed history and a real spool of dead letters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.admin import AdminServer
from gateway.config import Settings, parse
from gateway.console import Console
from gateway.dead_letters import DeadLetterOperations, DeadLetterService
from gateway.history import HistoryPage, HistoryQuery, HistoryUnavailable, Metric, Series
from gateway.mapping import compile_mapper
from gateway.meta import DatasetCounts, DatasetQuality, OfflineQuality, Score
from gateway.model import DeadLetter, Lane, MetaFault, Stage
from gateway.spool import StorageEngine, create_spool
from gateway.tap import TapEntry, TapOutcome, TapPage
from gateway.telemetry import Coverage, KeyCoverage, LaneStatistics, Snapshot, SpoolStatistics
from gateway.trace import TracedEvent, TraceResult, TraceState

NOW = 1_772_366_400.0
DATASET = "1148872185708962"
LANE = Lane("store", DATASET, "spring")
ADMIN, READ = "admin-token", "read-token"


def settings(folder: Path, **sections: Any) -> Settings:
    return parse(
        {
            "spool": {"engine": "memory", "path": str(folder / "spool")},
            "sources": {"shop": {"write_key": "a-write-key", "destinations": ["store"]}},
            "destinations": {
                "store": {
                    "api": "conversions",
                    "access_token": "an-access-token",
                    "standard_to_event_sets": {"Purchase": [DATASET]},
                }
            },
            **sections,
            "admin": {"port": 0, **sections.get("admin", {})},
        }
    )


def lane_statistics(lane: Lane = LANE, **changes: Any) -> LaneStatistics:
    values: dict[str, Any] = {
        "lane": lane,
        "waiting_events": 60,
        "waiting_bytes": 9000,
        "oldest_at": NOW - 4,
        "in_flight": 1,
        "last_outcome": "delivered",
        "calls_per_second": 10.0,
        "concurrency": 4,
        "blocked": None,
        **changes,
    }
    return LaneStatistics(**values)


def snapshot(lanes: Sequence[LaneStatistics] | None = None) -> Snapshot:
    """48,300 events: 48,211 delivered, 29 dead letters, 60 waiting; and 12 rejected source events."""
    given = Snapshot(started_at=NOW - 7200, settings_at=NOW - 7200)
    counts = given.ledger.lanes[LANE]
    counts.accepted, counts.delivered, counts.dead = 48_300, 48_211, 29
    given.ledger.received["shop"] = 48_312
    given.ledger.rejected["shop", "store", "no_match_key"] = 12
    given.ledger.dead["store", Stage.UPLOAD, "meta_100_2804050"] = 29
    given.ledger.dead["store", Stage.MAPPING, "no_match_key"] = 12
    given.lanes = [lane_statistics()] if lanes is None else lanes
    given.spool = SpoolStatistics(events=60, dead_letters=41)
    keys = {
        "email": KeyCoverage(41_000, {"malformed": 500}),
        "phone": KeyCoverage(12_000, {"no_country": 20_000}),
        "last_name": KeyCoverage(30_000, {}),
        "madid": KeyCoverage(0, {}),
    }
    given.coverage = {"store": Coverage(48_312, keys, {"default_value_used": 900}, {"customer_note": 4})}
    return given


class FixedGateway:
    """The gateway behind the console. Its attributes are what it answers."""

    def __init__(self, given: Settings, dead_letters: DeadLetterOperations) -> None:
        self.settings = given
        self.dead_letters = dead_letters
        self.state = snapshot()
        self.recorded: Mapping[tuple[Metric, tuple[tuple[str, str], ...]], float] = {
            (Metric.ACCEPTED, (("destination", "store"), ("event_set", DATASET))): 200.0,
            (Metric.DELIVERED, (("destination", "store"), ("event_set", DATASET))): 199.0,
            (Metric.LAG_P50, (("destination", "store"),)): 2.5,
            (Metric.LAG_P99, (("destination", "store"),)): 5.5,
            (Metric.REJECTED, (("code", "no_match_key"), ("source", "shop"))): 1.0,
            (Metric.MAPPED, (("destination", "store"),)): 200.0,
            (Metric.KEY_PRESENT, (("destination", "store"), ("key", "email"))): 170.0,
            (Metric.KEY_DROPPED, (("cause", "no_country"), ("destination", "store"), ("key", "phone"))): 80.0,
        }
        """By metric and labels, the value of each step."""
        self.history_failure: str | None = None
        self.traced: Sequence[TracedEvent] = ()
        self.tapped: list[TapEntry] = []
        self.resumed: list[tuple[str | None, str | None]] = []
        self.failure: Exception | None = None

    async def readiness(self) -> Sequence[str]:
        return self.state.reasons

    async def snapshot(self) -> Snapshot:
        if self.failure is not None:
            raise self.failure
        return self.state

    async def resume(self, destination: str | None, event_set: str | None) -> int:
        self.resumed.append((destination, event_set))
        return 2

    async def history(self, query: HistoryQuery) -> HistoryPage:
        if self.history_failure is not None:
            raise HistoryUnavailable(self.history_failure)
        steps = int((query.until - query.since) // query.step)
        series = [
            Series(metric, dict(labels), [value] * steps)
            for (metric, labels), value in self.recorded.items()
            if metric in query.metrics and query.where.items() <= dict(labels).items()
        ]
        return HistoryPage(query.since, query.step, [True] * steps, series)

    async def trace(self, identifier: str) -> TraceResult:
        found = [event for event in self.traced if identifier in {event.message_id, event.order_id}]
        return TraceResult(found, recorded_since=NOW - 86_400)

    async def tap(self, cursor: str) -> TapPage:  # noqa: ARG002 (the cursor of the protocol)
        entries, self.tapped = self.tapped, []
        return TapPage(entries, "next", skipped=0)

    async def quality(self) -> Sequence[DatasetQuality]:
        advice = Score(6.5, "Send more phone numbers.")
        counts = DatasetCounts(valid=1000, matched=810, duplicate=3, match_rate=81.0)
        return [DatasetQuality("store", DATASET, NOW - 60, [OfflineQuality("Purchase", advice)], counts=counts)]


def letter(number: int = 1, **changes: Any) -> DeadLetter:
    """A dead letter of an event that Meta refused."""
    values: dict[str, Any] = {
        "stage": Stage.UPLOAD,
        "code": "meta_100_2804050",
        "message": "Meta refused the event (code 100, subcode 2804050).",
        "destination": "store",
        "source": None,
        "lane": LANE,
        "at": NOW - 3600 + number,
        "attempts": 1,
        "fault": MetaFault(100, 2804050, "A1b2C3"),
        "event": b'{"event_name":"Purchase","event_time":%d,"action_source":"physical_store",'
        b'"user_data":{"em":["%s"],"client_user_agent":"an agent"},"custom_data":{"value":5}}'
        % (int(NOW) - 60, b"ab12cd" * 10 + b"ab12"),
        "message_id": f"m{number}",
        "order_id": f"{1000 + number}",
        **changes,
    }
    return DeadLetter(**values)


def rejected(number: int = 1, **changes: Any) -> DeadLetter:
    """A dead letter of an event that the mapping rejected, and would reject again."""
    values: dict[str, Any] = {
        "stage": Stage.MAPPING,
        "code": "no_match_key",
        "message": "The event has no identity.",
        "source": "shop",
        "lane": None,
        "attempts": 0,
        "fault": None,
        "event": b'{"type":"track","event":"Order Completed"}',
        **changes,
    }
    return letter(number, **values)


def traced(**changes: Any) -> TracedEvent:
    values: dict[str, Any] = {
        "message_id": "m7",
        "order_id": "1007",
        "destination": "store",
        "event_set": DATASET,
        "tag_hash": "-",
        "stored_at": NOW - 600,
        "state": TraceState.DELIVERED,
        "ended_at": NOW - 595,
        "meta_trace_id": "AbCdEfG",
        "attempts": 1,
        **changes,
    }
    return TracedEvent(**values)


def tapped(**changes: Any) -> TapEntry:
    values: dict[str, Any] = {
        "at": NOW,
        "source": "shop",
        "outcome": TapOutcome.ACCEPTED,
        "event": "Purchase",
        "destinations": ["store"],
        "event_sets": [DATASET],
        "order_id": "1001",
        "keys": {"em": "ab12cd", "client_user_agent": ""},
        "properties": 3,
        **changes,
    }
    return TapEntry(**values)


class ConsolePort:
    """The port, and the gateway and the spool behind it."""

    def __init__(self, server: AdminServer, gateway: FixedGateway, spool: StorageEngine) -> None:
        self.gateway = gateway
        self.spool = spool
        self.url = f"http://127.0.0.1:{server.port}"


@asynccontextmanager
async def console_port(folder: Path, **sections: Any) -> AsyncIterator[ConsolePort]:
    """A running console. `sections`: of the settings."""
    given = settings(folder, **sections)
    spool = create_spool(given.spool, lambda: NOW)
    await spool.open()
    mappers = {name: compile_mapper(name, destination) for name, destination in given.destinations.items()}
    letters = DeadLetterService(spool, given.destinations, mappers, stored=lambda _: None, clock=lambda: NOW)
    gateway = FixedGateway(given, letters)
    server = AdminServer(given.admin, gateway, clock=lambda: NOW, site=Console(gateway, lambda: NOW))
    await server.start()
    try:
        yield ConsolePort(server, gateway, spool)
    finally:
        await server.stop()
        await spool.close()


@asynccontextmanager
async def browser(port: ConsolePort) -> AsyncIterator[aiohttp.ClientSession]:
    """A client with cookies that follows no redirect by itself."""
    async with aiohttp.ClientSession(port.url, cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session
