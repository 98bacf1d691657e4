"""`python -m bench`: what the gateway does on this machine, beside floors measured in the same run."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from bench.picture import bars
from bench.result import Result, summary, table
from bench.rig import FULL, QUICK, REFUSING, Form, Rig, settings

SCENARIOS = ("mapper", "single", "batches", "lanes", "backlog", "shapes", "workers", "sidecar", "peers", "soak")
QUICKLY = tuple(one for one in SCENARIOS if one not in {"peers", "soak"})
RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
LIBRARIES = ("aiohttp", "uvloop", "orjson", "apsw", "aiolimiter")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer, with larger backlogs and a soak")
    parser.add_argument("--only", help="scenarios, separated by commas: " + ", ".join(SCENARIOS))
    parser.add_argument("--seconds", type=float, help="for each measurement, and for the soak when only that is run")
    parser.add_argument("--seed", type=int, default=1, help="of the generated sales (default: %(default)d)")
    parser.add_argument("--peer", help="address of another service that takes /v1/batch, for the scenario peers")
    parser.add_argument("--publish", action="store_true", help="write the picture to docs/pictures as well")
    asked = parser.parse_args()
    names = asked.only.split(",") if asked.only else SCENARIOS if asked.full else QUICKLY
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    form = FULL if asked.full else QUICK
    if asked.seconds:
        form = replace(form, seconds=asked.seconds, soak=asked.seconds if names == ["soak"] else form.soak)
    results = measure(names, form, asked.seed, asked.peer)
    write(results, form, asked.seed, publish=asked.publish)


def measure(names: tuple[str, ...] | list[str], form: Form, seed: int, peer: str | None) -> list[Result]:
    """Run scenarios and print each."""
    console = Console()
    results = []
    with Rig(seed) as rig:
        for name in names:
            begun = time.perf_counter()
            scenario: Callable[..., Result] = import_module(f"bench.scenarios.{name}").run
            result = scenario(rig, form, peer) if name == "peers" else scenario(rig, form)
            results.append(result)
            console.print(table(result))
            console.print(f"[dim]{name}: {time.perf_counter() - begun:.0f} s[/dim]\n")
    console.print(summary(results))
    return results


def write(results: list[Result], form: Form, seed: int, *, publish: bool) -> None:
    """JSON and a picture in `bench/results`."""
    RESULTS.mkdir(exist_ok=True)
    told = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "form": asdict(form),
        "seed": seed,
        "settings": settings(REFUSING, Path("bench")),
        "results": [result.as_json() for result in results],
    }
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{form.name}"
    (RESULTS / f"{name}.json").write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
    picture = bars(results)
    (RESULTS / f"{name}.svg").write_text(picture)
    if publish:
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / "bars.svg").write_text(picture)
    print(f"written: bench/results/{name}.json and .svg")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "python": sys.version,
        "libraries": {name: version(name) for name in LIBRARIES},
    }


if __name__ == "__main__":
    main()
