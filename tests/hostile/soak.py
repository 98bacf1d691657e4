"""Attacks a gateway for a given time with random combinations of all attacks, and judges it from outside.

    make soak-hostile ARGS="--seconds 600"

Each round runs a few attacks together, with a write key or without, while an honest sender sends. It is judged by its
resident memory, the delay of its event loop, its log, its counts, and the latency of the honest sender. The first
violation ends the run with exit status 1, the seed and the evidence.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from gateway.model import JsonObject
from tests.e2e.environment import WRITE_KEY, Environment, until
from tests.hostile.attacks import ATTACKS, attacking
from tests.hostile.observer import HonestSender, Observer
from tests.hostile.requests import MARKER, Target

MIB = 2**20
ROUND_SECONDS = 8.0
MAX_MEMORY = 256 * MIB
MAX_UNCOUNTED = 48 * MIB
"""Memory that the budget does not count: connections, lanes, the deduplication window, and what SQLite caches."""
MAX_P99 = 1.0
"""Seconds, for the honest sender of a round. Two cores are shared by the gateway, the sandbox and all attackers."""
MAX_LATE = 0.25
"""Seconds that the event loop may be late."""
HOSTILE_KEY = "wk-of-a-hostile-sender"
SETTINGS = f'[sources.hostile]\nwrite_key = "{HOSTILE_KEY}"\ndestinations = ["store"]'


@dataclass
class Totals:
    """What the senders counted, over all rounds."""

    sent: int = 0
    """Events of honest senders."""
    accepted: int = 0
    """Those of them that the gateway accepted."""
    unknown: int = 0
    """Those of them whose request got no response."""
    hostile_accepted: int = 0
    """Events of attackers that the gateway accepted, as far as they read the response."""
    requests: Counter[str] = field(default_factory=Counter)
    """Responses to attackers, by status."""
    latencies: list[float] = field(default_factory=list)

    def add(self, honest: HonestSender, attacks: dict[str, dict[str, int]]) -> None:
        self.sent += sum(honest.statuses.values()) * honest.events
        self.accepted += honest.accepted
        self.unknown += honest.statuses[0] * honest.events
        self.latencies += honest.latencies
        for counts in attacks.values():
            self.hostile_accepted += counts.get("accepted", 0)
            self.requests.update({name: count for name, count in counts.items() if name.startswith("status ")})


def violations(observer: Observer, honest: HonestSender, attacks: dict[str, dict[str, int]]) -> list[str]:
    """What is outside of the limits after a round."""
    faults = observer.log_faults()
    if (grown := observer.peak() - observer.base) > MAX_MEMORY + MAX_UNCOUNTED:
        faults.append(f"resident memory grew by {grown / MIB:.0f} MiB")
    if (late := observer.late(MAX_LATE)) > observer.late_before[MAX_LATE]:
        faults.append(f"the event loop was late by more than {MAX_LATE} s {late} times")
    if honest.p99() > MAX_P99:
        faults.append(f"p99 of the honest sender: {honest.p99():.3f} s")
    if refused := {status: count for status, count in honest.statuses.items() if status != 200}:
        faults.append(f"responses to the honest sender: {refused}")
    for name, counts in attacks.items():
        for fault in ("quoted", "incomplete responses"):
            if counts.get(fault):
                faults.append(f"{name}: {counts[fault]} {fault}")
        if counts.get("status 500"):
            faults.append(f"{name}: {counts['status 500']} responses with status 500")
    return faults


def count_violations(env: Environment, observer: Observer, totals: Totals) -> list[str]:
    """Counts of the gateway that do not add up, or differ from those of the senders. Everything is delivered before."""
    until(lambda: env.ledger()["waiting"] == 0, "everything to be delivered")
    faults = []
    status = env.status()
    for name, counts in (("in total", status["ledger"]), *((lane["lane"], lane) for lane in status["lanes"])):
        if counts["accepted"] + counts["recovered"] != (
            counts["delivered"] + counts["dead_lettered"] + counts["waiting"]
        ):
            faults.append(f"the counts {name} do not add up: {counts}")
    events = 'gateway_events_accepted_total{destination="store",source="'
    honest, hostile = observer.metric(f'{events}shop"'), observer.metric(f'{events}hostile"')
    if not totals.accepted <= honest <= totals.accepted + totals.unknown:
        faults.append(f"accepted from honest senders: {honest}; they counted {totals.accepted}")
    if hostile < totals.hostile_accepted:
        faults.append(f"accepted from attackers: {hostile}; they counted {totals.hostile_accepted}")
    return faults


def run(folder: Path, seconds: float, seed: int) -> JsonObject:
    """Attack for some time; the result, with the violations."""
    random, totals, rounds = Random(seed), Totals(), 0
    faults: list[str] = []
    with Environment(folder, SETTINGS) as env, env.start() as process:
        env.track({"type": "identify"})
        observer = Observer(process, (MARKER, WRITE_KEY.encode(), HOSTILE_KEY.encode()))
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at and not faults:
            names = random.sample(sorted(ATTACKS), random.randint(2, 4))
            key = random.choice([HOSTILE_KEY, HOSTILE_KEY, ""])
            duration = max(1.0, min(ROUND_SECONDS, ends_at - time.monotonic()))
            target = Target.of(env.url, key)
            with (
                HonestSender(env.url, WRITE_KEY, first=10**6 + totals.sent) as honest,
                attacking(target, *names, seconds=duration, seed=random.getrandbits(32)) as attackers,
            ):
                counts = attackers.counts()
            rounds += 1
            totals.add(honest, counts)
            try:
                faults += violations(observer, honest, counts) + count_violations(env, observer, totals)
            except (AssertionError, OSError) as error:
                faults.append(f"the gateway has ended or does not respond: {error!r}")
                break
            print(
                f"round {rounds}: {', '.join(names)} {'with' if key else 'without'} a key: memory up to "
                f"+{(observer.peak() - observer.base) / MIB:.0f} MiB, p99 {honest.p99() * 1000:.0f} ms, "
                f"{totals.accepted} events accepted",
                flush=True,
            )
        grown = observer.peak() - observer.base if process.process.poll() is None else 0
        if (ended := process.stop()) != 0:
            faults.append(f"exit status {ended} of the gateway")
        faults += [fault for fault in observer.log_faults() if fault not in faults]
    latencies = sorted(totals.latencies)
    return {
        "seed": seed,
        "rounds": rounds,
        "memory_mib": round(grown / MIB),
        "p99_ms": round(latencies[int(len(latencies) * 0.99)] * 1000),
        "honest_events": totals.accepted,
        "hostile_responses": dict(sorted(totals.requests.items())),
        "violations": faults,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="gateway-hostile-") as folder:
        result = run(Path(folder), options.seconds, options.seed)
    print(json.dumps(result, indent=2))
    return 1 if result["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
