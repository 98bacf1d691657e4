"""Weeks of Meta's outages in seconds: the real batchers, lanes and rate limiters on virtual time.

The spool fails now and then, and the process is stopped while calls are in flight and started again.

A failing seed prints the command that replays it. GATEWAY_SIMULATION_SEEDS=1000 runs more seeds.
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
from tests.delivery.harness import START, DeliveryHarness
from tests.delivery.virtual_time import run
from tests.simulation.faulty_meta import FAULTS, FaultyMeta, is_bad

SEEDS = int(os.environ.get("GATEWAY_SIMULATION_SEEDS", "200"))
FIRST = int(os.environ.get("GATEWAY_SIMULATION_FIRST", "0"))
HOURS = 4.0
RATE = 5.0
LANES = [Lane("store", str(number), "tag") for number in (1, 2, 3)]
FAULTY_LANE, *OTHER_LANES = LANES
MAX_DELIVERY_SECONDS = 2000.0
"""More than the longest interval between two probes, and a throttle."""


class FailingSpool(MemorySpool):
    """Raises an error in one of fifty calls."""

    def __init__(self, random: Random) -> None:
        super().__init__(max_bytes=2**30, clock=lambda: START + asyncio.get_running_loop().time())
        self.random = random
        self.errors = 0

    def _fail_at_random(self) -> None:
        if self.random.random() < 0.02:
            self.errors += 1
            raise SpoolUnavailable("an I/O error")

    async def read(self, *arguments: Any) -> Any:
        self._fail_at_random()
        return await super().read(*arguments)

    async def acknowledge(self, *arguments: Any, **keywords: Any) -> Any:
        self._fail_at_random()
        return await super().acknowledge(*arguments, **keywords)


async def simulate(seed: int) -> tuple[int, Counter[str], int]:
    """Run and check one simulation. Returns its number of calls, its faults by kind, and its number of events."""
    random = Random(seed)
    meta = FaultyMeta(random, FAULTY_LANE.event_set, HOURS * 3600, rate_limit=random.choice((60, 600)))
    spool = FailingSpool(random)
    settings: dict[str, Any] = {
        "upload": {"requests_per_second": RATE, "concurrency": random.choice((1, 4))},
        "batch": {"max_age": random.choice((1.0, 30.0)), "max_events": random.choice((50, 1000))},
    }
    loop = asyncio.get_running_loop()
    accepted: list[tuple[Lane, float]] = []
    calls, refused = 0, 0
    stops = sorted(random.uniform(0, HOURS * 3600) for _ in range(random.choice((0, 1, 3))))
    for end in [*stops, HOURS * 3600]:
        harness = DeliveryHarness(meta.respond, spool, **settings)
        harness.next_number = len(accepted)
        async with harness.open():
            while loop.time() < end:
                lane = random.choice(LANES)
                accepted += [(lane, loop.time())] * len(await harness.accept(random.randint(1, 60), lane))
                assert harness.is_balanced()
                await asyncio.sleep(random.expovariate(1 / 240))
            if end == HOURS * 3600:
                assert_no_lane_starved(meta, accepted)
                # From here on Meta is healthy, so all events are delivered.
                await harness.wait_until_empty(within=6 * 3600)
                assert harness.ledger.waiting == 0
        assert harness.is_balanced()
        assert_rate_not_exceeded(harness)
        meta.throttled_until = 0.0  # a new process does not know of earlier throttles
        calls += len(harness.meta.calls)
        refused += harness.ledger.calls["store", "events_refused"] + harness.ledger.calls["store", "batch_refused"]
    assert_every_event_ended_once(meta, await dead_numbers(spool), len(accepted))
    assert meta.too_early == 0, f"{meta.too_early} calls were sent during a throttle"
    assert refused <= max_refused_calls(settings, sum(map(is_bad, range(len(accepted)))), len(stops))
    meta.faults["spool error"] = spool.errors
    meta.faults["process stopped"] = len(stops)
    return calls, meta.faults, len(accepted)


def assert_no_lane_starved(meta: FaultyMeta, accepted: list[tuple[Lane, float]]) -> None:
    """A lane whose event set is healthy delivers its events, however faulty another one is."""
    now = asyncio.get_running_loop().time()
    for healthy_lane in OTHER_LANES:
        if meta.healthy_for(healthy_lane.event_set) > MAX_DELIVERY_SECONDS:
            late = [
                number
                for number, (lane, at) in enumerate(accepted)
                if lane == healthy_lane
                and at < now - MAX_DELIVERY_SECONDS
                and not is_bad(number)
                and number not in meta.accepted
            ]
            assert not late, f"{len(late)} events of lane {healthy_lane} starved"


def assert_rate_not_exceeded(harness: DeliveryHarness) -> None:
    by_lane: dict[str, list[float]] = defaultdict(list)
    for call in harness.meta.calls:
        by_lane[call.url].append(call.at)
    for times in by_lane.values():
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert not gaps or min(gaps) >= 1 / RATE - 1e-5, "calls follow each other faster than requests_per_second"


def assert_every_event_ended_once(meta: FaultyMeta, dead: list[int], count: int) -> None:
    assert sorted(dead) == [number for number in range(count) if is_bad(number)]
    assert sorted(meta.accepted) == [number for number in range(count) if not is_bad(number)]
    assert max(meta.accepted.values()) == 1, "an event was in two calls with a successful response"


async def dead_numbers(spool: MemorySpool) -> list[int]:
    """Numbers of the events in the dead letters."""
    import orjson

    await spool.open()
    return [orjson.loads(letter.event or b"")["n"] for _, letter in await spool.dead_letters(limit=10**6)]


def max_refused_calls(settings: dict[str, Any], bad: int, stops: int) -> int:
    """The most calls that may be refused.

    Each bad event costs a call for each time that its sub-batch is halved, and one for itself. A stop may make every
    batch in flight start again.
    """
    halvings = math.ceil(math.log2(settings["batch"]["max_events"])) + 1
    concurrency: int = settings["upload"]["concurrency"]
    return bad * halvings + stops * len(LANES) * concurrency * halvings


@pytest.mark.timeout(0)
def test_outages_lose_no_event_deliver_none_twice_and_starve_no_lane(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "gateway.delivery")  # thousands of expected lines
    calls = events = 0
    faults: Counter[str] = Counter()
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            seed_calls, seed_faults, seed_events = run(simulate(seed))
        except BaseException as problem:  # noqa: BLE001 (the message names the seed for any error)
            pytest.fail(
                f"seed {seed}: {problem!r}\n"
                f"GATEWAY_SIMULATION_FIRST={seed} GATEWAY_SIMULATION_SEEDS=1 make test ARGS=tests/simulation"
            )
        calls += seed_calls
        events += seed_events
        faults += seed_faults
    print(
        f"{SEEDS} seeds, {SEEDS * HOURS:.0f} simulated hours, {events} events, {calls} calls, faults: "
        + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    )
    if SEEDS >= 50:
        assert set(FAULTS) < set(faults)
        assert len(faults) == len(FAULTS) + 6, f"not every kind of fault occurred: {faults}"


def test_a_seed_gives_the_same_run_each_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "gateway.delivery")
    assert run(simulate(FIRST)) == run(simulate(FIRST))
