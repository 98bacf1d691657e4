"""Two workers against one, where each has a core.

With cores enough that is how they run. With fewer, one worker would use a part of the second core for its spool, which
two have no part of: there the one is held to a core as well, and what it does with both is told beside.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from bench.harness import Harness, Profile, in_turn
from bench.processes import hold
from bench.result import Result, measured
from bench.workload import REFUSING, bodies, requests
from gateway.model import GatewayError

SIZE = 100
DISTINCT = 200
"""Requests: 20,000 distinct sales, each sending with message IDs of its own."""
CORES = 4
"""Two for the workers, one for the generator, one for everything else."""


def run(harness: Harness, profile: Profile) -> Result:
    """Durable events a second in batches, with nothing uploaded meanwhile."""
    sent = requests(bodies(harness.seed, SIZE, DISTINCT), SIZE)

    cores = sorted(os.sched_getaffinity(0))

    def speed(workers: int, *, on: int = len(cores)) -> float:
        with harness.gateway(meta=REFUSING, workers=workers) as gateway:
            hold(gateway.pid, cores[:on])
            return harness.closed(gateway.server, sent, SIZE, profile.seconds).events_per_second

    try:
        two, one, held = in_turn(profile.rounds, partial(speed, 2), partial(speed, 1), partial(speed, 1, on=1))
    except GatewayError as error:
        return Result("workers", [], f"skipped, the gateway did not start with two workers: {str(error)[:200]}")
    what = "two workers, durable"
    free = measured(what, two, "events/s", "one worker, on any core", one, bar="workers")
    if len(cores) >= CORES:
        return Result("workers", [free])
    caveat = f"on {len(cores)} cores, generator included; {free.ratio:.2f} of one worker that has both"
    each = measured(what, two, "events/s", "one worker, held to a core", held, bar="workers", caveat=caveat)
    return Result("workers", [each, replace(free, bar="")])
