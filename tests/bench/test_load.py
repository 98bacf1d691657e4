"""The load generator measures what it says: quantiles, due times, refusals."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench import load
from bench.picture import bars
from bench.result import BARS, Result, Row


def test_quantiles_are_within_a_bucket_of_the_exact_ones() -> None:
    rng = random.Random(1)
    seconds = [rng.expovariate(100) for _ in range(20_000)]
    histogram = load.Latencies()
    for one in seconds:
        histogram.observe(one)
    seconds.sort()
    for share in (0.01, 0.5, 0.9, 0.99, 0.999):
        exact = seconds[int(share * len(seconds))]
        assert histogram.quantile(share) == pytest.approx(exact, rel=0.05)
    assert load.Latencies().quantile(0.5) == 0.0


@asynccontextmanager
async def server(status: str, pause: float) -> AsyncIterator[int]:
    """Answers every request, one at a time a connection."""
    writers = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(2)
                await asyncio.sleep(pause)
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()
    for writer in writers:
        writer.close()
    await asyncio.sleep(0.05)


async def test_at_a_fixed_rate_a_slow_server_shows_in_the_latency_and_not_in_the_rate() -> None:
    async with server("200 OK", 0.02) as port:
        run = await load.fixed_rate(
            "127.0.0.1", port, [load.request("/", b"{}", "x")], connections=1, seconds=0.5, rate=100.0
        )
    assert run.answered == 50
    assert run.refused == 0
    # Fifty requests fall due in half a second, and one connection answers them in a whole one: the last waits.
    assert run.percentile(1.0) > 0.3, "coordinated omission: late requests were counted from when they were sent"


async def test_refusals_are_no_events() -> None:
    async with server("503 No", 0.0) as port:
        run = await load.closed_loop(
            "127.0.0.1", port, [load.request("/", b"{}", "x")], connections=2, seconds=5, events_per_request=10, most=20
        )
    assert (run.answered, run.refused, run.events_per_second) == (20, 20, 0.0)


def test_a_bar_is_met_in_its_own_direction_and_the_picture_says_so() -> None:
    good = Row("workers", 19.0, "events/s", "one", 10.0, "workers")
    short = Row("p99", 99.0, "ms", bar="latency")
    assert BARS["workers"].is_met(good.figure)
    assert not BARS["latency"].is_met(short.figure)
    picture = bars([Result("r", [good, short])])
    assert picture.count('class="good"') == picture.count('class="short"') == 1
    assert "1.90 (at least 1.6" in picture
