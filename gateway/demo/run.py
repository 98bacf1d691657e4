"""The demo's life: start, send, show, drain, sum up."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from rich.console import Console

from gateway.demo.display import Screen, State, summary
from gateway.demo.sales import EVENT_SETS, EVENTS_TO_STANDARD, Sales
from gateway.demo.sender import WRITE_KEY, Sender
from gateway.demo.subprocesses import Subprocess
from gateway.model import GatewayError

DRAIN_SECONDS = 60.0
"""How long the demo waits for what was accepted to be delivered."""
LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to send, and for how long."""

    seconds: float | None
    """None: until Ctrl-C."""
    rate: float | None
    """Events a second; None: as fast as they are taken."""
    total: int | None
    """Events after which it ends; None: no such end."""
    seed: int
    batch: int
    """Events in a request."""
    plain: bool
    """Lines instead of a live table."""


def run(options: DemoOptions) -> int:
    """Run the demo; 0 only if every accepted event was delivered or dead-lettered."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as name, ExitStack() as stack:
        folder = Path(name)
        try:
            # A group of their own, so that Ctrl-C reaches the demo alone, which then stops them in order.
            sandbox = stack.enter_context(Subprocess(folder, "sandbox", ["gateway", "sandbox", "--port", "0"], group=0))
            group = os.getpgid(sandbox.process.pid)
            (folder / "gateway.toml").write_text(_settings(folder, sandbox.started().addresses["server"]))
            serve = ["gateway", "serve", "--config", str(folder / "gateway.toml")]
            gateway = stack.enter_context(Subprocess(folder, "gateway", serve, group=group)).started()
        except GatewayError as error:
            console.print(str(error), markup=False)
            return 1
        return asyncio.run(_watch(options, gateway, sandbox, console))


async def _watch(options: DemoOptions, gateway: Subprocess, sandbox: Subprocess, console: Console) -> int:
    stop = asyncio.Event()
    at_once = asyncio.Event()
    loop = asyncio.get_running_loop()

    def signalled() -> None:
        if stop.is_set():
            at_once.set()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled)
    server, meta = gateway.addresses["server"], sandbox.addresses["server"]
    console.print(f"gateway {server}  (write key: {WRITE_KEY})\nadmin   {gateway.addresses['admin']}\nMeta    {meta}")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        sender = Sender(session, server, Sales(options.seed), options.rate, options.batch, options.total)
        state = State(sender.counts, loop.time())

        async def look() -> None:
            async with session.get(f"{gateway.addresses['admin']}/status") as answer:
                state.status = await answer.json()
            async with session.get(f"{meta}/_sandbox/stats") as answer:
                state.meta = await answer.json()
            state.now = loop.time()

        with Screen(console, plain=options.plain or not console.is_terminal) as screen:
            sending = asyncio.create_task(sender.run(stop))
            ending = asyncio.create_task(_stop_after(options.seconds, stop))
            try:
                while not sending.done():
                    await look()
                    screen.show(state)
                    await asyncio.wait([sending], timeout=LOOK_SECONDS)
                await sending
                state.drained_at = loop.time()
                await look()
                while state.waiting and not at_once.is_set() and loop.time() < state.drained_at + DRAIN_SECONDS:
                    screen.show(state)
                    await asyncio.sleep(LOOK_SECONDS / 5)
                    await look()
            except (aiohttp.ClientError, TimeoutError) as error:
                screen.end()
                console.print(f"The demo ended: {error}\n{gateway.log.read_text()[-2000:]}", markup=False)
                return 1
            finally:
                ending.cancel()
                sending.cancel()
    stopped = await asyncio.to_thread(gateway.stop)
    sandbox.stop()
    console.print(summary(state))
    faults = state.faults()
    if stopped:
        faults.append(f"the gateway ended with {stopped}:\n{gateway.log.read_text()[-2000:]}")
    for fault in faults:
        console.print(fault, style="red", markup=False)
    return 1 if faults else 0


async def _stop_after(seconds: float | None, stop: asyncio.Event) -> None:
    if seconds is not None:
        await asyncio.sleep(seconds)
        stop.set()


def _settings(folder: Path, meta: str) -> str:
    """A gateway before the stand-in: everything else as a user would have it."""
    standard = ", ".join(f'"{name}" = ["{wanted}"]' for name, wanted in EVENTS_TO_STANDARD.items())
    event_sets = ", ".join(f'{name} = ["{number}"]' for name, number in EVENT_SETS.items())
    return f"""
[server]
port = 0
drain_delay = 0
[admin]
port = 0
[spool]
path = "{folder / "spool"}"
[sources.till]
write_key = "{WRITE_KEY}"
destinations = ["store"]
[destinations.store]
api = "conversions"
access_token = "demo"
events_to_standard = {{ {standard} }}
standard_to_event_sets = {{ {event_sets} }}
batch.max_age = 3
upload.graph_url = "{meta}"
"""
