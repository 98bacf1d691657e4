"""Imports a large CSV with bad rows, kills the import several times, and counts the rows that arrived.

`python -m tests.importer.kill --rows 1000000` starts a sandbox (a stand-in for Meta's Graph API), a gateway and
`gateway backfill`, kills the latter at random rows with SIGKILL, and runs it again until it is complete. Every good row
must then be at the sandbox once, and every bad one in the file of rejected rows once.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

from bench.sales_csv import BAD_ROWS, is_bad, write
from gateway.demo.subprocesses import Subprocess
from gateway.model import JsonObject

WRITE_KEY = "wk"
EVENT_SET = "1148872185708962"
BAD = 0.01
"""Share of bad rows."""
DRAIN_SECONDS = 600.0
TOP = Path(__file__).parents[2]

SETTINGS = """
[server]
port = 0
drain_delay = 0
[admin]
port = 0
[spool]
path = "{folder}/spool"
[sources.shop]
write_key = "{write_key}"
destinations = ["store"]
[destinations.store]
api = "conversions"
access_token = "token"
standard_to_event_sets = {{ Purchase = ["{event_set}"] }}
batch.max_age = 1
upload.requests_per_second = 1000
upload.graph_url = "{meta}"
"""


@dataclass(frozen=True, slots=True)
class Services:
    """The running gateway and sandbox."""

    gateway: Subprocess
    sandbox: Subprocess

    def waiting(self) -> int:
        """Events that the gateway has not delivered yet."""
        return int(_get(f"{self.gateway.addresses['admin']}/status")["ledger"]["waiting"])

    def order_ids(self) -> Counter[str]:
        """Arrivals at the sandbox by order ID."""
        events = _get(f"{self.sandbox.addresses['server']}/_sandbox/events?limit=100000000")["events"]
        return Counter(event["custom_data"]["order_id"] for event in events)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the command."""

    status: int
    """Exit status; -9 after a kill."""
    rows: int
    """Rows that its progress file has at the end."""
    seconds: float
    processor_seconds: float
    peak_bytes: int
    """Largest resident memory."""


def start(folder: Path, keep: int) -> Services:
    """Start a sandbox that keeps `keep` events, and a gateway."""
    sandbox = Subprocess(folder, "sandbox", ["gateway", "sandbox", "--port", "0", "--keep", str(keep)]).started()
    os.setpriority(os.PRIO_PROCESS, sandbox.process.pid, 15)  # Meta's servers do not use this machine's processors
    settings = SETTINGS.format(
        folder=folder, write_key=WRITE_KEY, event_set=EVENT_SET, meta=sandbox.addresses["server"]
    )
    (folder / "gateway.toml").write_text(settings)
    serve = ["gateway", "serve", "--config", str(folder / "gateway.toml")]
    return Services(Subprocess(folder, "gateway", serve).started(), sandbox)


@dataclass(frozen=True, slots=True)
class Kill:
    """When a run is killed."""

    row: int
    """Once its progress file has this row."""
    delay: float
    """Seconds later. The progress is saved every half second; rows that are accepted in between are in doubt."""


