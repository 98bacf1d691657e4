"""The demo: starts the sandbox and a gateway, sends events, shows the counts, waits for delivery, and sums up."""

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
from gateway.mapping.native import describe, load
from gateway.model import GatewayError

DRAIN_SECONDS = 60.0
"""Seconds for the delivery of the remaining events after the sender has finished."""
REFRESH_INTERVAL = 0.5
"""Seconds between two reads of the counts."""
SLOWER = "; slower than the native extension, see docs/operating.md"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Which events to send, and for how long."""

    seconds: float | None
    """How long to send; None: until Ctrl-C."""
    rate: float | None
    """Events per second; None: as fast as possible."""
    total: int | None
    """Number of events to send; None: no limit."""
    seed: int
    """Seed of the generated sales."""
    batch: int
    """Events per request."""
    plain: bool
    """Print lines instead of a table that updates."""


def run(options: DemoOptions) -> int:
    """Run the demo; the exit status, 0 only if every accepted event was delivered or became a dead letter."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as name, ExitStack() as stack:
        folder = Path(name)
        try:
            # Both run in another process group, so that Ctrl-C reaches only the demo, which then stops them in order.
            sandbox = stack.enter_context(Subprocess(folder, "sandbox", ["gateway", "sandbox", "--port", "0"], group=0))
            group = os.getpgid(sandbox.process.pid)
            (folder / "gateway.toml").write_text(settings_of(folder, sandbox.started().addresses["server"]))
            serve = ["gateway", "serve", "--config", str(folder / "gateway.toml")]
            gateway = stack.enter_context(Subprocess(folder, "gateway", serve, group=group)).started()
        except GatewayError as error:
            console.print(str(error), markup=False)
            return 1
        return asyncio.run(_send_and_show(options, gateway, sandbox, console))


async def _send_and_show(options: DemoOptions, gateway: Subprocess, sandbox: Subprocess, console: Console) -> int:
    stop = asyncio.Event()
    stop_at_once = asyncio.Event()
    loop = asyncio.get_running_loop()

    def handle_signal() -> None:
        if stop.is_set():
            stop_at_once.set()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handle_signal)
    server, admin, meta = gateway.addresses["server"], gateway.addresses["admin"], sandbox.addresses["server"]
    console.print(
        f"console         {admin}/\ngateway         {server}  (write key: {WRITE_KEY})\nsimulated Meta  {meta}"
    )
    console.print(f"mapping         {describe()}{'' if load() else SLOWER}", markup=False, soft_wrap=True)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        sender = Sender(session, server, Sales(options.seed), options.rate, options.batch, options.total)
        state = State(sender.counts, loop.time())

        async def refresh() -> None:
            async with session.get(f"{admin}/status") as response:
                state.status = await response.json()
            async with session.get(f"{meta}/_sandbox/stats") as response:
                state.sandbox_stats = await response.json()
            state.now = loop.time()

        with Screen(console, plain=options.plain or not console.is_terminal) as screen:
            sending = asyncio.create_task(sender.run(stop))
            timer = asyncio.create_task(_stop_after(options.seconds, stop))
            try:
                while not sending.done():
                    await refresh()
                    screen.show(state)
                    await asyncio.wait([sending], timeout=REFRESH_INTERVAL)
                await sending
                state.sent_at = loop.time()
                await refresh()
                while state.waiting and not stop_at_once.is_set() and loop.time() < state.sent_at + DRAIN_SECONDS:
                    screen.show(state)
                    await asyncio.sleep(REFRESH_INTERVAL / 5)
                    await refresh()
            except (aiohttp.ClientError, TimeoutError) as error:
                screen.close()
                console.print(
                    f"the demo failed: {str(error) or type(error).__name__}; log of the gateway:", markup=False
                )
                console.print(_log_end(gateway), markup=False)
                return 1
            finally:
                timer.cancel()
                sending.cancel()
    exit_status = await asyncio.to_thread(gateway.stop)
    sandbox.stop()
    console.print(summary(state))
    errors = state.errors()
    if exit_status:
        errors.append(f"the gateway ended with status {exit_status}; its log:\n{_log_end(gateway)}")
    for text in errors:
        console.print(text, style="red", markup=False)
    return 1 if errors else 0


def _log_end(gateway: Subprocess) -> str:
    """The last part of the gateway's log."""
    return gateway.log.read_text()[-2000:]


async def _stop_after(seconds: float | None, stop: asyncio.Event) -> None:
    if seconds is not None:
        await asyncio.sleep(seconds)
        stop.set()


def settings_of(folder: Path, meta: str) -> str:
    """Settings of a gateway that uploads to the sandbox, otherwise with the usual values."""
    standard = ", ".join(f'"{name}" = ["{standard}"]' for name, standard in EVENTS_TO_STANDARD.items())
    event_sets = ", ".join(f'{name} = ["{event_set}"]' for name, event_set in EVENT_SETS.items())
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
