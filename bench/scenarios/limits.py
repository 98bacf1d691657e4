"""Maximum rates of the load generator, the aiohttp handlers and the sandbox.

A figure of another scenario that is close to one of these rates is limited by the benchmark, not by the gateway.
"""

from __future__ import annotations

import tomllib

from bench.harness import Harness, Profile, alternate
from bench.processes import host_and_port
from bench.requests import Requests, encode_request
from bench.result import Result, median_row
from bench.workload import UNREACHABLE_META, encode_requests, gateway_settings, mapped_bodies, request_bodies
from gateway.config import parse
from gateway.demo.sales import EVENT_SETS
from gateway.meta.request import RequestBuilder
from gateway.model import Lane, join_events

DISTINCT_SALES = 3000
UPLOAD_EVENTS = 1000
"""Events per upload request, as the gateway sends them under load."""


def run(harness: Harness, profile: Profile) -> Result:
    """Measure the generator with plain sockets, then the aiohttp handlers and the sandbox."""
    requests = encode_requests(request_bodies(harness.seed, 1, DISTINCT_SALES), 1)
    upload = _upload_request(harness)
    generator_cores: list[float] = []

    def generator_rate() -> float:
        load = harness.closed_loop(harness.baseline("bare"), requests, 1, profile.seconds)
        generator_cores.append(load.generator_cores)
        return load.events_per_second

    def handler_rate(name: str) -> float:
        return harness.closed_loop(harness.baseline(name), requests, 1, profile.seconds).events_per_second

    def sandbox_rate() -> float:
        address = host_and_port(harness.sandbox_url)
        return harness.closed_loop(address, upload, UPLOAD_EVENTS, profile.seconds).events_per_second

    bare, reads, decodes, sandbox = alternate(
        profile.side_rounds,
        generator_rate,
        lambda: handler_rate("read"),
        lambda: handler_rate("decode"),
        sandbox_rate,
    )
    note = f"the generator used {max(generator_cores):.2f} of a core"
    rows = [
        median_row("load generator, single events to plain sockets", bare, "events/s", note=note),
        median_row("aiohttp handler that reads", reads, "events/s"),
        median_row("aiohttp handler that decodes", decodes, "events/s"),
        median_row(f"sandbox, uploads of {UPLOAD_EVENTS:,} events", sandbox, "events/s"),
    ]
    return Result("limits of the benchmark", rows)


def _upload_request(harness: Harness) -> Requests:
    """Build one upload request with the gateway's own request builder."""
    settings = parse(tomllib.loads(gateway_settings(UNREACHABLE_META, harness.folder)))
    builder = RequestBuilder(settings.destinations["store"])
    bodies = mapped_bodies(harness.seed, UPLOAD_EVENTS, harness.folder)
    upload = builder.build(Lane("store", EVENT_SETS["Purchase"], ""), join_events(bodies), "bench")
    path = "/" + upload.url.split("/", 3)[3]
    return Requests([encode_request(path, upload.body, "")])
