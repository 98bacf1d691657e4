"""Events, chunks and a trace in memory."""

from __future__ import annotations

import sqlite3

import orjson

from gateway.model import Chunk, ChunkId, Lane, StoredChunk, join_events
from gateway.trace.store import SCHEMA, begin

NOW = 1_800_000_000.0
LANE = Lane("store", "1148872185708962", "spring")


def body(message_id: str | None, order_id: str | None = None) -> bytes:
    """A mapped event of the dialect `conversions`."""
    event = {"event_name": "Purchase", "custom_data": {"order_id": order_id} if order_id else {}}
    return orjson.dumps({"event_id": message_id, **event} if message_id else event)


def chunk(number: int, *events: bytes, at: float = NOW, lane: Lane = LANE) -> StoredChunk:
    return StoredChunk(ChunkId(number), Chunk(lane, len(events), 2**40, join_events(events)), at)


def trace() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    begin(connection, NOW, [])
    return connection
