"""The baselines: minimal implementations with the same libraries, measured in the same run as the gateway.

`python -m bench.baselines bare|read|decode` is a server that writes its address to the file named by
GATEWAY_ADDRESS_FILE:

* `bare`: sockets with a fixed response. It shows the maximum rate of the load generator.
* `read`: an aiohttp handler that reads the body.
* `decode`: an aiohttp handler that reads the body and decodes the JSON.
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

RESPONSE = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"status":"ok"}'


class _FixedResponse(asyncio.Protocol):
    """Answers each complete request. It reads nothing of the request but its length."""

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
        self._transport.write(RESPONSE)


async def _serve(kind: str, address_file: Path) -> None:
    if kind == "bare":
        server = await asyncio.get_running_loop().create_server(_FixedResponse, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
    else:
        runner = web.AppRunner(_application(decodes=kind == "decode"), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
    addresses = orjson.dumps({"server": f"http://{host}:{port}"}) + b"\n"
    await asyncio.to_thread(address_file.write_bytes, addresses)
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
    """Measure the minimal work of a durable pipeline on one batch, and return events per second.

    It decodes the batch, hashes as many values of each event as `hashes` gives, encodes every event once, appends the
    bytes to a file and calls fsync.
    """
    batch = orjson.loads(body)["batch"]
    value = b"customer@example.com"
    with tempfile.TemporaryDirectory() as folder:
        descriptor = os.open(Path(folder) / "events", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        started = time.perf_counter()
        events = 0
        while time.perf_counter() - started < seconds:
            encoded = []
            for event, count in zip(orjson.loads(body)["batch"], hashes, strict=True):
                for _ in range(count):
                    hashlib.sha256(value).hexdigest()
                encoded.append(orjson.dumps(event))
            os.write(descriptor, b"\n".join(encoded))
            os.fsync(descriptor)
            events += len(batch)
        elapsed = time.perf_counter() - started
        os.close(descriptor)
    return events / elapsed


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], Path(os.environ["GATEWAY_ADDRESS_FILE"])))
