"""Benchmark of the gateway on this machine, compared with baselines that are measured in the same run."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from bench.charts import draw_charts
from bench.harness import FULL, QUICK, Harness, Profile
from bench.machine import describe_machine
from bench.report import replace_measured_section, result_table, target_table
from bench.result import Result
from bench.scenarios import ON_REQUEST, SCENARIOS, scenario
from bench.workload import UNREACHABLE_META, gateway_settings

RESULTS = Path(__file__).parent / "results"
LATEST = RESULTS / "latest.json"
DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "performance.md"
CHARTS = DOCS / "pictures"


def main() -> None:
    """Run the scenarios that the command line selects."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    profiles = parser.add_mutually_exclusive_group()
    profiles.add_argument("--quick", action="store_true", help="short measurements, under three minutes (default)")
    profiles.add_argument(
        "--full", action="store_true", help="longer measurements, more rounds, backlogs of up to 5 million events"
    )
    parser.add_argument("--only", metavar="NAMES", help="scenarios to run, separated by commas; see --list")
    parser.add_argument("--list", action="store_true", help="list the scenarios and exit")
    parser.add_argument(
        "--seconds", type=float, help="length of each measurement; with `--only soak`, length of the scenario"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the generated sales (default: %(default)d)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file as well")
    parser.add_argument(
        "--peer", metavar="URL", help="another service that accepts /v1/batch, to compare with in the scenario peers"
    )
    parser.add_argument("--write-key", metavar="KEY", help="write key for the peer, sent as the user name")
    parser.add_argument(
        "--publish",
        nargs="*",
        type=Path,
        metavar="RESULTS",
        help="do not measure; write the tables of these result files (default: the latest) and the charts of the last "
        "one into docs/",
    )
    arguments = parser.parse_args()
    if arguments.list:
        for name in SCENARIOS:
            print(f"{name:12} {(scenario(name).__doc__ or '').splitlines()[0]}")
        return
    if arguments.publish is not None:
        publish(arguments.publish or [LATEST])
        return
    names = arguments.only.split(",") if arguments.only else [name for name in SCENARIOS if name not in ON_REQUEST]
    if unknown := sorted(set(names) - set(SCENARIOS)):
        parser.error(f"--only: unknown scenario {', '.join(unknown)}; expected some of {', '.join(SCENARIOS)}")
    seconds = arguments.seconds
    if seconds is not None and seconds <= 0:
        parser.error(f"--seconds: invalid value {seconds:g}; expected a number above 0")
    profile = FULL if arguments.full else QUICK
    if seconds:
        profile = replace(profile, soak=seconds) if names == ["soak"] else replace(profile, seconds=seconds)
    run_info = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": "python -m bench"
        + (" --full" if arguments.full else "")
        + (f" --only {arguments.only}" if arguments.only else ""),
        "machine": describe_machine(),
        "profile": profile,
        "seed": arguments.seed,
        "settings": gateway_settings(UNREACHABLE_META, Path("bench")),
    }
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leaves the context below, which ends the child processes
    with Harness(arguments.seed, arguments.peer, arguments.write_key) as harness:
        results = run_scenarios(names, harness, profile)
    write_results(run_info, results, profile, arguments.json)


def run_scenarios(names: Sequence[str], harness: Harness, profile: Profile) -> list[Result]:
    """Run scenarios and print the table of each."""
    console = Console()
    results = []
    run_started = time.perf_counter()
    for name in names:
        started = time.perf_counter()
        result = scenario(name).run(harness, profile)
        results.append(result)
        console.print(result_table(result))
        console.print(f"[dim]{name}: {time.perf_counter() - started:.0f} s[/dim]\n")
    console.print(target_table(results))
    console.print(f"[dim]total: {time.perf_counter() - run_started:.0f} s[/dim]")
    return results


def write_results(
    run_info: Mapping[str, Any], results: Sequence[Result], profile: Profile, extra_file: Path | None
) -> None:
    """Write the results as JSON, and their charts, to `bench/results`."""
    RESULTS.mkdir(exist_ok=True)
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{profile.name}"
    run = {**run_info, "results": [result.as_json() for result in results]}
    encoded = orjson.dumps(run, option=orjson.OPT_INDENT_2) + b"\n"
    for path in (RESULTS / f"{name}.json", LATEST, *([extra_file] if extra_file else [])):
        path.write_bytes(encoded)
    charts = draw_charts(results)
    for chart, svg in charts.items():
        (RESULTS / f"{name}-{chart}.svg").write_text(svg, encoding="utf-8")
    print(f"wrote bench/results/{name}.json" + (f"; charts: {', '.join(charts)}" if charts else ""))


def publish(paths: Sequence[Path]) -> None:
    """Write the tables of runs, and the charts of the last one, into the documentation."""
    if missing := [str(path) for path in paths if not path.exists()]:
        raise SystemExit(f"no results at {', '.join(missing)}; run `python -m bench` first")
    runs = [orjson.loads(path.read_bytes()) for path in paths]
    replace_measured_section(PAGE, runs)
    CHARTS.mkdir(exist_ok=True)
    charts = draw_charts([Result.from_json(result) for result in runs[-1]["results"]])
    for name, svg in charts.items():
        (CHARTS / f"{name}.svg").write_text(svg, encoding="utf-8")
    print(f"wrote docs/{PAGE.name}; charts in docs/{CHARTS.name}/: {', '.join(charts)}")


if __name__ == "__main__":
    main()
