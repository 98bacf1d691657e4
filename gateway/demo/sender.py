"""Sends generated sales in batches, as the SDKs do: a request that is answered with 429 or 503 is sent again."""

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
RETRIED_STATUSES = frozenset({429, 503})


@dataclass(slots=True)
class Counts:
    """Counts of the sent events and of the responses."""

    sent: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Events by code of the rejection."""
    requests: int = 0


class Sender:
    """Sends events at a given rate over several connections."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        sales: Sales,
        rate: float | None,
        batch: int,
        total: int | None,
    ) -> None:
        """`rate`: events per second, or None for as fast as possible. `batch`: events per request. `total`: or None."""
        self.counts = Counts()
        self._session = session
        self._url = url
        self._sales = sales
        self._batch_interval = batch / rate if rate else 0.0  # seconds
        self._batch = batch
        # Only the loop's thread changes these.
        self._remaining = total
        self._next_batch_at = 0.0  # loop time

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set or the total is reached. Requests in flight are completed."""
        self._next_batch_at = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(self._send_batches(stop))

    async def _send_batches(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            size = self._batch if self._remaining is None else min(self._batch, self._remaining)
            if not size:
                return
            if self._remaining is not None:
                self._remaining -= size
            send_at = self._next_batch_at
            self._next_batch_at += self._batch_interval
            if send_at > loop.time():
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(send_at):
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
                content = await response.read()
            self.counts.requests += 1
            if response.status not in RETRIED_STATUSES:
                break
            await asyncio.sleep(float(response.headers.get("Retry-After", "1")))
        response.raise_for_status()
        result = orjson.loads(content)
        self.counts.accepted += result["accepted"]
        for rejection in result["rejected"]:
            self.counts.rejected[rejection["code"]] += 1
