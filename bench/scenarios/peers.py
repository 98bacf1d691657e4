"""Others, in the same run, where they are there: Meta's SDK in this process, any HTTP service at an address."""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import orjson

from bench import load
from bench.processes import address
from bench.result import Result, Row
from bench.rig import Form, Rig, bodies, rate, requests
from bench.scenarios.mapper import destination_mapper, sample
from gateway.model import JsonObject

EVENTS = 400


def run(rig: Rig, form: Form, peer: str | None = None) -> Result:
    """The mapper beside `facebook_business`, and another service beside the gateway."""
    rows = []
    if importlib.util.find_spec("facebook_business"):
        rows.append(_sdk(form))
    if peer:
        rows.append(_service(rig, form, peer))
    note = "" if rows else "facebook_business is not installed, and no --peer was named: nothing to measure"
    return Result("peers", rows, note)


def _sdk(form: Form) -> Row:
    """Building, normalising and hashing of the same sales."""
    serverside = "facebook_business.adobjects.serverside"
    event_class: Any = importlib.import_module(f"{serverside}.event").Event
    user_class: Any = importlib.import_module(f"{serverside}.user_data").UserData

    mapper = destination_mapper()
    raws = [orjson.dumps(sample(number)) for number in range(EVENTS)]
    now = int(time.time())

    def theirs(event: JsonObject) -> object:
        traits = event["traits"]
        address_ = traits["address"]
        user = user_class(
            email=traits["email"],
            phone=traits["phone"],
            gender=traits["gender"][:1],
            first_name=traits["firstName"],
            last_name=traits["lastName"],
            city=address_["city"],
            state=address_["state"],
            zip_code=address_["postalCode"],
            country_code="us",
            external_id=event["userId"],
        )
        made = event_class(event_name="AddToCart", event_time=now, user_data=user, action_source="physical_store")
        return made.normalize()

    def timed(work: Callable[[JsonObject], object]) -> float:
        begun = time.thread_time()
        for raw in raws:
            work(orjson.loads(raw))
        return EVENTS / (time.thread_time() - begun)

    rounds = [(timed(lambda event: mapper.map(event, now)), timed(theirs)) for _ in range(3 * form.rounds)]
    ours, sdk = (statistics.median(found) for found in zip(*rounds, strict=True))
    return Row("the mapper", ours, "events/s", "facebook_business, the same identity", sdk)


def _service(rig: Rig, form: Form, peer: str) -> Row:
    """Batches of 100 to `/v1/batch`, as a closed loop."""
    sent = requests(bodies(rig.seed, 100, 40), 100)
    with rig.gateway() as gateway:
        ours: load.Load = rig.run(rate(gateway.server, sent, 100, form.seconds))
        theirs: load.Load = rig.run(rate(address(peer), sent, 100, form.seconds))
    return Row("batches of 100, durable", ours.events_per_second, "events/s", peer, theirs.events_per_second)
