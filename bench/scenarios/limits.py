"""What the bench's own processes do at most: figures near these would say more of them than of the gateway."""

from __future__ import annotations

import tomllib

from bench.processes import address
from bench.requests import Requests, request
from bench.result import Result, measured
from bench.rig import Form, Rig, in_turn
from bench.workload import REFUSING, bodies, mapped, requests, settings
from gateway.config import parse
from gateway.demo.sales import EVENT_SETS
from gateway.meta.request import RequestBuilder
from gateway.model import Lane, join_events

CALLS = 3000
LARGEST_CALL = 1000
"""Events of a call, as the gateway makes them under load."""


def run(rig: Rig, form: Form) -> Result:
    """The load generator against bare sockets, the aiohttp handlers, and the stand-in alone."""
    sent = requests(bodies(rig.seed, 1, CALLS), 1)
    calls = _calls(rig)
    shares: list[float] = []

    def generator() -> float:
        found = rig.closed(rig.floor("bare"), sent, 1, form.seconds)
        shares.append(found.generator_share)
        return found.events_per_second

    bare, reads, decodes, stand_in = in_turn(
        form.side_rounds,
        generator,
        lambda: rig.closed(rig.floor("read"), sent, 1, form.seconds).events_per_second,
        lambda: rig.closed(rig.floor("decode"), sent, 1, form.seconds).events_per_second,
        lambda: rig.closed(address(rig.meta), calls, LARGEST_CALL, form.seconds).events_per_second,
    )
    used = f"the generator used {max(shares):.2f} of a core"
    rows = [
        measured("load generator, single events to bare sockets", bare, "events/s", note=used),
        measured("aiohttp handler that reads", reads, "events/s"),
        measured("aiohttp handler that decodes", decodes, "events/s"),
        measured(f"the stand-in for Meta, calls of {LARGEST_CALL:,}", stand_in, "events/s"),
    ]
    return Result("limits of the bench itself", rows)


def _calls(rig: Rig) -> Requests:
    """A call as the gateway's own uploader shapes it."""
    destination = parse(tomllib.loads(settings(REFUSING, rig.folder))).destinations["store"]
    builder = RequestBuilder(destination)
    events = mapped(rig.seed, LARGEST_CALL, rig.folder)
    call = builder.build(Lane("store", EVENT_SETS["Purchase"], ""), join_events(events), "bench")
    path = "/" + call.url.split("/", 3)[3]
    return Requests([request(path, call.body, "")])
