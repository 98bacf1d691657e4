"""Batches, from the first request until Meta's stand-in has the last event, beside the least that a pipeline does."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench import load
from bench.floors import pipeline
from bench.processes import cpu_seconds
from bench.result import Result, Row
from bench.rig import Form, Gateway, Rig, bodies, hashes_of, in_turn, requests

SIZES = (10, 100, 500)


async def delivered(
    gateway: Gateway, sent: Sequence[bytes], size: int, *, connections: int = 16
) -> tuple[float, float]:
    """Events a second until all are durable, and until all are delivered."""
    begun = time.perf_counter()
    run = await load.closed_loop(
        *gateway.server, sent, connections=connections, seconds=300, events_per_request=size, most=len(sent)
    )
    if run.refused:
        raise SystemExit(f"{run.refused} of {run.answered} requests were refused")
    durable = time.perf_counter()
    status = await gateway.drained()
    account = status["account"]
    if account["accepted"] != account["delivered"] + account["dead_lettered"]:
        raise SystemExit(f"the account does not add up: {account}")
    events = len(sent) * size
    return events / (durable - begun), events / (time.perf_counter() - begun)


def run(rig: Rig, form: Form) -> Result:
    """Each size in turn with the floor."""
    rows = []
    for size in SIZES:
        given = bodies(rig.seed, size, form.total // size)
        sent = requests(given, size)
        hashes = hashes_of(given[0], rig.folder)
        with rig.gateway(max_age=0.2) as gateway:
            begun, meta = cpu_seconds(gateway.pid), cpu_seconds(rig.meta_pid)

            def ours(gateway: Gateway = gateway, sent: Sequence[bytes] = sent, size: int = size) -> float:
                found: tuple[float, float] = rig.run(delivered(gateway, sent, size))
                return found[1]

            def floor(body: bytes = given[0], hashes: Sequence[int] = hashes) -> float:
                return pipeline(body, hashes, form.seconds)

            measured, least = in_turn(form.rounds, ours, floor)
            status = rig.run(gateway.status())
            events = form.rounds * len(sent) * size
            spent = (cpu_seconds(gateway.pid) - begun) / events * 1e6
            stand_in = (cpu_seconds(rig.meta_pid) - meta) / events * 1e6
        rows.append(
            Row(
                f"batches of {size}, until delivered",
                measured,
                "events/s",
                "decode, hash, encode, append, fsync",
                least,
                "delivered" if size == 100 else "",
                f"processor time an event: gateway {spent:.0f} us, stand-in {stand_in:.0f} us; "
                f"{status['events_per_batch']:.0f} events a call",
            )
        )
    return Result("batches, durable until delivered", rows)
