"""`gateway demo`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from gateway.cli.common import fail

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def demo(
    duration: Annotated[str | None, typer.Option("--for", help="How long: 10s, 5m. Default: until Ctrl-C.")] = None,
    rate: Annotated[float, typer.Option(help="Events a second; 0: as fast as they are taken.", min=0)] = 2000.0,
    total: Annotated[int | None, typer.Option(help="Stop after so many events.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of the generated sales.")] = 1,
    batch: Annotated[int, typer.Option(help="Events in a request.", min=1, max=2500)] = 100,
    plain: Annotated[bool, typer.Option(help="Lines instead of a live table.")] = False,
) -> None:
    """Watch store sales go in over HTTP and come out as full batches at a stand-in for Meta.

    Starts the stand-in and a gateway, sends, stops in order, and exits with 0 only if every accepted event was
    delivered or dead-lettered.
    """
    seconds = None
    if duration is not None:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", duration.strip())
        if not match:
            fail(f"--for has {duration!r}; it may be a time such as 10s or 5m", 2)
        seconds = float(match[1]) * _UNITS[match[2]]
    from gateway.demo import DemoOptions, run

    options = DemoOptions(seconds=seconds, rate=rate or None, total=total, seed=seed, batch=batch, plain=plain)
    raise SystemExit(run(options))
