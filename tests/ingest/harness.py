"""An ingest server in the process of the test, with a mapper and a group commit that can be told to fail or to wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from gateway.config import ServerSettings
from gateway.identifiers import NO_IDS, EventIds
from gateway.ingest import DedupWindow, Ingest, Source
from gateway.memory_budget import MemoryBudget
from gateway.model import DeadLetter, Lane, Mapped, MappedEvent, MappedRun, Rejection, split_events
from gateway.tap import Tap
from gateway.telemetry import Ledger
from tests.hostile.requests import Response, Target, content_length, parse_response

WRITE_KEY = "wk-of-the-test"
LANE = Lane("store", "1148872185708962", "tag")
NOW = 1_700_000_000
UNMAPPED = Rejection("unmapped_event", "The event is not mapped.")


class FakeMapper:
    """Maps an event to itself. An event named `unmapped` is rejected; one named `bug` raises an error."""

    native = None

    def map(self, event: Any, now: int, /) -> Mapped:
        if event.get("event") == "bug":
            raise TypeError(f"cannot map {event}")
        if event.get("event") == "unmapped":
            return UNMAPPED
        return [MappedEvent(LANE, now + 1, json.dumps(event).encode())]

    def redact(self, event: Any, now: int | None = None, /) -> bytes | None:  # noqa: ARG002
        return json.dumps(event).encode()

    def ids(self, event: Any, /) -> EventIds:
        return EventIds(event.get("messageId")) if isinstance(event, dict) else NO_IDS


@dataclass
class FakeCommitter:
    """Stores everything at once, or when `release` is set."""

    runs: list[MappedRun] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    error: Exception | None = None
    waiting: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def bodies(self) -> list[bytes]:
        """The encoded events."""
        return [body for run in self.runs for body in split_events(run.payload)]

    async def commit(
        self, runs: Sequence[MappedRun], letters: Sequence[DeadLetter], on_durable: Callable[[], None]
    ) -> None:
        if self.error is not None:
            raise self.error
        self.waiting += 1
        await self.release.wait()
        self.waiting -= 1
        self.runs += runs
        self.letters += letters
        on_durable()


@dataclass
class Server:
    """A running ingest server."""

    ingest: Ingest
    committer: FakeCommitter
    ledger: Ledger
    budget: MemoryBudget

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", self.ingest.port, WRITE_KEY)

    clients: list[Client] = field(default_factory=list)
    """They are closed at the end."""

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.ingest.port))
        self.clients.append(client)
        return client

    async def exchange(self, request: bytes) -> Response:
        """Send a request on a connection of its own."""
        client = await self.connect()
        await client.send(request)
        response = await client.response()
        client.close()
        return response

    def counted(self, status: int) -> int:
        """Requests that were counted with this status."""
        return sum(count for (_, counted), count in self.ledger.requests.items() if counted == status)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition is true."""
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 (it may depend on the network)
                await asyncio.sleep(0.005)


@dataclass
class Client:
    """A connection to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytes = b""

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        with suppress(ConnectionError):  # closed by the server; its response may be there
            await self.writer.drain()

    async def response(self) -> Response:
        """The next response; status 0: the connection was closed."""
        async with asyncio.timeout(10):
            while (response := parse_response(self.received)) is None:
                try:
                    more = await self.reader.read(65536)
                except ConnectionError:
                    more = b""
                if not more:
                    return Response(0, {})
                self.received += more
        head, _, rest = self.received.partition(b"\r\n\r\n")
        self.received = rest[content_length(head) :]
        return response

    async def is_closed(self, within: float = 1.0) -> bool:
        """Whether the server closes the connection within this many seconds."""
        try:
            async with asyncio.timeout(within):
                while await self.reader.read(65536):
                    pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close the connection without a farewell."""
        self.writer.transport.abort()


@asynccontextmanager
async def running(
    settings: Mapping[str, Any] | None = None,
    *,
    max_memory: int = 64 * 2**20,
    dedup: Mapping[str, DedupWindow] | None = None,
    tap: Tap | None = None,
) -> AsyncIterator[Server]:
    """A server with one source. Everything is released at the end, and nothing is reserved any more."""
    budget, ledger, committer = MemoryBudget(max_memory), Ledger(), FakeCommitter()
    committer.release.set()
    source = Source("shop", [("store", FakeMapper())], dedup or {})
    ingest = Ingest(
        ServerSettings.model_validate({"port": 0, **(settings or {})}),
        {WRITE_KEY: source},
        committer,
        ledger,
        budget,
        clock=lambda: NOW,
        tap=tap,
    )
    await ingest.start()
    server = Server(ingest, committer, ledger, budget)
    try:
        yield server
        committer.release.set()
    finally:
        await ingest.stop()
        for client in server.clients:
            client.reset()
    for _ in range(10):
        await asyncio.sleep(0)
    assert budget.reserved == 0
