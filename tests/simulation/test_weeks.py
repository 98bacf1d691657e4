"""Weeks of Meta's bad days in seconds: the real buffers, lanes and pace on virtual time.

The spool fails now and then, and the process is stopped in the middle of calls and started again.

A failing seed prints the one command that replays it. GATEWAY_SIMULATION_SEEDS=1000 runs more of them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import os
from collections import Counter, defaultdict
from random import Random
from typing import Any

import pytest

from gateway.model import Lane
from gateway.spool import SpoolUnavailable
from gateway.spool.memory import MemorySpool
from tests.delivery.harness import START, Field
from tests.delivery.virtual_time import run
from tests.simulation.meta import SPELLS, BadDays, is_bad

SEEDS = int(os.environ.get("GATEWAY_SIMULATION_SEEDS", "200"))
FIRST = int(os.environ.get("GATEWAY_SIMULATION_FIRST", "0"))
HOURS = 4.0
RATE = 5.0
LANES = [Lane("store", str(number), "tag") for number in (1, 2, 3)]
SICK, *HEALTHY = LANES
PATIENCE = 2000.0
"""Seconds: more than the longest wait between two probes, and a throttle."""


class Fickle(MemorySpool):
    """Does not answer one call in fifty."""

    def __init__(self, random: Random) -> None:
        super().__init__(max_bytes=2**30, clock=lambda: START + asyncio.get_running_loop().time())
        self.random = random
        self.refusals = 0

    def _perhaps(self) -> None:
        if self.random.random() < 0.02:
            self.refusals += 1
            raise SpoolUnavailable("an I/O error")

    async def read(self, *arguments: Any) -> Any:
        self._perhaps()
        return await super().read(*arguments)

    async def acknowledge(self, *arguments: Any, **named: Any) -> Any:
        self._perhaps()
        return await super().acknowledge(*arguments, **named)


async def simulate(seed: int) -> tuple[int, Counter[str], int]:
    """One run, checked; its calls, faults by kind, and events."""
    random = Random(seed)
    meta = BadDays(random, SICK.event_set, HOURS * 3600, allowance=random.choice((60, 600)))
    spool = Fickle(random)
    settings: dict[str, Any] = {
        "upload": {"requests_per_second": RATE, "concurrency": random.choice((1, 4))},
        "batch": {"max_age": random.choice((1.0, 30.0)), "max_events": random.choice((50, 1000))},
    }
    loop = asyncio.get_running_loop()
    accepted: list[tuple[Lane, float]] = []
    calls, refused = 0, 0
    ends = sorted(random.uniform(0, HOURS * 3600) for _ in range(random.choice((0, 1, 3))))
    for end in [*ends, HOURS * 3600]:
        env = Field(meta.answer, spool, **settings)
        env.count = len(accepted)
        async with env.open():
            while loop.time() < end:
                lane = random.choice(LANES)
                accepted += [(lane, loop.time())] * len(await env.accept(random.randint(1, 60), lane))
                assert env.adds_up()
                await asyncio.sleep(random.expovariate(1 / 240))
            if end == HOURS * 3600:
                none_starved(meta, accepted)
                # Meta is well from here on: everything drains.
                await env.settled(within=6 * 3600)
                assert env.ledger.waiting == 0
        assert env.adds_up()
        never_too_fast(env)
        meta.throttled_until = 0.0  # a new process does not know what an earlier one was told
        calls += len(env.meta.calls)
        refused += env.ledger.calls["store", "events_refused"] + env.ledger.calls["store", "batch_refused"]
    everything_ended_once(meta, await dead_of(spool), len(accepted))
    assert meta.too_early == 0, f"{meta.too_early} calls were sent while a throttle's time was running"
    assert refused <= bound_of(settings, sum(map(is_bad, range(len(accepted)))), len(ends))
    meta.faults["spool did not answer"] = spool.refusals
    meta.faults["process stopped"] = len(ends)
    return calls, meta.faults, len(accepted)


def none_starved(meta: BadDays, accepted: list[tuple[Lane, float]]) -> None:
    """A lane whose event set is well delivers, however sick its neighbour is."""
    now = asyncio.get_running_loop().time()
    for lane in HEALTHY:
        if meta.well_for(lane.event_set) > PATIENCE:
            late = [
                number
                for number, (its_lane, at) in enumerate(accepted)
                if its_lane == lane and at < now - PATIENCE and not is_bad(number) and number not in meta.taken
            ]
            assert not late, f"{len(late)} events of lane {lane} starved"


def never_too_fast(env: Field) -> None:
    by_lane: dict[str, list[float]] = defaultdict(list)
    for call in env.meta.calls:
        by_lane[call.url].append(call.at)
    for times in by_lane.values():
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert not gaps or min(gaps) >= 1 / RATE - 1e-5, "calls follow each other faster than is allowed"


def everything_ended_once(meta: BadDays, dead: list[int], count: int) -> None:
    assert sorted(dead) == [number for number in range(count) if is_bad(number)]
    assert sorted(meta.taken) == [number for number in range(count) if not is_bad(number)]
    assert max(meta.taken.values()) == 1, "an event was delivered twice by answers of success"


async def dead_of(spool: MemorySpool) -> list[int]:
    import orjson

    await spool.open()
    return [orjson.loads(letter.event or b"")["n"] for _, letter in await spool.dead_letters(limit=10**6)]


def bound_of(settings: dict[str, Any], bad: int, stops: int) -> int:
    """Calls that may be refused: for each bad event the times that its part is halved, and it alone; a stop in the
    middle has each batch in hand begin anew."""
    halvings = math.ceil(math.log2(settings["batch"]["max_events"])) + 1
    concurrency: int = settings["upload"]["concurrency"]
    return bad * halvings + stops * len(LANES) * concurrency * halvings


@pytest.mark.timeout(0)
def test_no_weather_loses_doubles_or_starves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "gateway.delivery")  # thousands of lines of what is meant to happen
    calls = events = 0
    faults: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            one_calls, one_faults, one_events = run(simulate(seed))
        except BaseException as problem:  # noqa: BLE001 (whatever it is, it names the seed)
            pytest.fail(
                f"seed {seed}: {problem!r}\n"
                f"GATEWAY_SIMULATION_FIRST={seed} GATEWAY_SIMULATION_SEEDS=1 make test ARGS=tests/simulation"
            )
        calls += one_calls
        events += one_events
        faults += one_faults
    print(
        f"{SEEDS} seeds, {SEEDS * HOURS:.0f} simulated hours, {events} events, {calls} calls, faults: "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    )
    if SEEDS >= 50:
        assert set(SPELLS) < set(faults)
        assert len(faults) == len(SPELLS) + 6, f"not every kind of fault was met: {faults}"


def test_a_seed_gives_the_same_run_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "gateway.delivery")
    assert run(simulate(FIRST)) == run(simulate(FIRST))
