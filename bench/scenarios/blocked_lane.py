"""Rate of a healthy destination while uploads of another one fail, compared with the rate without failing uploads."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Sequence

from bench.harness import DRAIN_TIMEOUT, POLL_INTERVAL, Gateway, Harness, Profile, alternate
from bench.requests import Requests
from bench.result import Result, median_row
from bench.workload import WRITE_KEY, encode_requests, request_bodies
from gateway.demo.sales import EVENT_SETS

SIZE = 100


def run(harness: Harness, profile: Profile) -> Result:
    """Run two destinations. The sandbox answers with 500 for the second one, so its lanes fill and retry."""
    failing_event_sets = [str(int(value) + 1) for value in EVENT_SETS.values()]
    healthy = encode_requests(
        request_bodies(harness.seed, SIZE, profile.total // SIZE), SIZE, write_key=f"{WRITE_KEY}-0"
    )
    failing = encode_requests(
        request_bodies(harness.seed + 1, SIZE, profile.total // SIZE // 2), SIZE, write_key=f"{WRITE_KEY}-1"
    )

    def rate(*, with_failures: bool) -> float:
        _set_faults(harness, failing_event_sets if with_failures else [])
        with harness.gateway(destinations=2, max_age=0.5) as gateway:
            if with_failures:
                harness.send_all(gateway.server, failing, SIZE)
            healthy_rate = _healthy_rate(harness, gateway, healthy)
        _set_faults(harness, [])
        return healthy_rate

    with_failures, without = alternate(
        profile.side_rounds, lambda: rate(with_failures=True), lambda: rate(with_failures=False)
    )
    row = median_row(
        "healthy destination, until delivered",
        with_failures,
        "events/s",
        "without failing uploads",
        without,
        note=f"backlog of the failing destination: {len(failing) * SIZE:,} events",
    )
    return Result("a healthy destination beside one with failing uploads", [row])


def _healthy_rate(harness: Harness, gateway: Gateway, requests: Requests) -> float:
    """Return events per second of the healthy destination until all of them are delivered."""
    started = time.perf_counter()
    harness.send_all(gateway.server, requests, SIZE)
    while time.perf_counter() - started < DRAIN_TIMEOUT:
        lanes = [lane for lane in gateway.status()["lanes"] if lane["destination"] == "store-0"]
        if not any(lane["waiting"] for lane in lanes):
            if sum(lane["delivered"] for lane in lanes) != len(requests) * SIZE:
                raise SystemExit(f"the healthy destination did not deliver all events: {lanes}")
            return len(requests) * SIZE / (time.perf_counter() - started)
        time.sleep(POLL_INTERVAL)
    raise SystemExit(f"the healthy destination did not deliver all events within {DRAIN_TIMEOUT:g} s")


def _set_faults(harness: Harness, event_sets: Sequence[str]) -> None:
    """Make the sandbox answer with 500 for these event sets only."""
    url = f"{harness.sandbox_url}/_sandbox/faults"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()  # noqa: S310 (our own process)
    for event_set in event_sets:
        fault = json.dumps({"event_set": event_set, "status": 500}).encode()
        urllib.request.urlopen(urllib.request.Request(url, fault)).close()  # noqa: S310
