"""The load generator as a process of its own, so that what a bench computes or asks meanwhile does not hold it up.

`Generator` is the side of the bench; as a module it is the other one, which reads a command a line and answers each
with a line. Requests come from files, each read once; message IDs are numbered through all of its runs.
"""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import orjson
import uvloop

from bench import load
from bench.histogram import Latencies
from bench.pacing import Load
from bench.requests import Requests


class Generator:
    """Sends loads, one at a time. Use as a context."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[int, tuple[Requests, Path]] = {}
        """By identity; the requests are kept, so that no other can have the same."""
        command = [sys.executable, "-m", "bench.generator"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, place: tuple[str, int], requests: Requests, size: int, **pace: Any) -> None:
        """Begin a load: `seconds` and `most` for a closed loop, `seconds` and `rate` for an even one."""
        told = {"place": place, "requests": str(self._file(requests)), "size": size, **pace}
        assert self.process.stdin is not None  # noqa: S101 (asked for)
        self.process.stdin.write(orjson.dumps(told) + b"\n")
        self.process.stdin.flush()

    def ended(self) -> Load:
        """Wait for the load's end. Ends the bench when requests were refused or the connection broke."""
        assert self.process.stdout is not None  # noqa: S101 (asked for)
        line = self.process.stdout.readline()
        told: dict[str, Any] = orjson.loads(line) if line else {"failed": "the load generator ended by itself"}
        if "failed" in told:
            raise SystemExit(f"the load could not be sent: {told['failed']}")
        counts = Latencies.from_json(told.pop("latencies"))
        return Load(latencies=counts, **told)

    def run(self, place: tuple[str, int], requests: Requests, size: int, **pace: Any) -> Load:
        """A load from its beginning to its end."""
        self.start(place, requests, size, **pace)
        return self.ended()

    def _file(self, requests: Requests) -> Path:
        known = self._written.get(id(requests))
        if known is None:
            path = self._folder / f"requests-{len(self._written)}"
            requests.write(path)
            known = self._written[id(requests)] = (requests, path)
        return known[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@lru_cache(4)
def _requests(path: str) -> Requests:
    return Requests.read(Path(path))


async def _load(told: dict[str, Any], sendings: itertools.count[int]) -> Load:
    place: Sequence[Any] = told.pop("place")
    requests, size = _requests(told.pop("requests")), told.pop("size")
    drive: Any = load.fixed_rate if "rate" in told else load.closed_loop
    gc.collect()
    gc.freeze()
    begun = time.process_time()
    found: Load = await drive(*place, requests, events_per_request=size, sendings=sendings, **told)
    found.cpu_seconds = time.process_time() - begun
    return found


def _serve() -> None:
    gc.disable()  # nothing here makes cycles, and a collection would be measured as latency
    sendings = itertools.count()
    for line in sys.stdin.buffer:
        answer: dict[str, Any]
        try:
            found = uvloop.run(_load(orjson.loads(line), sendings))
        except (OSError, load.RefusedError) as error:
            answer = {"failed": str(error)}
        else:
            answer = {
                "events_per_request": found.events_per_request,
                "answered": found.answered,
                "refused": found.refused,
                "seconds": found.seconds,
                "cpu_seconds": found.cpu_seconds,
                "latencies": found.latencies.as_json(),
            }
        sys.stdout.buffer.write(orjson.dumps(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
