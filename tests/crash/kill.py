"""Kills a real gateway repeatedly while a client sends events and the Meta sandbox fails; then verifies the result.

`python -m tests.crash.kill --kills 30 --seed 7` repeats the random choices of a run; timing still differs. `make soak`
runs it for ten minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from gateway.demo.subprocesses import Subprocess
from gateway.model import GatewayError, JsonObject
from tests.crash import verifier

WRITE_KEY = "wk"
EVENT_SET = "1148872185708962"
FAULTS: list[JsonObject] = [
    {"status": 500, "code": 2, "share": 0.1},
    {"drop": "before", "share": 0.1},
    {"answer_delay": 0.35, "share": 0.8},
]


def settings(folder: Path, meta: str, port: int) -> str:
    return f"""
[server]
port = {port}
drain_delay = 0
[admin]
port = 0
[spool]
path = "{folder / "spool"}"
[sources.shop]
write_key = "{WRITE_KEY}"
destinations = ["store"]
[destinations.store]
api = "conversions"
access_token = "token"
standard_to_event_sets = {{ Purchase = ["{EVENT_SET}"] }}
batch.max_age = 0.1
upload.requests_per_second = 300
upload.backoff_base = 0.05
upload.backoff_max = 0.3
upload.graph_url = "{meta}"
"""


def event(number: int) -> JsonObject:
    """Return a purchase whose fields follow from its number. Every tenth has a currency that Meta rejects."""
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m-{number}",
        "originalTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60)),
        "context": {"traits": {"email": verifier.email(number)}},
        "properties": {
            "order_id": f"o-{number}",
            "total": number + 0.5,
            "currency": "ZZZ" if verifier.is_rejected(number) else "EUR",
        },
    }


@dataclass
class Client:
    """Sends one batch after the other, and retries each until the gateway accepts it."""

    url: str
    random: Random
    sent: int = 0
    acknowledged: list[int] = field(default_factory=list)
    unanswered: set[int] = field(default_factory=set)
    """Events of requests that got no response at least once."""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            size = self.random.randint(1, 40)
            self.send(range(self.sent, self.sent + size))
            time.sleep(self.random.uniform(0, 0.01))

    def send(self, numbers: range) -> None:
        self.sent = max(self.sent, numbers.stop)
        body = json.dumps({"batch": [event(number) for number in numbers]}).encode()
        authorization = "Basic " + b64encode(f"{WRITE_KEY}:".encode()).decode()
        while not self.stop.is_set():
            request = urllib.request.Request(f"{self.url}/v1/batch", body, {"Authorization": authorization})
            try:
                with urllib.request.urlopen(request, timeout=5) as response:
                    assert json.load(response)["rejected"] == []
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    raise
            except (OSError, ValueError):
                self.unanswered.update(numbers)
            else:
                self.acknowledged += numbers
                return
            time.sleep(0.02)


def run(folder: Path, kills: int, seed: int, seconds: float = 0.0) -> JsonObject:
    """Run until there were `kills` kills and `seconds` have passed, and return the verified counts.

    Raises `AssertionError` with the seed when the verification fails.
    """
    random = Random(seed)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["gateway", "sandbox", "--port", "0", "--token", "token", "--keep", "5000000"]
    with Subprocess(folder, "sandbox", arguments) as sandbox:
        meta = sandbox.started().addresses["server"]
        (folder / "gateway.toml").write_text(settings(folder, meta, port))
        for fault in FAULTS:
            _post(f"{meta}/_sandbox/faults", fault)
        client = Client(f"http://127.0.0.1:{port}", Random(seed + 1))
        sending = threading.Thread(target=client.run)
        sending.start()
        kill_times: list[float] = []
        started = time.monotonic()
        try:
            while len(kill_times) < kills or time.monotonic() - started < seconds:
                kill_times.append(_run_and_kill(folder, random))
        finally:
            client.stop.set()
            sending.join()
        urllib.request.urlopen(urllib.request.Request(f"{meta}/_sandbox/faults", method="DELETE")).close()
        last_run = _run_until_drained(folder, client)
        evidence = {
            "sent": client.sent,
            "acknowledged": client.acknowledged,
            "unanswered": sorted(client.unanswered),
            "kills": kill_times,
            "last_run": last_run,
            "meta": meta,
            "log": (folder / "gateway.log").read_text(),
        }
        (folder / "evidence.json").write_text(json.dumps(evidence))
        verification = subprocess.run(
            [sys.executable, "-m", "tests.crash.verifier", str(folder)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
            timeout=120,
        )
    if verification.returncode:
        raise AssertionError(f"seed {seed}:\n{verification.stdout[-4000:]}{verification.stderr[-4000:]}")
    counts: JsonObject = json.loads(verification.stdout)
    return {"seed": seed, **counts}


def _gateway(folder: Path) -> Subprocess:
    return Subprocess(folder, "gateway", ["gateway", "serve", "--config", str(folder / "gateway.toml")])


def _run_and_kill(folder: Path, random: Random) -> float:
    """Start a gateway, kill it after a random time, and return the unix time of the kill."""
    process = _gateway(folder)
    phase = random.random()
    if phase < 0.15:  # while it starts
        time.sleep(random.uniform(0.05, 0.6))
    else:
        process.started()
        time.sleep(random.uniform(0.0, 0.6))
        if phase < 0.3:  # while it drains
            process.process.send_signal(signal.SIGTERM)
            time.sleep(random.uniform(0.0, 0.15))
    at = time.time()
    process.kill()
    return at


def _run_until_drained(folder: Path, client: Client) -> list[int]:
    """Start a gateway without faults, send one more batch, wait until the backlog is empty, and return the batch."""
    process = _gateway(folder).started()
    client.stop.clear()
    numbers = range(client.sent, client.sent + 20)
    client.send(numbers)
    deadline = time.monotonic() + 60
    while _get(f"{process.addresses['admin']}/status")["ledger"]["waiting"]:
        assert time.monotonic() < deadline, "the backlog does not drain"
        time.sleep(0.05)
    assert process.stop() == 0
    return list(numbers)


def _get(url: str) -> JsonObject:
    with urllib.request.urlopen(url, timeout=10) as response:
        body: JsonObject = json.load(response)
        return body


def _post(url: str, body: JsonObject) -> None:
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())).close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="gateway-crash-") as name, contextlib.suppress(KeyboardInterrupt):
        try:
            print(json.dumps(run(Path(name), options.kills, options.seed, options.seconds), indent=2))
        except (AssertionError, GatewayError) as error:
            raise SystemExit(f"seed {options.seed}: {error}") from error


if __name__ == "__main__":
    main()
