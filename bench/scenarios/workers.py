"""Ingest rate of two workers compared with one worker.

With four cores or more, both run without restriction. With fewer, a single worker could use part of the second core for
its database thread, while each of two workers has one core for both threads. The single worker is then also measured
with one core only, and the target applies to that ratio.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from bench.harness import Harness, Profile, alternate
from bench.processes import pin_to_cores
from bench.result import Result, median_row
from bench.workload import UNREACHABLE_META, encode_requests, request_bodies
from gateway.model import GatewayError

SIZE = 100
DISTINCT_REQUESTS = 200
"""20,000 distinct sales. Each send of a request has new message IDs."""
ENOUGH_CORES = 4
"""Two for the workers, one for the generator, one for all other processes."""


def run(harness: Harness, profile: Profile) -> Result:
    """Measure durable events per second in batches. Nothing is uploaded meanwhile."""
    requests = encode_requests(request_bodies(harness.seed, SIZE, DISTINCT_REQUESTS), SIZE)

    cores = sorted(os.sched_getaffinity(0))

    def rate(workers: int, *, core_count: int = len(cores)) -> float:
        with harness.gateway(meta=UNREACHABLE_META, workers=workers) as gateway:
            pin_to_cores(gateway.pid, cores[:core_count])
            return harness.closed_loop(gateway.server, requests, SIZE, profile.seconds).events_per_second

    try:
        two, one, pinned = alternate(profile.rounds, partial(rate, 2), partial(rate, 1), partial(rate, 1, core_count=1))
    except GatewayError as error:
        return Result("workers", [], f"not measured: the gateway did not start with two workers: {str(error)[:200]}")
    name = "two workers, until durable"
    against_any = median_row(name, two, "events/s", "one worker on all cores", one, target="workers")
    if len(cores) >= ENOUGH_CORES:
        return Result("workers", [against_any])
    caveat = f"{len(cores)} cores, shared with the generator; ratio to one worker on all cores: {against_any.ratio:.2f}"
    against_pinned = median_row(
        name, two, "events/s", "one worker on one core", pinned, target="workers", caveat=caveat
    )
    return Result("workers", [against_pinned, replace(against_any, target="")])