def backfill(file: Path, url: str, rate: float | None, kill: Kill | None = None) -> Run:
    """Run the command to its end, or until it is killed."""
    command = [sys.executable, "-m", "gateway", "backfill", str(file), "--yes", "--url", url, "--write-key", WRITE_KEY]
    command += [] if rate is None else ["--rate", str(rate)]
    started = time.monotonic()
    with (file.parent / "backfill.log").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=TOP)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        while not ended and (kill is None or progress(file)["rows"] < kill.row):
            time.sleep(0.005)
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if not ended and kill is not None:
            time.sleep(kill.delay)
            os.kill(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds, processor_seconds = time.monotonic() - started, usage.ru_utime + usage.ru_stime
    return Run(process.returncode, progress(file)["rows"], seconds, processor_seconds, usage.ru_maxrss * 1024)


def progress(file: Path) -> dict[str, int]:
    """The counts in the progress file."""
    try:
        return dict(json.loads(Path(f"{file}.backfill").read_text())["progress"])
    except FileNotFoundError:
        return {"rows": 0}


def run(folder: Path, rows: int, kills: int, seed: int, rate: float | None = None) -> JsonObject:
    """Import a file with this many rows and kills; the counts. Raises `AssertionError`.

    `rate`: rows per second. A small file needs one, so that the import does not end before it is killed.
    """
    random = Random(seed)
    file = folder / "sales.csv"
    write(file, rows, BAD, seed)
    services = start(folder, keep=2 * rows)
    with services.sandbox, services.gateway:
        url = services.gateway.addresses["server"]
        kills_at = sorted(random.sample(range(1, rows * 7 // 10), kills))
        runs = [backfill(file, url, rate, Kill(row, random.uniform(0.1, 0.4))) for row in kills_at]
        runs.append(backfill(file, url, rate))
        log = (folder / "backfill.log").read_text()
        assert [each.status for each in runs] == [-signal.SIGKILL] * kills + [1], log[-2000:]
        deadline = time.monotonic() + DRAIN_SECONDS
        while services.waiting():
            assert time.monotonic() < deadline, "the gateway does not deliver the events"
            time.sleep(0.1)
        gateway_seconds = processor_seconds(services.gateway.process.pid)
        sandbox_seconds = processor_seconds(services.sandbox.process.pid)
        arrived = services.order_ids()
    good = {f"o-{number}" for number in range(1, rows + 1) if not is_bad(number, BAD)}
    rejected = rejected_rows(Path(f"{file}.rejected.csv"))
    seconds = sum(each.seconds for each in runs)
    counts = {
        "seed": seed,
        "rows": rows,
        "kills_at_rows": [each.rows for each in runs[:-1]],
        "good_rows": len(good),
        "missing": len(good - arrived.keys()),
        "twice": sum(count > 1 for count in arrived.values()),
        "not_in_file": len(arrived.keys() - good),
        "bad_rows": rows - len(good),
        "repeated_in_doubt": progress(file)["ignored"],
        "rejected": len(rejected),
        "rejected_twice": len(rejected) - len({line for line, _ in rejected}),
        "rejected_by_code": Counter(code for _, code in rejected),
        "rows_per_second": round(rows / seconds),
        "processor_microseconds_per_row": {
            "import": round(sum(each.processor_seconds for each in runs) / rows * 1e6, 1),
            "gateway": round(gateway_seconds / rows * 1e6, 1),
            "sandbox": round(sandbox_seconds / rows * 1e6, 1),
        },
        "peak_mib": round(max(each.peak_bytes for each in runs) / 2**20, 1),
    }
    assert counts["missing"] == counts["twice"] == counts["not_in_file"] == counts["rejected_twice"] == 0, counts
    assert counts["rejected"] == counts["bad_rows"], counts
    assert not kills or counts["repeated_in_doubt"], "no rows were in doubt, so the run did not test them"
    assert {code for _, code in rejected} == set(BAD_ROWS), counts
    return counts


def rejected_rows(path: Path) -> list[tuple[str, str]]:
    """The line numbers and codes in a file of rejected rows."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(row["rejected_line"], row["rejected_code"]) for row in csv.DictReader(file)]


def processor_seconds(pid: int) -> float:
    """Processor time of a running process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _get(url: str) -> JsonObject:
    with urllib.request.urlopen(url, timeout=300) as response:
        body: JsonObject = json.load(response)
        return body


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.importer.kill", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="default: %(default)d")
    parser.add_argument("--kills", type=int, default=3, help="default: %(default)d")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="gateway-backfill-") as name:
        print(json.dumps(run(Path(name), options.rows, options.kills, options.seed), indent=2))


if __name__ == "__main__":
    main()
