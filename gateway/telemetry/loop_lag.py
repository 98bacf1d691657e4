"""How late the event loop is: what blocks it blocks every sender."""

from __future__ import annotations

import asyncio

from gateway.telemetry.histogram import LAG, Histogram

INTERVAL = 0.1
"""Seconds between measurements."""


class LoopLag:
    """Asks the loop to be woken and sees how late it is."""

    def __init__(self) -> None:
        self.seconds = Histogram(LAG)

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.seconds.observe(max(0.0, loop.time() - due))
