"""Many lanes against one: the same sales spread over upload tags, sustained while they are uploaded."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import partial

from bench.harness import CONNECTIONS, Harness, Profile, in_turn
from bench.result import Result, Row, measured
from bench.workload import bodies, requests

LANES = (1, 16, 256)
FEW = (1, 256)
"""In a quick run."""
SIZE = 100
DISTINCT = 256
"""Requests: every tag has a hundred of their sales."""
RAMP = 5.5
"""Seconds of load before the clock starts: longer than the default `batch.max_age`, so that every lane has flushed."""
SPELL = 4.0
"""Seconds of load that count."""


@dataclass(slots=True)
class _Pace:
    """Events a second within the spell."""

    taken: float
    delivered: float


def run(harness: Harness, profile: Profile) -> Result:
    """One event set with so many upload tags; what counts is the lower of what is taken in and what is delivered."""
    wanted = LANES if profile.side_rounds > 1 else FEW
    sent = {lanes: requests(bodies(harness.seed, SIZE, DISTINCT, tags=lanes), SIZE) for lanes in wanted}
    paces: dict[int, list[_Pace]] = {lanes: [] for lanes in wanted}
    notes: dict[int, str] = {}

    def sustained(lanes: int) -> float:
        with harness.gateway(one_event_set=True) as gateway:
            seconds = RAMP + SPELL + 0.5
            harness.generator.start(gateway.server, sent[lanes], SIZE, seconds=seconds, connections=CONNECTIONS)
            time.sleep(RAMP)
            begun, before = time.perf_counter(), gateway.status()
            time.sleep(SPELL)
            elapsed, after = time.perf_counter() - begun, gateway.status()
            harness.generator.ended()
        taken, left = ((after["ledger"][key] - before["ledger"][key]) / elapsed for key in ("accepted", "delivered"))
        paces[lanes].append(_Pace(taken, left))
        if len(after["lanes"]) != lanes:
            raise SystemExit(f"there should be {lanes} lanes, and there are {len(after['lanes'])}")
        notes[lanes] = f"{after['events_per_batch']:.0f} events a call"
        return float(min(taken, left))

    found = in_turn(profile.side_rounds, *(partial(sustained, lanes) for lanes in wanted))
    rows: list[Row] = []
    for lanes, values in zip(wanted, found, strict=True):
        taken = statistics.median(pace.taken for pace in paces[lanes])
        left = statistics.median(pace.delivered for pace in paces[lanes])
        note = f"taken in {taken:,.0f}/s, delivered {left:,.0f}/s; {notes[lanes]}"
        if lanes == LANES[0]:
            rows.append(measured("1 lane, sustained", values, "events/s", note=note))
            continue
        bar = "lanes" if lanes == LANES[-1] else ""
        what = f"{lanes} lanes, sustained"
        rows.append(measured(what, values, "events/s", "1 lane", found[0], bar=bar, note=note))
    return Result("lanes", rows, "sustained: the lower of taken in and delivered, once every lane has flushed")
