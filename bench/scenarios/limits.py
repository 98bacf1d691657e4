"""What the bench's own processes do at most: figures near these would say more of them than of the gateway."""

from __future__ import annotations

import tomllib

from bench.harness import Harness, Profile, in_turn
from bench.processes import address
from bench.requests import Requests, request
from bench.result import Result, measured
from bench.workload import REFUSING, bodies, mapped, requests, settings
from gateway.config import parse
from gateway.demo.sales import EVENT_SETS
from gateway.meta.request import RequestBuilder
from gateway.model import Lane, join_events

CALLS = 3000
LARGEST_CALL = 1000
"""Events of a call, as the gateway makes them under load."""


def run(harness: Harness, profile: Profile) -> Result:
    """The load generator against bare sockets, the aiohttp handlers, and the stand-in alone."""
    sent = requests(bodies(harness.seed, 1, CALLS), 1)
    calls = _calls(harness)
    shares: list[float] = []

    def generator() -> float:
        found = harness.closed(harness.floor("bare"), sent, 1, profile.seconds)
        shares.append(found.generator_share)
        return found.events_per_second

    bare, reads, decodes, stand_in = in_turn(
        profile.side_rounds,
        generator,
        lambda: harness.closed(harness.floor("read"), sent, 1, profile.seconds).events_per_second,
        lambda: harness.closed(harness.floor("decode"), sent, 1, profile.seconds).events_per_second,
        lambda: harness.closed(address(harness.meta), calls, LARGEST_CALL, profile.seconds).events_per_second,
    )
    used = f"the generator used {max(shares):.2f} of a core"
    rows = [
        measured("load generator, single events to bare sockets", bare, "events/s", note=used),
        measured("aiohttp handler that reads", reads, "events/s"),
        measured("aiohttp handler that decodes", decodes, "events/s"),
        measured(f"the stand-in for Meta, calls of {LARGEST_CALL:,}", stand_in, "events/s"),
    ]
    return Result("limits of the bench itself", rows)


def _calls(harness: Harness) -> Requests:
    """A call as the gateway's own uploader shapes it."""
    destination = parse(tomllib.loads(settings(REFUSING, harness.folder))).destinations["store"]
    builder = RequestBuilder(destination)
    events = mapped(harness.seed, LARGEST_CALL, harness.folder)
    call = builder.build(Lane("store", EVENT_SETS["Purchase"], ""), join_events(events), "bench")
    path = "/" + call.url.split("/", 3)[3]
    return Requests([request(path, call.body, "")])
