"""Many lanes against one, and a sick lane beside a healthy one."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request

import orjson

from bench import load
from bench.result import Result, Row
from bench.rig import Form, Gateway, Rig, bodies, in_turn, rate, requests
from gateway.demo.sales import EVENT_SETS, Sales

LANES = (1, 16, 256)
SIZE = 100
DISTINCT = 25_600
"""Sales that are sent over and over."""
LONG_ENOUGH = 11.0
"""Seconds of load: with the default `batch.max_age` of 5, every lane flushes more than once."""


def run(rig: Rig, form: Form) -> Result:
    """The same sales, with so many upload tags; then with an event set that Meta does not know beside them."""
    sent = {}
    for lanes in LANES:
        events = Sales(rig.seed, bad_share=0.0).events(DISTINCT)
        for number, event in enumerate(events):
            event["properties"] = {**event["properties"], "upload_tag": f"tag-{number % lanes}"}
        given = [orjson.dumps({"batch": events[start : start + SIZE]}) for start in range(0, DISTINCT, SIZE)]
        sent[lanes] = requests(given, SIZE)

    def speed(lanes: int) -> float:
        with rig.gateway() as gateway:
            found: load.Load = rig.run(rate(gateway.server, sent[lanes], SIZE, LONG_ENOUGH))
            return found.events_per_second

    one, few, many = (speed(lanes) for lanes in LANES)
    rows = [
        Row("1 upload tag", one, "events/s"),
        Row("16 upload tags", few, "events/s", "1 upload tag", one),
        Row("256 upload tags", many, "events/s", "1 upload tag", one, "lanes"),
    ]
    rows.append(_beside_a_sick_one(rig, form))
    return Result("lanes", rows)


def _beside_a_sick_one(rig: Rig, form: Form) -> Row:
    """Two destinations; every event set of the second is refused, so its lanes fill and wait."""
    sick = [str(int(value) + 1) for value in EVENT_SETS.values()]
    sent = requests(bodies(rig.seed, SIZE, form.total // SIZE), SIZE, mark="-0")
    ill = requests(bodies(rig.seed + 1, SIZE, form.total // SIZE // 2), SIZE, mark="-1")

    def speed(*, with_sick: bool) -> float:
        _faults(rig, [{"event_set": one, "status": 500} for one in sick] if with_sick else [])
        with rig.gateway(lanes=2, max_age=0.5) as gateway:
            if with_sick:
                rig.run(_taken(gateway.server, ill))
            found: float = rig.run(_healthy(gateway, sent))
        _faults(rig, [])
        return found

    beside, alone = in_turn(form.few, lambda: speed(with_sick=True), lambda: speed(with_sick=False))
    return Row("a healthy destination beside a sick one, until delivered", beside, "events/s", "alone", alone)


async def _taken(place: tuple[str, int], sent: list[bytes]) -> None:
    await load.closed_loop(*place, sent, connections=16, seconds=300, events_per_request=SIZE, most=len(sent))


async def _healthy(gateway: Gateway, sent: list[bytes]) -> float:
    """Events a second of the healthy destination until all of them are delivered."""
    begun = time.perf_counter()
    await _taken(gateway.server, sent)
    while True:
        lanes = (await gateway.status())["lanes"]
        if not any(lane["waiting"] for lane in lanes if lane["destination"] == "store-0"):
            return len(sent) * SIZE / (time.perf_counter() - begun)
        await asyncio.sleep(0.1)


def _faults(rig: Rig, faults: list[dict[str, object]]) -> None:
    url = f"{rig.meta}/_sandbox/faults"
    urllib.request.urlopen(urllib.request.Request(url, method="DELETE")).close()  # noqa: S310 (our own process)
    for fault in faults:
        urllib.request.urlopen(urllib.request.Request(url, json.dumps(fault).encode())).close()  # noqa: S310
