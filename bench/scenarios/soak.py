"""Load for long: whether memory grows. Not part of the quick form."""

from __future__ import annotations

import statistics
import time

from bench import load
from bench.processes import resident_bytes
from bench.result import Result, Row
from bench.rig import CONNECTIONS, Form, Gateway, Rig, bodies, requests

SIZE = 20
RATE = 100.0
"""Requests a second: well below what it takes."""
STEPS = 20


def run(rig: Rig, form: Form) -> Result:
    """Resident memory after a warm-up of a tenth, and at the end."""
    sent = requests(bodies(rig.seed, SIZE, 300), SIZE)
    resident: list[float] = []
    with rig.gateway() as gateway:
        step = form.soak / STEPS
        for _ in range(STEPS):
            run_ = rig.run(_step(gateway, sent, step))
            if run_.refused:
                raise SystemExit(f"{run_.refused} requests were refused")
            resident.append(resident_bytes(gateway.pid) / 1e6)
        begun = time.perf_counter()
        rig.run(gateway.drained())
        drained = time.perf_counter() - begun
    tenth = max(1, STEPS // 10)
    early, late = statistics.median(resident[tenth : 3 * tenth]), statistics.median(resident[-2 * tenth :])
    return Result(
        f"soak of {form.soak:.0f} s at {SIZE * RATE:,.0f} events a second",
        [Row("resident at the end", late, "MB", "after a tenth", early, note=f"drained {drained:.1f} s after the end")],
    )


async def _step(gateway: Gateway, sent: list[bytes], seconds: float) -> load.Load:
    return await load.fixed_rate(
        *gateway.server, sent, connections=CONNECTIONS, seconds=seconds, rate=RATE, events_per_request=SIZE
    )
