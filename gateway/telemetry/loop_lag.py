"""Measures the delay of the event loop. Code that blocks the loop delays every sender."""

from __future__ import annotations

import asyncio

from gateway.telemetry.histogram import LAG, Histogram

INTERVAL = 0.1
"""Seconds between measurements."""


class LoopLag:
    """Sleeps for `INTERVAL` again and again, and records how late the loop wakes it."""

    def __init__(self) -> None:
        self.seconds = Histogram(LAG)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.seconds.observe(max(0.0, loop.time() - due))
