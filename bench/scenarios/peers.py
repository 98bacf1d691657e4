"""Others in the same run, where they are there: Meta's SDK in this process, any HTTP service at an address.

The SDK gives a dictionary, the mapper the encoded bytes; both begin with the bytes of the call. A service is sent what
the gateway is sent: batches of 100 at `/v1/batch` with the write key as the user name.
"""

from __future__ import annotations

import importlib
import itertools
import time
from collections.abc import Callable
from typing import Any

import orjson

from bench.harness import Harness, Profile, in_turn
from bench.processes import address
from bench.result import Result, Row, measured
from bench.scenarios.mapper import destination_mapper, sample
from bench.workload import WRITE_KEY, bodies, requests
from gateway.model import JsonObject

EVENTS = 400
SIZE = 100
DISTINCT = 40


def run(harness: Harness, profile: Profile) -> Result:
    """The mapper beside `facebook_business`, and another service beside the gateway."""
    rows, notes = [], []
    try:
        rows.append(_sdk(profile))
    except ImportError as error:
        notes.append(f"facebook_business is not installed, or not whole ({error})")
    if harness.peer:
        rows.append(_service(harness, profile, harness.peer))
    else:
        notes.append("no --peer was named")
    return Result("peers", rows, "; ".join(notes))


def _sdk(profile: Profile) -> Row:
    """Building, normalising and hashing of the same sales."""
    serverside = "facebook_business.adobjects.serverside"
    event_class: Any = importlib.import_module(f"{serverside}.event").Event
    user_class: Any = importlib.import_module(f"{serverside}.user_data").UserData

    gender: Any = importlib.import_module(f"{serverside}.gender").Gender
    action_source: Any = importlib.import_module(f"{serverside}.action_source").ActionSource

    mapper = destination_mapper()
    customers = itertools.count()
    now = int(time.time())

    def theirs(event: JsonObject) -> object:
        traits = event["traits"]
        address_ = traits["address"]
        user = user_class(
            email=traits["email"],
            phone=traits["phone"],
            gender=gender.MALE if traits["gender"] == "male" else gender.FEMALE,
            first_name=traits["firstName"],
            last_name=traits["lastName"],
            city=address_["city"],
            state=address_["state"],
            zip_code=address_["postalCode"],
            country_code="us",
            external_id=event["userId"],
        )
        made = event_class(
            event_name="AddToCart", event_time=now, user_data=user, action_source=action_source.PHYSICAL_STORE
        )
        return made.normalize()

    def timed(work: Callable[[JsonObject], object]) -> float:
        # New customers each time, so that the caches of the mapper, which the SDK has not, help nobody.
        raws = [orjson.dumps(sample(next(customers))) for _ in range(EVENTS)]
        begun = time.thread_time()
        for raw in raws:
            work(orjson.loads(raw))
        return EVENTS / (time.thread_time() - begun)

    ours, sdk = in_turn(
        3 * profile.rounds,
        lambda: timed(lambda event: mapper.map(event, now)),
        lambda: timed(theirs),
    )
    return measured("the mapper", ours, "events/s", "facebook_business, the same identity", sdk)


def _service(harness: Harness, profile: Profile, peer: str) -> Row:
    """Batches of 100 to `/v1/batch`, as a closed loop."""
    given = bodies(harness.seed, SIZE, DISTINCT)
    mine, its = requests(given, SIZE), requests(given, SIZE, write_key=harness.peer_key or WRITE_KEY)
    with harness.gateway(max_age=0.5) as gateway:

        def ours() -> float:
            found = harness.closed(gateway.server, mine, SIZE, profile.seconds).events_per_second
            gateway.drained()
            return found

        def theirs() -> float:
            return harness.closed(address(peer), its, SIZE, profile.seconds).events_per_second

        measured_, others = in_turn(profile.rounds, ours, theirs)
    return measured("batches of 100, acknowledged", measured_, "events/s", peer, others)
