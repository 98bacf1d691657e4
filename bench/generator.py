"""The load generator, run as a separate process so that work of the benchmark itself does not delay requests.

`Generator` is the client in the benchmark's process. Run as a module, this file is the generator process: it reads one
JSON command per line from stdin and answers each with one JSON line on stdout. Requests are read from files, each file
once. The numbers in message IDs continue through all loads of the process.
"""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import orjson
import uvloop

from bench import load
from bench.histogram import LatencyHistogram
from bench.pacing import LoadResult
from bench.requests import Requests


class Generator:
    """Runs loads in the generator process, one at a time. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[int, tuple[Requests, Path]] = {}
        """Files by `id()` of the requests. The requests are kept, so that no other object can get the same ID."""
        command = [sys.executable, "-m", "bench.generator"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def start(self, address: tuple[str, int], requests: Requests, size: int, **pacing: Any) -> None:
        """Start a load. `size` is the number of events per request.

        `pacing` is passed to `load.constant_rate` if it has a `rate`, otherwise to `load.closed_loop`.
        """
        command = {"address": address, "requests": str(self._file(requests)), "size": size, **pacing}
        assert self.process.stdin is not None  # noqa: S101 (a pipe was requested)
        self.process.stdin.write(orjson.dumps(command) + b"\n")
        self.process.stdin.flush()

    def wait(self) -> LoadResult:
        """Wait for the end of the load. Ends the benchmark if requests failed or a connection broke."""
        assert self.process.stdout is not None  # noqa: S101 (a pipe was requested)
        line = self.process.stdout.readline()
        reply: dict[str, Any] = orjson.loads(line) if line else {"error": "the load generator ended unexpectedly"}
        if "error" in reply:
            raise SystemExit(f"the load failed: {reply['error']}")
        latencies = LatencyHistogram.from_json(reply.pop("latencies"))
        return LoadResult(latencies=latencies, **reply)

    def run(self, address: tuple[str, int], requests: Requests, size: int, **pacing: Any) -> LoadResult:
        """Start a load and wait for its end."""
        self.start(address, requests, size, **pacing)
        return self.wait()

    def _file(self, requests: Requests) -> Path:
        known = self._files.get(id(requests))
        if known is None:
            path = self._folder / f"requests-{len(self._files)}"
            requests.write(path)
            known = self._files[id(requests)] = (requests, path)
        return known[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


@lru_cache(4)
def _requests(path: str) -> Requests:
    return Requests.read(Path(path))


async def _run_load(command: dict[str, Any], send_numbers: itertools.count[int]) -> LoadResult:
    host, port = command.pop("address")
    requests, size = _requests(command.pop("requests")), command.pop("size")
    send: Any = load.constant_rate if "rate" in command else load.closed_loop
    gc.collect()
    gc.freeze()
    started = time.process_time()
    result: LoadResult = await send(host, port, requests, events_per_request=size, send_numbers=send_numbers, **command)
    result.cpu_seconds = time.process_time() - started
    return result


def _serve() -> None:
    gc.disable()  # no reference cycles are created here, and a collection would be measured as latency
    send_numbers = itertools.count()
    for line in sys.stdin.buffer:
        reply: dict[str, Any]
        try:
            result = uvloop.run(_run_load(orjson.loads(line), send_numbers))
        except (OSError, load.RequestsFailedError) as error:
            reply = {"error": str(error)}
        else:
            reply = {
                "events_per_request": result.events_per_request,
                "responses": result.responses,
                "failures": result.failures,
                "seconds": result.seconds,
                "cpu_seconds": result.cpu_seconds,
                "latencies": result.latencies.as_json(),
            }
        sys.stdout.buffer.write(orjson.dumps(reply) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    _serve()
