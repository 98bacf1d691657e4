"""A shop that sends its sales in batches, as the SDKs do: 429 and 503 are tried again."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
import orjson

from gateway.demo.sales import Sales

WRITE_KEY = "demo"
CONNECTIONS = 4
RETRIED = frozenset({429, 503})


@dataclass(slots=True)
class Counts:
    """What the answers said."""

    sent: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """By code."""
    requests: int = 0


class Sender:
    """Sends at a rate over a few connections."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        sales: Sales,
        rate: float | None,
        batch: int,
        total: int | None,
    ) -> None:
        self.counts = Counts()
        self._session = session
        self._url = url
        self._sales = sales
        self._seconds_a_batch = batch / rate if rate else 0.0
        self._batch = batch
        self._left = total
        self._due = 0.0
        """Loop time at which the next batch is to be sent."""

    async def run(self, stop: asyncio.Event) -> None:
        """Send until asked to stop, or until the total was sent. Requests under way are finished."""
        self._due = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(self._send_batches(stop))

    async def _send_batches(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            size = self._batch if self._left is None else min(self._batch, self._left)
            if not size:
                return
            if self._left is not None:
                self._left -= size
            due = self._due
            self._due += self._seconds_a_batch
            if due > loop.time():
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await stop.wait()
                if stop.is_set():
                    return
            events = self._sales.events(size)
            self.counts.sent += size
            await self._post(orjson.dumps({"batch": events}))

    async def _post(self, body: bytes) -> None:
        headers = {"Authorization": aiohttp.BasicAuth(WRITE_KEY).encode(), "Content-Type": "application/json"}
        while True:
            async with self._session.post(f"{self._url}/v1/batch", data=body, headers=headers) as response:
                answer = await response.read()
            self.counts.requests += 1
            if response.status not in RETRIED:
                break
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
        response.raise_for_status()
        said = orjson.loads(answer)
        self.counts.accepted += said["accepted"]
        for one in said["rejected"]:
            self.counts.rejected[one["code"]] += 1
