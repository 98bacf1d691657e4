"""Two workers against one. It says something of them where two cores are free beside generator and stand-in."""

from __future__ import annotations

import os
from functools import partial

from bench.result import Result, measured
from bench.rig import Form, Rig, in_turn
from bench.workload import REFUSING, bodies, requests
from gateway.model import GatewayError

SIZE = 100
DISTINCT = 200
"""Requests: 20,000 distinct sales, each sending with message IDs of its own."""
CORES = 4
"""Two for the workers, one for the generator, one for everything else."""


def run(rig: Rig, form: Form) -> Result:
    """Durable events a second in batches, with nothing uploaded meanwhile."""
    sent = requests(bodies(rig.seed, SIZE, DISTINCT), SIZE)

    def speed(workers: int) -> float:
        with rig.gateway(meta=REFUSING, workers=workers) as gateway:
            return rig.closed(gateway.server, sent, SIZE, form.seconds).events_per_second

    try:
        two, one = in_turn(form.rounds, partial(speed, 2), partial(speed, 1))
    except GatewayError as error:
        return Result("workers", [], f"skipped, the gateway did not start with two workers: {str(error)[:200]}")
    cores = len(os.sched_getaffinity(0))
    caveat = "" if cores >= CORES else f"{cores} cores for two workers, generator and all else"
    row = measured("two workers, durable", two, "events/s", "one worker", one, bar="workers", caveat=caveat)
    return Result("workers", [row])
