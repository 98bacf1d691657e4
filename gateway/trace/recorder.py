"""Collects what becomes of events, and writes it in bulk. Nothing waits for it; under load it leaves events out."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from gateway.identifiers import short_id
from gateway.model import Backlog, StoredChunk, UnixSeconds
from gateway.record_file import RecordFile, RecordsUnavailable
from gateway.trace import store
from gateway.trace.model import Ending, TraceGap, TraceResult

EVENTS_PER_SECOND = 2000
"""Events that a process traces, on average. Reading and writing so many takes about 3 % of a CPU."""
MAX_QUEUED_EVENTS = 4000
MAX_QUEUED_BYTES = 8 * 2**20
"""Size of the payloads that wait for being written."""
MAX_QUEUED_ENDINGS = 50_000
"""Chunks whose ends wait for being written."""
WRITE_INTERVAL = 0.02
"""Seconds between two transactions. They are short, because the thread that writes competes with the event loop for the
interpreter. The p99 latency of single events was 20 ms with one in half a second, and 7 to 19 ms with shorter ones."""
IDLE_INTERVAL = 30.0
"""Seconds after which the file is written although nothing happened, so that a later kill leaves a short gap."""
DAY = 86_400.0
FULL_SHARE = 0.9
"""Share of the maximum size above which the oldest events are deleted."""


class Tracer(Protocol):
    """Receives what happens to chunks. The methods return at once and never fail."""

    def stored(self, chunks: Sequence[StoredChunk], /) -> None:
        """Chunks became durable. Called once for each commit."""
        ...

    def ended(self, ending: Ending, /) -> None:
        """Events were acknowledged. Called once for each acknowledgement."""
        ...


class Start(NamedTuple):
    """The start of the process."""

    at: UnixSeconds
    backlogs: Sequence[Backlog]
    """What the spool contains."""


class NoTrace:
    """A tracer that keeps nothing."""

    def stored(self, chunks: Sequence[StoredChunk], /) -> None:
        """See `Tracer`."""

    def ended(self, ending: Ending, /) -> None:
        """See `Tracer`."""


class TraceRecorder:
    """The event trace of one process."""

    def __init__(
        self, path: Path | None, *, days: float, max_bytes: int, clock: Callable[[], UnixSeconds] = time.time
    ) -> None:
        """`path` None: it is kept in memory."""
        self._max_bytes = max_bytes
        self._file = RecordFile(path, store.SCHEMA, max_bytes=max_bytes)
        self._days = days
        self._clock = clock
        # Only the loop's thread changes these.
        self._start: Start | None = Start(clock(), ())  # None once it is written
        self._queue: deque[StoredChunk | Ending] = deque()
        self._queued_events = self._queued_bytes = self._queued_endings = 0
        self._allowance = float(MAX_QUEUED_EVENTS)  # events that may be traced now
        self._allowed_at = clock()
        self._gap: TraceGap | None = None  # that is not written yet
        self._endings_lost_at: UnixSeconds | None = None  # that is not written yet
        self._written_at = 0.0
        self._may_prune = False  # whether there may be something to delete
        self._writing = asyncio.Lock()
        self._failure: str | None = None

    def stored(self, chunks: Sequence[StoredChunk], /) -> None:
        """See `Tracer`."""
        now = self._clock()
        self._allowance = min(MAX_QUEUED_EVENTS, self._allowance + max(0.0, now - self._allowed_at) * EVENTS_PER_SECOND)
        self._allowed_at = now
        left_out = 0
        for stored in chunks:
            events, size = stored.chunk.count, len(stored.chunk.payload)
            if (
                events > self._allowance
                or self._queued_events + events > MAX_QUEUED_EVENTS
                or self._queued_bytes + size > MAX_QUEUED_BYTES
            ):
                left_out += events
                continue
            self._allowance -= events
            self._queued_events += events
            self._queued_bytes += size
            self._queue.append(stored)
        if left_out:
            self._add_gap(now, left_out)

    def ended(self, ending: Ending, /) -> None:
        """See `Tracer`."""
        chunks, size = len(ending.ids), sum(map(len, ending.events or ()))
        if self._queued_endings + chunks > MAX_QUEUED_ENDINGS or self._queued_bytes + size > MAX_QUEUED_BYTES:
            self._endings_lost_at = ending.at
            return
        self._queued_endings += chunks
        self._queued_bytes += size
        self._queue.append(ending)

    async def start(self, backlogs: Sequence[Backlog]) -> None:
        """Open the file, and compare it with what the spool contains."""
        self._start = Start(self._clock(), backlogs)
        await self.write()

    async def run(self) -> None:
        """Write at its interval until cancelled."""
        while True:
            await asyncio.sleep(WRITE_INTERVAL)
            if self._queue or self._gap or self._clock() - self._written_at >= IDLE_INTERVAL:
                await self.write()
            if self._may_prune:
                await self._prune()

    async def write(self) -> None:
        """Write what was collected. What cannot be written is left out, and recorded as a gap later."""
        async with self._writing:
            now = self._clock()
            queue, self._queue = self._queue, deque()
            events, endings = self._queued_events, self._queued_endings
            self._queued_events = self._queued_bytes = self._queued_endings = 0
            gap, self._gap = self._gap, None
            lost_at, self._endings_lost_at = self._endings_lost_at, None
            try:
                await self._file.run(partial(_write, now, self._start, queue, gap, lost_at))
            except RecordsUnavailable as error:
                self._failure = str(error)
                self._gap = gap
                self._endings_lost_at = now if endings else lost_at
                if events:
                    self._add_gap(now, events)
            else:
                self._failure = self._start = None
                self._written_at = now
            self._may_prune = True

    async def _prune(self) -> None:
        """Delete some of the events that are too old, or too many for the file."""
        since = self._clock() - self._days * DAY

        def prune(connection: sqlite3.Connection) -> bool:
            is_large = self._file.used_bytes(connection) > self._max_bytes * FULL_SHARE
            return store.prune(connection, since, is_large=is_large)

        with suppress(RecordsUnavailable):
            self._may_prune = False
            self._may_prune = await self._file.run(prune)

    async def find(self, identifier: str) -> TraceResult:
        """What became of the events with this message ID or order ID."""
        if self._queue or self._gap or self._start:
            await self.write()
        try:
            result = await self._file.run(partial(store.find, identifier=short_id(identifier) or ""))
        except RecordsUnavailable as error:
            return TraceResult(failure=f"The trace cannot be read: {error}.")
        if self._failure is not None:
            return replace(result, failure=f"The trace cannot be written: {self._failure}.")
        return result

    async def close(self) -> None:
        """Write the rest, and close the file."""
        await self.write()
        if self._failure is None:
            with suppress(RecordsUnavailable):  # then the time until the next start is a gap
                await self._file.run(store.end)
        await self._file.close()

    def _add_gap(self, now: UnixSeconds, events: int) -> None:
        """Extend the gap that is not written yet."""
        gap = self._gap
        self._gap = TraceGap(gap.since, now, gap.events + events) if gap else TraceGap(now, now, events)


def _write(
    now: UnixSeconds,
    start: Start | None,
    queue: Sequence[StoredChunk | Ending],
    gap: TraceGap | None,
    lost_at: UnixSeconds | None,
    connection: sqlite3.Connection,
) -> None:
    """Write everything in one transaction. Runs on the thread of the file."""
    if start is not None:
        store.begin(connection, start.at, start.backlogs)
    store.add_chunks(connection, [entry for entry in queue if isinstance(entry, StoredChunk)])
    for entry in queue:
        if isinstance(entry, Ending):
            store.add_ending(connection, entry)
    if lost_at is not None:
        store.lose_endings(connection, lost_at)
    if gap is not None:
        store.add_gap(connection, gap)
    store.touch(connection, now)
