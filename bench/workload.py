"""The input of the benchmarks: generated sales encoded as requests, and the gateway's settings."""

from __future__ import annotations

import base64
import re
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import orjson

from bench.requests import Requests, encode_request
from gateway.config import parse
from gateway.demo.sales import EVENT_SETS, EVENTS_TO_STANDARD, Sales
from gateway.mapping import Mapper, compile_mapper

WRITE_KEY = "bench"
SHA256 = re.compile(rb'"[0-9a-f]{64}"')
UNREACHABLE_META = "http://127.0.0.1:9"
"""An address that refuses connections. A gateway that uploads to it delivers nothing."""


def gateway_settings(
    meta: str,
    folder: Path,
    *,
    engine: str = "sqlite",
    workers: int = 1,
    destinations: int = 1,
    one_event_set: bool = False,
    max_age: float = 5.0,
) -> str:
    """Return a settings file with the defaults, except for an upload rate limit that is never reached.

    Each destination has its own event sets and its own source. With `one_event_set`, all its events go to one event
    set. `max_age` is in seconds.
    """
    events_to_standard = ", ".join(f'"{name}" = ["{standard}"]' for name, standard in EVENTS_TO_STANDARD.items())
    event_set_ids = dict.fromkeys(EVENT_SETS, next(iter(EVENT_SETS.values()))) if one_event_set else EVENT_SETS
    sections = [
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
        suffix = f"-{number}" if destinations > 1 else ""
        event_sets = ", ".join(f'{name} = ["{int(value) + number}"]' for name, value in event_set_ids.items())
        sections.append(
            f"""
[sources.bench{suffix}]
write_key = "{WRITE_KEY}{suffix}"
destinations = ["store{suffix}"]
[destinations.store{suffix}]
api = "conversions"
access_token = "bench"
events_to_standard = {{ {events_to_standard} }}
standard_to_event_sets = {{ {event_sets} }}
batch.max_age = {max_age}
upload.graph_url = "{meta}"
upload.requests_per_second = 1000
"""
        )
    return "".join(sections)


def request_bodies(seed: int, size: int, count: int, *, padding: int = 0, tags: int = 0) -> list[bytes]:
    """Return `count` JSON bodies with `size` sales each: single calls if `size` is 1, otherwise batches.

    `padding` is in bytes per event. `tags` is the number of distinct upload tags; 0 sets none.
    """
    events = Sales(seed, bad_share=0.0).events(size * count)
    for number, event in enumerate(events):
        if padding:
            event["properties"] = {**event["properties"], "note": "x" * padding}
        if tags:
            event["properties"] = {**event["properties"], "upload_tag": f"tag-{number % tags}"}
    if size == 1:
        return [orjson.dumps(event) for event in events]
    return [orjson.dumps({"batch": events[start : start + size]}) for start in range(0, len(events), size)]


def encode_requests(bodies: Sequence[bytes], size: int, *, write_key: str = WRITE_KEY, encoding: str = "") -> Requests:
    """Encode bodies as requests. Message IDs in compressed bodies cannot be renewed, so those are sent only once."""
    authorization = "Basic " + base64.b64encode(f"{write_key}:".encode()).decode()
    path = "/v1/track" if size == 1 else "/v1/batch"
    payloads = [encode_request(path, body, authorization, encoding) for body in bodies]
    return Requests(payloads, renews_ids=not encoding)


def bench_mapper(folder: Path) -> Mapper:
    """Return the mapper of a gateway with `gateway_settings`."""
    settings = parse(tomllib.loads(gateway_settings(UNREACHABLE_META, folder)))
    return compile_mapper("store", settings.destinations["store"])


def mapped_bodies(seed: int, count: int, folder: Path) -> list[bytes]:
    """Return the encoded events that the gateway would store in its spool for `count` sales."""
    mapper, now = bench_mapper(folder), int(time.time())
    bodies = []
    for event in Sales(seed, bad_share=0.0).events(count):
        mapped = mapper.map(event, now)
        if not isinstance(mapped, list):
            raise SystemExit(f"the gateway's mapper rejects a generated sale: {mapped}")
        bodies += [mapped_event.body for mapped_event in mapped]
    return bodies


def hashes_per_event(body: bytes, folder: Path) -> list[int]:
    """Return how many values of each event of a batch the gateway's mapper hashes."""
    mapper, now = bench_mapper(folder), int(time.time())
    results = (mapper.map(event, now) for event in orjson.loads(body)["batch"])
    return [len(SHA256.findall(mapped[0].body)) if isinstance(mapped, list) else 0 for mapped in results]
