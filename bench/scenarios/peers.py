"""Rate compared with other implementations: Meta's Python SDK if it is installed, and any HTTP service with `--peer`.

The SDK returns a dictionary, the mapper encoded bytes; both start from the bytes of a call. A service gets the same
requests as the gateway: batches of 100 at `/v1/batch` with the write key as the user name.
"""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable
from typing import Any

import orjson

from bench.harness import Harness, Profile, alternate
from bench.processes import host_and_port
from bench.result import Result, Row, median_row
from bench.scenarios.mapper import destination_mapper, sample
from bench.workload import WRITE_KEY, encode_requests, request_bodies
from gateway.model import JsonObject

EVENTS = 400
SIZE = 100
DISTINCT_REQUESTS = 40


def run(harness: Harness, profile: Profile) -> Result:
    """Compare the mapper with `facebook_business`, and the gateway with another service."""
    rows, notes = [], []
    try:
        rows.append(_compare_sdk(profile))
    except ImportError as error:
        notes.append(f"facebook_business was not measured: it is not installed or incomplete ({error})")
    if harness.peer:
        rows.append(_compare_service(harness, profile, harness.peer))
    else:
        notes.append("no service was measured: --peer is not given")
    return Result("peers", rows, "; ".join(notes))


def _compare_sdk(profile: Profile) -> Row:
    """Measure building, normalising and hashing of the same sales."""
    serverside = "facebook_business.adobjects.serverside"
    event_class: Any = importlib.import_module(f"{serverside}.event").Event
    user_class: Any = importlib.import_module(f"{serverside}.user_data").UserData

    gender: Any = importlib.import_module(f"{serverside}.gender").Gender
    action_source: Any = importlib.import_module(f"{serverside}.action_source").ActionSource

    mapper = destination_mapper()
    customers = itertools.count()
    now = int(time.time())

    def map_with_sdk(event: JsonObject) -> object:
        traits = event["traits"]
        address = traits["address"]
        user = user_class(
            email=traits["email"],
            phone=traits["phone"],
            gender=gender.MALE if traits["gender"] == "male" else gender.FEMALE,
            first_name=traits["firstName"],
            last_name=traits["lastName"],
            city=address["city"],
            state=address["state"],
            zip_code=address["postalCode"],
            country_code="us",
            external_id=event["userId"],
        )
        sdk_event = event_class(
            event_name="AddToCart", event_time=now, user_data=user, action_source=action_source.PHYSICAL_STORE
        )
        return sdk_event.normalize()

    def rate(map_event: Callable[[JsonObject], object]) -> float:
        # New customers each time: the mapper has caches and the SDK has none, so a repeat would favour the mapper.
        raws = [orjson.dumps(sample(next(customers))) for _ in range(EVENTS)]
        started = time.thread_time()
        for raw in raws:
            map_event(orjson.loads(raw))
        return EVENTS / (time.thread_time() - started)

    mapper_rates, sdk_rates = alternate(
        3 * profile.rounds,
        lambda: rate(lambda event: mapper.map(event, now)),
        lambda: rate(map_with_sdk),
    )
    return median_row("mapper", mapper_rates, "events/s", "facebook_business, same identity fields", sdk_rates)


def _compare_service(harness: Harness, profile: Profile, peer: str) -> Row:
    """Measure batches of 100 to `/v1/batch` as a closed loop."""
    bodies = request_bodies(harness.seed, SIZE, DISTINCT_REQUESTS)
    gateway_requests = encode_requests(bodies, SIZE)
    peer_requests = encode_requests(bodies, SIZE, write_key=harness.peer_key or WRITE_KEY)
    with harness.gateway(max_age=0.5) as gateway:

        def gateway_rate() -> float:
            load = harness.closed_loop(gateway.server, gateway_requests, SIZE, profile.seconds)
            gateway.wait_until_delivered()
            return load.events_per_second

        def peer_rate() -> float:
            return harness.closed_loop(host_and_port(peer), peer_requests, SIZE, profile.seconds).events_per_second

        gateway_rates, peer_rates = alternate(profile.rounds, gateway_rate, peer_rate)
    return median_row("batches of 100, acknowledged", gateway_rates, "events/s", peer, peer_rates)
