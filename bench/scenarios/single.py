"""Single events, each acknowledged after its fsync, beside aiohttp handlers that do nothing; and how long they take."""

from __future__ import annotations

from bench import load
from bench.result import Result, Row
from bench.rig import CONNECTIONS, Form, Rig, bodies, in_turn, rate, requests

CALLS = 3000
"""Distinct requests, sent over and over."""


def run(rig: Rig, form: Form) -> Result:
    """Closed loop for the rate; then a fixed rate of half of it for the latency."""
    sent = requests(bodies(rig.seed, 1, CALLS), 1)
    with rig.gateway() as gateway:

        def ours() -> float:
            found: load.Load = rig.run(rate(gateway.server, sent, 1, form.seconds))
            return found.events_per_second

        def floor(name: str) -> float:
            found: load.Load = rig.run(rate(rig.floor(name), sent, 1, form.seconds))
            return found.events_per_second

        measured, decodes, reads = in_turn(form.rounds, ours, lambda: floor("decode"), lambda: floor("read"))
        rig.run(gateway.drained())
        steady: load.Load = rig.run(
            load.fixed_rate(*gateway.server, sent, connections=CONNECTIONS, seconds=2 * form.seconds, rate=measured / 2)
        )
    at_rate = f"at {measured / 2:,.0f} events a second, due times kept"
    return Result(
        "single events, durable",
        [
            Row("durable", measured, "events/s", "aiohttp handler that decodes", decodes, "single"),
            Row("durable", measured, "events/s", "aiohttp handler that reads", reads),
            Row("p50", steady.percentile(0.5) * 1e3, "ms", note=at_rate),
            Row("p99", steady.percentile(0.99) * 1e3, "ms", bar="latency", note=at_rate),
            Row("p99.9", steady.percentile(0.999) * 1e3, "ms", note=at_rate),
        ],
    )
