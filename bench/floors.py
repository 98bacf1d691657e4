"""Floors: what this machine and these libraries could do at most, measured beside the gateway in the same run.

As a module it is a server for the HTTP floors, `python -m bench.floors read|decode`; it says where it listens in the
file that GATEWAY_ANNOUNCE names.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import uvloop
from aiohttp import web


async def _serve(decodes: bool, announce: Path) -> None:
    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if decodes:
            orjson.loads(body)
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/track", handle)
    app.router.add_post("/v1/batch", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    announced = orjson.dumps({"server": f"http://{host}:{port}"}) + b"\n"
    await asyncio.to_thread(announce.write_bytes, announced)
    await asyncio.Event().wait()


def pipeline(body: bytes, hashes: Sequence[int], seconds: float) -> float:
    """Events a second of the least that a durable pipeline has to do with a batch.

    Decode it, hash what is personal (`hashes` says how many values of each event are), encode every event once, append
    the bytes to a file and fsync it.
    """
    batch = orjson.loads(body)["batch"]
    value = b"customer@example.com"
    with tempfile.TemporaryDirectory() as folder:
        descriptor = os.open(Path(folder) / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        begun = time.perf_counter()
        events = 0
        while time.perf_counter() - begun < seconds:
            encoded = []
            for event, personal in zip(orjson.loads(body)["batch"], hashes, strict=True):
                for _ in range(personal):
                    hashlib.sha256(value).hexdigest()
                encoded.append(orjson.dumps(event))
            os.write(descriptor, b"\n".join(encoded))
            os.fsync(descriptor)
            events += len(batch)
        elapsed = time.perf_counter() - begun
        os.close(descriptor)
    return events / elapsed


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1] == "decode", Path(os.environ["GATEWAY_ANNOUNCE"])))
