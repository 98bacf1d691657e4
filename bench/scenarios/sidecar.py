"""A gateway that has nothing to do: how soon it is ready, and what memory it takes."""

from __future__ import annotations

import statistics
import time

from bench.harness import Harness, Profile
from bench.processes import resident_bytes
from bench.result import Result, measured
from gateway.demo.subprocesses import Subprocess


def run(harness: Harness, profile: Profile) -> Result:
    """Medians of a few starts, in turn with starts of the bare handler."""
    seconds, resident, handler, its = [], [], [], []
    for number in range(profile.rounds):
        begun = time.perf_counter()
        with harness.gateway() as gateway:
            seconds.append(time.perf_counter() - begun)
            time.sleep(1.0)
            resident.append(resident_bytes(gateway.pid) / 1e6)
        begun = time.perf_counter()
        with Subprocess(harness.folder, f"handler-{number}", ["bench.floors", "decode"]) as process:
            process.started()
            handler.append(time.perf_counter() - begun)
            its.append(resident_bytes(process.process.pid) / 1e6)
    note = f"the bare aiohttp handler: {statistics.median(handler):.2f} s"
    return Result(
        "an idle sidecar",
        [
            measured("start to ready", seconds, "s", bar="sidecar_start", note=note),
            measured(
                "resident memory",
                resident,
                "MB",
                bar="sidecar_memory",
                note=f"the bare aiohttp handler: {statistics.median(its):.0f} MB",
            ),
        ],
    )
