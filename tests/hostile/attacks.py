"""Attacks on the port of senders, each bounded in time and in the number of its connections.

`python -m tests.hostile.attacks URL NAME ... --seconds 8` runs attacks together. A test starts that as a process of its
own, so that the attackers do not slow down the honest sender that it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

from gateway.model import JsonObject
from tests.hostile.requests import (
    EMPTY_OBJECTS,
    GET,
    MARKER,
    Response,
    Target,
    batch,
    content_length,
    malformed,
    many_keys,
    mutated,
    nested,
    parse_response,
    random_event,
    random_gzip,
    random_json,
    sale,
)

PAUSE = 0.05
"""Seconds between two connection attempts of an attacker."""
QUIET = 0.3
"""Seconds for which an attacker that sent anything waits for responses."""

Behaviour = Callable[["Attack", socket.socket], Coroutine[Any, Any, None]]
"""What an attacker does on one connection."""


@dataclass
class Attack:
    """One run of an attack."""

    target: Target
    until: float
    """Loop time."""
    random: Random
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self.until

    def sales(self, count: int) -> list[JsonObject]:
        """Sales that nobody sent before."""
        first = self.random.randrange(10**15)
        return [sale(first + number) for number in range(count)]

    async def several(
        self,
        connections: int,
        behaviour: Behaviour,
        receive_buffer: int | None = None,
    ) -> None:
        """Run a behaviour on several connections at a time. It starts again when it ends."""
        await asyncio.gather(*(self._repeat(behaviour, receive_buffer) for _ in range(connections)))

    async def _repeat(self, behaviour: Behaviour, receive_buffer: int | None) -> None:
        loop = asyncio.get_running_loop()
        while not self.is_over:
            with socket.socket() as connection:
                if receive_buffer is not None:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
                connection.setblocking(False)
                try:
                    async with asyncio.timeout_at(self.until):
                        await loop.sock_connect(connection, (self.target.host, self.target.port))
                        await behaviour(self, connection)
                    self.counts["ended"] += 1
                except TimeoutError:
                    return
                except OSError:
                    self.counts["closed"] += 1
            await asyncio.sleep(PAUSE)

    async def send(self, connection: socket.socket, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(connection, data)
        self.counts["bytes"] += len(data)

    async def request(self, connection: socket.socket, request: bytes) -> Response:
        """Send a request and read the response."""
        with contextlib.suppress(ConnectionError):  # refused while it is sent: the response may be there all the same
            await self.send(connection, request)
        received = b""
        while (response := parse_response(received)) is None:
            if not (more := await asyncio.get_running_loop().sock_recv(connection, 65536)):
                response = Response(0, {})
                break
            received += more
        self._count(response)
        return response

    async def requests(self, connection: socket.socket, content: bytes) -> None:
        """Send bytes that may be any number of requests, and count all responses."""
        with contextlib.suppress(ConnectionError):
            await self.send(connection, content)
        received = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(QUIET):
                while more := await asyncio.get_running_loop().sock_recv(connection, 65536):
                    received += more
        while (response := parse_response(received)) is not None:
            head, _, rest = received.partition(b"\r\n\r\n")
            received = rest[content_length(head) :]
            self._count(response)
        if received:
            self.counts["incomplete responses"] += 1

    def _count(self, response: Response) -> None:
        self.counts[f"status {response.status}"] += 1
        self.counts["accepted"] += response.body.get("accepted", 0) if response.status == 200 else 0
        self.counts["quoted"] += MARKER.decode() in str(response.body)


async def pipelined_requests(attack: Attack) -> None:
    """Connections that send requests and never read a response."""

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        while True:
            await attack.send(connection, GET * 300)

    await attack.several(4, behaviour, receive_buffer=4096)


async def pipelined_bodies(attack: Attack) -> None:
    """Connections that send bodies behind requests whose responses they do not read."""
    body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + b" " * 500_000

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):  # until the gateway stops reading
                for _ in range(1000):
                    await attack.send(connection, GET * 50)
        while True:
            await attack.send(connection, body)
            await asyncio.sleep(0.01)

    await attack.several(40, behaviour, receive_buffer=4096)


async def trickled_bodies(attack: Attack) -> None:
    """300 connections that announce 4 MB and send them slowly, without a write key."""
    await _trickle_bodies(attack, attack.target._replace(write_key=""))


async def authenticated_trickled_bodies(attack: Attack) -> None:
    """The same with a write key."""
    await _trickle_bodies(attack, attack.target)


async def _trickle_bodies(attack: Attack, target: Target) -> None:
    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.send(connection, target.head(4_000_000) + b" " * 200_000)
        while True:
            await asyncio.sleep(0.5)
            await attack.send(connection, b" " * 20_000)

    await attack.several(300, behaviour)


async def trickled_heads(attack: Attack) -> None:
    """300 connections that send long heads without an end."""

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.send(connection, GET[:-2])
        for line in range(120):
            await attack.send(connection, b"X%d: " % line + b"a" * 8000 + b"\r\n")
            await asyncio.sleep(0.01)
        await asyncio.sleep(30)

    await attack.several(300, behaviour)


async def large_heads(attack: Attack) -> None:
    """300 connections that stay open after a request with a large head."""
    head = GET[:-2] + b"".join(b"X%d: " % line + b"a" * 8000 + b"\r\n" for line in range(100)) + b"\r\n"

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.request(connection, head)
        await asyncio.sleep(30)

    await attack.several(300, behaviour)


async def empty_objects(attack: Attack) -> None:
    """Six senders of 1.39 million empty events in 4 KB of gzip."""
    request = attack.target.gzip(EMPTY_OBJECTS)

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.request(connection, request)

    await attack.several(6, behaviour)


async def bombs(attack: Attack) -> None:
    """Thirty senders of gzip bodies that expand to 4 MB."""
    request = attack.target.gzip(b'{"batch":["' + b"a" * 4_190_000 + b'"]}')

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.request(connection, request)

    await attack.several(30, behaviour)


async def shared_integrations(attack: Attack) -> None:
    """500 events without a mapping that share 100,000 keys, also with so many levels that they cannot be encoded."""
    events = [{**sale(number), "event": "unmapped"} for number in range(500)]
    small = many_keys(2500)
    requests = [
        attack.target.gzip(batch(*events, integrations=many_keys(100_000))),
        attack.target.gzip(batch(*events, integrations=nested(300, **many_keys(100_000)))),
        attack.target.gzip(batch(*events, *events, *events, *events, integrations=small)),
    ]

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.request(connection, attack.random.choice(requests))

    await attack.several(2, behaviour)


async def heavy_events(attack: Attack) -> None:
    """Batches of few events that take long to map: many values, also with so many levels that they have no size."""
    lists: JsonObject = {"x": [{}] * 30_000}
    requests = [
        attack.target.post(batch(sale(1, **lists))),
        attack.target.gzip(batch(sale(2, **nested(300, **many_keys(100_000))))),
        attack.target.gzip(batch(*(sale(number, x=[{}] * 15_000) for number in range(6)))),
        attack.target.post(batch({**sale(3, **lists), "event": "unmapped"})),
        attack.target.post(json.dumps(sale(4, x=[{}] * 7500)).encode(), "/v1/track"),
    ]

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.request(connection, attack.random.choice(requests))

    await attack.several(20, behaviour)


async def broken_json(attack: Attack) -> None:
    """JSON of 4 MB, and as much as is parsed leniently, with one value that is not strict JSON."""
    values = [b"NaN", b'"\\ud800"', b"1e999"]
    requests = [
        attack.target.post(b'{"batch":[' + content + value + b"]}")
        for value in values
        for content in (b'"a",' * 1_040_000, b'"' + b"a" * 4_190_000 + b'",', b"[]," * 24_900, b'"aaaaaaaa",' * 45_000)
    ]

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.request(connection, attack.random.choice(requests))

    await attack.several(4, behaviour)


async def many_values(attack: Attack) -> None:
    """The bodies that take longest to decode."""
    names = ",".join(f'"{number:x}":0' for number in range(390_000))
    requests = [
        attack.target.gzip(b'{"batch":[' + b"[]," * 99_000 + b"1]}"),
        attack.target.gzip(b'{"batch":[' + b",".join([b"[" * 900 + b"]" * 900] * 110) + b"]}"),
        attack.target.gzip(f'{{"batch":[{{{names}}}]}}'.encode()),
    ]

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.request(connection, attack.random.choice(requests))

    await attack.several(10, behaviour)


async def tiny_chunks(attack: Attack) -> None:
    """Chunked bodies of which each chunk has one byte."""
    chunks = b"1\r\na\r\n" * 10_000

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.send(connection, attack.target.head(None))
        while True:
            await attack.send(connection, chunks)

    await attack.several(20, behaviour)


async def upload_tags(attack: Attack) -> None:
    """8,000 events, each with an upload tag of its own."""

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        for _ in range(20):
            attack.counts["tags"] += 100
            if (first := attack.counts["tags"]) > 8000:
                await asyncio.sleep(30)
            events = [sale(number, upload_tag=f"{MARKER.decode()}-{number}") for number in range(first, first + 100)]
            await attack.request(connection, attack.target.post(batch(*events)))

    await attack.several(2, behaviour)


async def idle_connections(attack: Attack) -> None:
    """1,100 connections that send nothing."""

    async def behaviour(_: Attack, connection: socket.socket) -> None:
        await asyncio.get_running_loop().sock_recv(connection, 1)

    await attack.several(1100, behaviour)


async def disconnects(attack: Attack) -> None:
    """Senders that go away in mid-body, also after an early response."""

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        target = attack.random.choice([attack.target, attack.target._replace(write_key="")])
        announced, sent = attack.random.choice(
            [(100, 10), (4_000_000, 100), (4_000_000, 200_000), (99_000_000, 300_000)]
        )
        await attack.send(connection, target.head(announced) + b"{" * sent)
        await asyncio.sleep(attack.random.random() / 20)
        if attack.random.random() < 0.5:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    await attack.several(20, behaviour)


async def malformed_requests(attack: Attack) -> None:
    """Requests that are not valid HTTP."""

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        await attack.request(connection, malformed(attack.random))

    await attack.several(10, behaviour)


async def random_http(attack: Attack) -> None:
    """Valid requests with a few random changes of their bytes, one or more on a connection."""

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        random = attack.random
        body = batch(*attack.sales(random.randrange(5)))
        requests = [attack.target.post(body), attack.target.gzip(body), GET, attack.target.head(None) + b"0\r\n\r\n"]
        content = b"".join(random.choice(requests) for _ in range(random.randint(1, 3)))
        await attack.requests(connection, mutated(random, content))

    await attack.several(10, behaviour)


async def random_bodies(attack: Attack) -> None:
    """JSON with random values in place of valid ones, as batches and as single events."""

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        random = attack.random
        events = [random_event(random, event) for event in attack.sales(random.randrange(40))]
        envelope = {
            name: random_json(random) for name in ("context", "integrations", "sentAt") if random.random() < 0.2
        }
        path = random.choice(["/v1/track", "/v1/identify", "/v1/import"])
        await attack.request(connection, attack.target.post(batch(*events, **envelope)))
        await attack.request(connection, attack.target.post(json.dumps(random_event(random, sale(0))).encode(), path))
        await attack.request(connection, attack.target.post(json.dumps(random_json(random)).encode()))

    await attack.several(5, behaviour)


async def random_gzip_bodies(attack: Attack) -> None:
    """Gzip that is valid, truncated, changed, has a wrong size, several parts, or is a bomb."""

    async def behaviour(attack: Attack, connection: socket.socket) -> None:
        body = batch(*attack.sales(attack.random.randrange(200)))
        packed = random_gzip(attack.random, body)
        await attack.request(connection, attack.target.post(packed, Content_Encoding="gzip"))

    await attack.several(5, behaviour)


ATTACKS: dict[str, Callable[[Attack], Coroutine[Any, Any, None]]] = {
    attack.__name__: attack
    for attack in (
        pipelined_requests,
        pipelined_bodies,
        trickled_bodies,
        authenticated_trickled_bodies,
        trickled_heads,
        large_heads,
        empty_objects,
        bombs,
        shared_integrations,
        heavy_events,
        broken_json,
        many_values,
        tiny_chunks,
        upload_tags,
        idle_connections,
        disconnects,
        malformed_requests,
        random_http,
        random_bodies,
        random_gzip_bodies,
    )
}


async def run_attacks(target: Target, names: Sequence[str], seconds: float, seed: int) -> dict[str, Counter[str]]:
    """Run attacks together; counts by name."""
    until = asyncio.get_running_loop().time() + seconds
    attacks = {name: Attack(target, until, Random(f"{name}{seed}")) for name in names}
    await asyncio.gather(*(ATTACKS[name](attack) for name, attack in attacks.items()))
    return {name: attack.counts for name, attack in attacks.items()}


class Attackers(NamedTuple):
    """Attacks that run in a process of their own."""

    process: subprocess.Popen[str]

    def counts(self) -> dict[str, dict[str, int]]:
        """Wait until they end; what happened, by attack."""
        output, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        counts: dict[str, dict[str, int]] = json.loads(output)
        return counts


@contextmanager
def attacking(target: Target, *names: str, seconds: float, seed: int = 0) -> Iterator[Attackers]:
    """Run attacks in a process of their own, which is killed at the end if it still runs."""
    url = f"http://{target.host}:{target.port}"
    options = ["--seconds", str(seconds), "--seed", str(seed), "--write-key", target.write_key]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.attacks", url, *names, *options], stdout=subprocess.PIPE, text=True
    )
    try:
        yield Attackers(process)
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("attacks", nargs="+", choices=sorted(ATTACKS))
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write-key", default="")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    target = Target.of(options.url, options.write_key)
    print(json.dumps(asyncio.run(run_attacks(target, options.attacks, options.seconds, options.seed))))


if __name__ == "__main__":
    main()
