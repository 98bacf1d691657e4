"""`python -m bench`: what the gateway does on this machine, beside floors measured in the same run."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import orjson
from rich.console import Console

from bench.charts import charts
from bench.harness import FULL, QUICK, Harness, Profile
from bench.machine import machine
from bench.report import put_into, summary, table
from bench.result import Result
from bench.scenarios import ASKED_FOR, SCENARIOS, scenario
from bench.workload import REFUSING, settings

RESULTS = Path(__file__).parent / "results"
LATEST = RESULTS / "latest.json"
DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
PICTURES = DOCS / "pictures"


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    profiles = parser.add_mutually_exclusive_group()
    profiles.add_argument("--quick", action="store_true", help="under three minutes; the default")
    profiles.add_argument("--full", action="store_true", help="longer, more rounds, backlogs up to 5 million")
    parser.add_argument("--only", help="scenarios, separated by commas; see --list")
    parser.add_argument("--list", action="store_true", help="say which scenarios there are")
    parser.add_argument("--seconds", type=float, help="for each measurement; of the soak, its length")
    parser.add_argument("--seed", type=int, default=1, help="of the generated sales (default: %(default)d)")
    parser.add_argument("--json", type=Path, help="write the results to this file as well")
    parser.add_argument("--peer", help="address of another service that takes /v1/batch, for the scenario peers")
    parser.add_argument("--write-key", help="what the peer is sent as the user name")
    parser.add_argument(
        "--publish",
        nargs="*",
        type=Path,
        metavar="RESULTS",
        help="measure nothing; write these results (default: the latest) and the pictures of the last into docs/",
    )
    asked = parser.parse_args()
    if asked.list:
        for name in SCENARIOS:
            print(f"{name:10} {(scenario(name).__doc__ or '').splitlines()[0]}")
        return
    if asked.publish is not None:
        publish(asked.publish or [LATEST])
        return
    names = asked.only.split(",") if asked.only else [name for name in SCENARIOS if name not in ASKED_FOR]
    if unknown := set(names) - set(SCENARIOS):
        parser.error(f"there is no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}")
    if asked.seconds is not None and asked.seconds <= 0:
        parser.error("--seconds should be above 0")
    profile = FULL if asked.full else QUICK
    if asked.seconds:
        profile = replace(profile, soak=asked.seconds) if names == ["soak"] else replace(profile, seconds=asked.seconds)
    told = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": "python -m bench"
        + (" --full" if asked.full else "")
        + (f" --only {asked.only}" if asked.only else ""),
        "machine": machine(),
        "form": profile,
        "seed": asked.seed,
        "settings": settings(REFUSING, Path("bench")),
    }
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes of the rig end with this one
    with Harness(asked.seed, asked.peer, asked.write_key) as harness:
        results = measure(names, harness, profile)
    write({**told, "results": [result.as_json() for result in results]}, results, profile, asked.json)


def measure(names: list[str], harness: Harness, profile: Profile) -> list[Result]:
    """Run scenarios and print each."""
    console = Console()
    results = []
    begun = time.perf_counter()
    for name in names:
        since = time.perf_counter()
        result = scenario(name).run(harness, profile)
        results.append(result)
        console.print(table(result))
        console.print(f"[dim]{name}: {time.perf_counter() - since:.0f} s[/dim]\n")
    console.print(summary(results))
    console.print(f"[dim]{time.perf_counter() - begun:.0f} s in all[/dim]")
    return results


def write(told: dict[str, object], results: list[Result], profile: Profile, also: Path | None) -> None:
    """JSON and pictures in `bench/results`."""
    RESULTS.mkdir(exist_ok=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{profile.name}"
    encoded = orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n"
    for path in (RESULTS / f"{name}.json", LATEST, *([also] if also else [])):
        path.write_bytes(encoded)
    made = charts(results)
    for chart, text in made.items():
        (RESULTS / f"{name}-{chart}.svg").write_text(text, encoding="utf-8")
    print(f"written: bench/results/{name}.json" + (f", pictures: {', '.join(made)}" if made else ""))


def publish(paths: list[Path]) -> None:
    """The tables and pictures of runs, for the documentation."""
    if missing := [str(path) for path in paths if not path.exists()]:
        raise SystemExit(f"there are no results at {', '.join(missing)}; run `python -m bench` first")
    runs = [orjson.loads(path.read_bytes()) for path in paths]
    put_into(PAGE, runs)
    PICTURES.mkdir(exist_ok=True)
    made = charts([Result.from_json(result) for result in runs[-1]["results"]])
    for name, text in made.items():
        (PICTURES / f"{name}.svg").write_text(text, encoding="utf-8")
    print(f"written: docs/{PAGE.name}, docs/{PICTURES.name}/: {', '.join(made)}")


if __name__ == "__main__":
    main()
