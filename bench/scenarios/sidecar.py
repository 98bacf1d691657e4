"""A gateway that has nothing to do: how soon it is ready, and what memory it takes."""

from __future__ import annotations

import statistics
import time

from bench.processes import resident_bytes
from bench.result import Result, Row
from bench.rig import Form, Rig


def run(rig: Rig, form: Form) -> Result:
    """Medians of a few starts."""
    seconds, resident = [], []
    for _ in range(form.rounds):
        begun = time.perf_counter()
        with rig.gateway() as gateway:
            seconds.append(time.perf_counter() - begun)
            time.sleep(1.0)
            resident.append(resident_bytes(gateway.pid) / 1e6)
    return Result(
        "an idle gateway",
        [
            Row("start to ready", statistics.median(seconds), "s", bar="sidecar_start"),
            Row("resident memory", statistics.median(resident), "MB", bar="sidecar_memory"),
        ],
    )
