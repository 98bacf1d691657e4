"""Floors: what this machine and these libraries could do at most, measured beside the gateway in the same run.

`python -m bench.floors bare|read|decode` is a server that writes its address to the file that
GATEWAY_ADDRESS_FILE names: bare sockets with a fixed response (the limit of the load generator), an aiohttp
handler that reads the body, and one that decodes it as well.
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
from typing import cast

import orjson
import uvloop
from aiohttp import web

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


class _Bare(asyncio.Protocol):
    """Answers each request once it is there, and looks at nothing but its length."""

    def __init__(self) -> None:
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        start = received.find(b"Content-Length: ", 0, end) + 16
        if len(received) < end + 4 + int(received[start : received.find(b"\r", start)]):
            return
        received.clear()
        self._transport.write(ANSWER)


async def _serve(kind: str, announce: Path) -> None:
    if kind == "bare":
        server = await asyncio.get_running_loop().create_server(_Bare, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
    else:
        runner = web.AppRunner(_application(decodes=kind == "decode"), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
    announced = orjson.dumps({"server": f"http://{host}:{port}"}) + b"\n"
    await asyncio.to_thread(announce.write_bytes, announced)
    await asyncio.Event().wait()


def _application(*, decodes: bool) -> web.Application:
    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        if decodes:
            orjson.loads(body)
        return web.Response(body=b'{"status":"ok"}', content_type="application/json")

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/track", handle)
    app.router.add_post("/v1/batch", handle)
    return app


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
    uvloop.run(_serve(sys.argv[1], Path(os.environ["GATEWAY_ADDRESS_FILE"])))
