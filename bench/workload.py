"""What is sent and to what settings: made-up sales as requests, and a gateway's file."""

from __future__ import annotations

import base64
import re
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import orjson

from bench.requests import Requests, request
from gateway.config import parse
from gateway.demo.sales import EVENT_SETS, EVENTS_TO_STANDARD, Sales
from gateway.mapping import Mapper, compile_mapper

WRITE_KEY = "bench"
SHA256 = re.compile(rb'"[0-9a-f]{64}"')
REFUSING = "http://127.0.0.1:9"
"""Where nobody listens: what waits stays."""


def settings(
    meta: str,
    folder: Path,
    *,
    engine: str = "sqlite",
    workers: int = 1,
    destinations: int = 1,
    one_event_set: bool = False,
    max_age: float = 5.0,
) -> str:
    """A gateway as its defaults make it, that may upload as fast as the stand-in answers.

    Each destination has event sets and a source of its own, or a single event set for everything.
    """
    standard = ", ".join(f'"{name}" = ["{wanted}"]' for name, wanted in EVENTS_TO_STANDARD.items())
    several = destinations > 1
    given = dict.fromkeys(EVENT_SETS, next(iter(EVENT_SETS.values()))) if one_event_set else EVENT_SETS
    parts = [
        f"""
[server]
port = 0
drain_delay = 0
workers = {workers}
[admin]
port = 0
[spool]
engine = "{engine}"
path = "{folder / "spool"}"
"""
    ]
    for number in range(destinations):
        mark = f"-{number}" if several else ""
        sets = {name: f"{int(value) + number}" for name, value in given.items()}
        event_sets = ", ".join(f'{name} = ["{value}"]' for name, value in sets.items())
        parts.append(
            f"""
[sources.bench{mark}]
write_key = "{WRITE_KEY}{mark}"
destinations = ["store{mark}"]
[destinations.store{mark}]
api = "conversions"
access_token = "bench"
events_to_standard = {{ {standard} }}
standard_to_event_sets = {{ {event_sets} }}
batch.max_age = {max_age}
upload.graph_url = "{meta}"
upload.requests_per_second = 1000
"""
        )
    return "".join(parts)


def bodies(seed: int, size: int, count: int, *, padding: int = 0, tags: int = 0) -> list[bytes]:
    """Requests' bodies with `size` sales each: single calls for 1, else batches. `tags`: distinct upload tags."""
    events = Sales(seed, bad_share=0.0).events(size * count)
    for number, event in enumerate(events):
        if padding:
            event["properties"] = {**event["properties"], "note": "x" * padding}
        if tags:
            event["properties"] = {**event["properties"], "upload_tag": f"tag-{number % tags}"}
    if size == 1:
        return [orjson.dumps(event) for event in events]
    return [orjson.dumps({"batch": events[start : start + size]}) for start in range(0, len(events), size)]


def requests(given: Sequence[bytes], size: int, *, write_key: str = WRITE_KEY, encoding: str = "") -> Requests:
    """Whole requests of bodies. Encoded ones cannot be stamped, so each is for once."""
    authorization = "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()
    path = "/v1/track" if size == 1 else "/v1/batch"
    return Requests([request(path, body, authorization, encoding) for body in given], stamps=not encoding)


def mapper_of(folder: Path) -> Mapper:
    """The mapper that a gateway of `settings` has."""
    return compile_mapper("store", parse(tomllib.loads(settings(REFUSING, folder))).destinations["store"])


def mapped(seed: int, count: int, folder: Path) -> list[bytes]:
    """Bodies of events as they wait in the spool."""
    mapper, now = mapper_of(folder), int(time.time())
    found = []
    for event in Sales(seed, bad_share=0.0).events(count):
        made = mapper.map(event, now)
        if not isinstance(made, list):
            raise SystemExit(f"the bench's event is not mapped: {made}")
        found += [one.body for one in made]
    return found


def hashes_of(body: bytes, folder: Path) -> list[int]:
    """How many personal values each event of a batch has, as the gateway itself maps it."""
    mapper, now = mapper_of(folder), int(time.time())
    made = (mapper.map(event, now) for event in orjson.loads(body)["batch"])
    return [len(SHA256.findall(one[0].body)) if isinstance(one, list) else 0 for one in made]
