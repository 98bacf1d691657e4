"""Two workers against one. Means something where two cores are free beside the load generator and the stand-in."""

from __future__ import annotations

import os

from bench import load
from bench.result import Result, Row
from bench.rig import REFUSING, Form, Rig, bodies, in_turn, rate, requests

SIZE = 100


def run(rig: Rig, form: Form) -> Result:
    """Durable events a second in batches, with nothing uploaded meanwhile."""
    sent = requests(bodies(rig.seed, SIZE, 40), SIZE)

    def speed(workers: int) -> float:
        with rig.gateway(meta=REFUSING, workers=workers) as gateway:
            found: load.Load = rig.run(rate(gateway.server, sent, SIZE, form.seconds))
            return found.events_per_second

    two, one = in_turn(form.rounds, lambda: speed(2), lambda: speed(1))
    cores = len(os.sched_getaffinity(0))
    note = f"{cores} cores for the workers and the generator together"
    return Result("workers", [Row("two workers, durable", two, "events/s", "one worker", one, "workers", note)])
