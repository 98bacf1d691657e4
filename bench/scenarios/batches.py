"""Batches, from the first request until Meta's stand-in has the last event, beside the least that a pipeline does."""

from __future__ import annotations

import time
from functools import partial

from bench.floors import pipeline
from bench.requests import Requests
from bench.result import Result, Row, measured
from bench.rig import Form, Gateway, Rig, Shares, in_turn
from bench.workload import bodies, hashes_of, requests

SIZES = (10, 100, 500)
BARRED = 100
"""The size that a bar is about."""
FLOOR = "decode, hash, encode, append, fsync"


def delivered(rig: Rig, gateway: Gateway, sent: Requests, size: int) -> tuple[float, float]:
    """Events a second until all are durable, and until all are delivered."""
    begun = time.perf_counter()
    rig.every(gateway.server, sent, size)
    durable = time.perf_counter()
    gateway.drained()
    events = len(sent) * size
    return events / (durable - begun), events / (time.perf_counter() - begun)


def run(rig: Rig, form: Form) -> Result:
    """Each size in turn with the floor."""
    rows = [
        row for size in SIZES for row in _size(rig, form, size, form.rounds if size == BARRED else form.side_rounds)
    ]
    return Result("batches, until durable and until delivered", rows)


def _size(rig: Rig, form: Form, size: int, rounds: int) -> list[Row]:
    total = form.total if size == BARRED else form.total // 2
    given = bodies(rig.seed, size, total // size)
    sent = requests(given, size)
    durable: list[float] = []
    with rig.gateway(max_age=0.2) as gateway:
        shares = Shares({"gateway": gateway.pid, "stand-in": rig.pid("meta"), "generator": rig.generator.process.pid})

        def ours() -> float:
            with shares:
                taken, found = delivered(rig, gateway, sent, size)
            durable.append(taken)
            return found

        floor = partial(pipeline, given[0], hashes_of(given[0], rig.folder), form.seconds)
        all_delivered, least = in_turn(rounds, ours, floor)
        status, lag = gateway.status(), gateway.loop_lag()
    note = f"{shares.told(rounds * len(sent) * size)}; {status['events_per_batch']:.0f} events a call; {lag}"
    bar = "delivered" if size == BARRED else ""
    return [
        measured(f"batches of {size}, until durable", durable, "events/s", FLOOR, least),
        measured(f"batches of {size}, until delivered", all_delivered, "events/s", FLOOR, least, bar=bar, note=note),
    ]
