"""A healthy destination beside one whose every call is refused, against the same without the sick one's events."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Sequence

from bench.harness import DRAIN_SECONDS, POLL, Gateway, Harness, Profile, in_turn
from bench.requests import Requests
from bench.result import Result, measured
from bench.workload import WRITE_KEY, bodies, requests
from gateway.demo.sales import EVENT_SETS

SIZE = 100


def run(harness: Harness, profile: Profile) -> Result:
    """Two destinations; the event sets of the second answer with 500, so its lanes fill, wait and try again."""
    sick = [str(int(value) + 1) for value in EVENT_SETS.values()]
    sent = requests(bodies(harness.seed, SIZE, profile.total // SIZE), SIZE, write_key=f"{WRITE_KEY}-0")
    ill = requests(bodies(harness.seed + 1, SIZE, profile.total // SIZE // 2), SIZE, write_key=f"{WRITE_KEY}-1")

    def speed(*, with_sick: bool) -> float:
        _faults(harness, sick if with_sick else [])
        with harness.gateway(destinations=2, max_age=0.5) as gateway:
            if with_sick:
                harness.every(gateway.server, ill, SIZE)
            found = _healthy(harness, gateway, sent)
        _faults(harness, [])
        return found

    beside, alone = in_turn(profile.side_rounds, lambda: speed(with_sick=True), lambda: speed(with_sick=False))
    note = f"{len(ill) * SIZE:,} events wait in sick lanes meanwhile"
    row = measured("healthy destination, until delivered", beside, "events/s", "no sick one", alone, note=note)
    return Result("a sick lane beside healthy ones", [row])


def _healthy(harness: Harness, gateway: Gateway, sent: Requests) -> float:
    """Events a second of the healthy destination until all of them are delivered."""
    begun = time.perf_counter()
    harness.every(gateway.server, sent, SIZE)
    while time.perf_counter() - begun < DRAIN_SECONDS:
        lanes = gateway.status()["lanes"]
        healthy = [lane for lane in lanes if lane["destination"] == "store-0"]
        if not any(lane["waiting"] for lane in healthy):
            if sum(lane["delivered"] for lane in healthy) != len(sent) * SIZE:
                raise SystemExit(f"the healthy destination did not deliver all: {healthy}")
            return len(sent) * SIZE / (time.perf_counter() - begun)
        time.sleep(POLL)
    raise SystemExit("the healthy destination was not drained beside a sick one")


def _faults(harness: Harness, event_sets: Sequence[str]) -> None:
    url = f"{harness.meta}/_sandbox/faults"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()  # noqa: S310 (our own process)
    for event_set in event_sets:
        fault = json.dumps({"event_set": event_set, "status": 500}).encode()
        urllib.request.urlopen(urllib.request.Request(url, fault)).close()  # noqa: S310
