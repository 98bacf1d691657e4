"""`gateway demo`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from gateway.cli.common import fail

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def demo(
    duration: Annotated[
        str | None, typer.Option("--for", help="How long to send, such as 10s or 5m. Default: until Ctrl-C.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Events per second; 0 sends as fast as possible.", min=0)] = 2000.0,
    total: Annotated[int | None, typer.Option(help="Stop after this number of events.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the generated sales; the same seed gives the same sales.")] = 1,
    batch: Annotated[int, typer.Option(help="Events per request.", min=1, max=2500)] = 100,
    plain: Annotated[bool, typer.Option("--plain", help="Print lines instead of a table that updates.")] = False,
) -> None:
    """Watch generated sales pass through a gateway.

    Starts a sandbox (a simulation of Meta's Graph API) and a gateway on free ports, sends generated store sales to the
    gateway, shows the counts, and stops both. The exit status is 0 only if every accepted event was delivered or became
    a dead letter.
    """
    seconds = None
    if duration is not None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", duration.strip())
        if not match:
            fail(f"--for: invalid value {duration!r}; expected a duration such as 10s or 5m", 2)
        seconds = float(match[1]) * _UNITS[match[2]]
    from gateway.demo import DemoOptions, run

    options = DemoOptions(seconds=seconds, rate=rate or None, total=total, seed=seed, batch=batch, plain=plain)
    raise SystemExit(run(options))
