"""Time from start to ready and resident memory of an idle gateway, compared with a minimal aiohttp server."""

from __future__ import annotations

import statistics
import time

from bench.harness import Harness, Profile
from bench.processes import resident_bytes
from bench.result import Result, median_row
from gateway.demo.subprocesses import Subprocess


def run(harness: Harness, profile: Profile) -> Result:
    """Start the gateway and the aiohttp handler alternately."""
    gateway_seconds, gateway_memory, handler_seconds, handler_memory = [], [], [], []
    for number in range(profile.rounds):
        started = time.perf_counter()
        with harness.gateway() as gateway:
            gateway_seconds.append(time.perf_counter() - started)
            time.sleep(1.0)
            gateway_memory.append(resident_bytes(gateway.pid) / 1e6)
        started = time.perf_counter()
        with Subprocess(harness.folder, f"handler-{number}", ["bench.baselines", "decode"]) as process:
            process.started()
            handler_seconds.append(time.perf_counter() - started)
            handler_memory.append(resident_bytes(process.process.pid) / 1e6)
    return Result(
        "idle sidecar",
        [
            median_row(
                "start to ready",
                gateway_seconds,
                "s",
                target="sidecar_start",
                note=f"aiohttp handler: {statistics.median(handler_seconds):.2f} s",
            ),
            median_row(
                "resident memory",
                gateway_memory,
                "MB",
                target="sidecar_memory",
                note=f"aiohttp handler: {statistics.median(handler_memory):.0f} MB",
            ),
        ],
    )
