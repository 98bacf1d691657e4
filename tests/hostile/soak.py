"""Attacks a gateway for a given time with random combinations of all attacks, and judges it from outside.

    make soak-hostile ARGS="--seconds 600"

Exit status 1 when memory, loop lag, log, counts or an honest sender's latency are outside of their limits.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from tests.e2e.environment import WRITE_KEY, Environment
from tests.hostile.attacks import ATTACKS, attacking
from tests.hostile.observer import HonestSender, Observer
from tests.hostile.requests import Target

MIB = 2**20
ROUND_SECONDS = 8.0
BASE_MIB = 120
MAX_MEMORY_MIB = 256
MAX_P99 = 1.0
"""Seconds, for the honest sender of a round. Two cores are shared by the gateway, the sandbox and all attackers."""
MAX_LATE = 0.25
"""Seconds that the event loop may be late."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    random = Random(options.seed)
    faults: list[str] = []
    rounds, sent, peak, worst = 0, 0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder, Environment(Path(folder)) as env, env.start() as process:
        observer = Observer(process)
        until = time.monotonic() + options.seconds
        while time.monotonic() < until and not faults:
            names = random.sample(sorted(ATTACKS), random.randint(2, 4))
            key = random.choice([WRITE_KEY, WRITE_KEY, ""])
            with (
                HonestSender(env.url, WRITE_KEY, first=sent + 1_000_000) as sender,
                attacking(
                    Target.of(env.url, key), *names, seconds=ROUND_SECONDS, seed=random.getrandbits(32)
                ) as running,
            ):
                running.counts()
            rounds, sent = rounds + 1, sent + 10 * len(sender.latencies)
            peak, worst = max(peak, observer.peak() / MIB), max(worst, sender.p99())
            faults += [f"resident memory {peak:.0f} MiB"] if peak > BASE_MIB + MAX_MEMORY_MIB else []
            faults += [f"p99 {sender.p99():.3f} s"] if sender.p99() > MAX_P99 else []
            faults += [f"loop late {observer.late(MAX_LATE)} times"] if observer.late(MAX_LATE) else []
            faults += observer.log_faults()
            ledger = env.ledger()
            if ledger["accepted"] != ledger["delivered"] + ledger["dead_lettered"] + ledger["waiting"]:
                faults.append(f"counts do not add up: {ledger}")
            with_key = "with a key" if key else "without a key"
            print(f"{', '.join(names)} {with_key}: peak {peak:.0f} MiB, p99 {sender.p99() * 1000:.0f} ms", flush=True)
    result = {"seed": options.seed, "rounds": rounds, "peak_mib": round(peak), "worst_p99": round(worst, 3)}
    print(json.dumps({**result, "faults": faults}))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
