"""Kill a real gateway again and again while a shop sends and Meta has bad days; then let the judge speak.

`python -m tests.crash.kill --kills 30 --seed 7` replays a run, as far as the machine lets it; `make soak` runs it for
long.
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
from tests.crash import judge

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
    """A sale that the judge can tell from its number. Every tenth has a currency that Meta refuses."""
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m-{number}",
        "originalTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60)),
        "context": {"traits": {"email": judge.email(number)}},
        "properties": {
            "order_id": f"o-{number}",
            "total": number + 0.5,
            "currency": "ZZZ" if judge.is_bad(number) else "EUR",
        },
    }


@dataclass
class Shop:
    """Sends one batch after the other, each until it is heard that it was taken."""

    url: str
    random: Random
    sent: int = 0
    acknowledged: list[int] = field(default_factory=list)
    unheard: set[int] = field(default_factory=set)
    """Events of requests whose answer was not heard at least once."""
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
                with urllib.request.urlopen(request, timeout=5) as answer:
                    assert json.load(answer)["rejected"] == []
            except urllib.error.HTTPError as refusal:
                if refusal.code != 503:
                    raise
            except (OSError, ValueError):
                self.unheard.update(numbers)
            else:
                self.acknowledged += numbers
                return
            time.sleep(0.02)


def run(folder: Path, kills: int, seed: int, seconds: float = 0.0) -> JsonObject:
    """So many kills, or for so long; what the judge found."""
    random = Random(seed)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["gateway", "sandbox", "--port", "0", "--token", "token", "--keep", "5000000"]
    with Subprocess(folder, "sandbox", arguments) as sandbox:
        meta = sandbox.started().addresses["server"]
        (folder / "gateway.toml").write_text(settings(folder, meta, port))
        for fault in FAULTS:
            _post(f"{meta}/_sandbox/faults", fault)
        shop = Shop(f"http://127.0.0.1:{port}", Random(seed + 1))
        sending = threading.Thread(target=shop.run)
        sending.start()
        instants: list[float] = []
        begun = time.monotonic()
        try:
            while len(instants) < kills or time.monotonic() - begun < seconds:
                instants.append(_one_life(folder, random))
        finally:
            shop.stop.set()
            sending.join()
        urllib.request.urlopen(urllib.request.Request(f"{meta}/_sandbox/faults", method="DELETE")).close()
        fresh = _last_life(folder, shop)
        evidence = {
            "sent": shop.sent,
            "acknowledged": shop.acknowledged,
            "unheard": sorted(shop.unheard),
            "kills": instants,
            "fresh": fresh,
            "meta": meta,
            "log": (folder / "gateway.log").read_text(),
        }
        (folder / "evidence.json").write_text(json.dumps(evidence))
        judged = subprocess.run(
            [sys.executable, "-m", "tests.crash.judge", str(folder)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
            timeout=120,
        )
    if judged.returncode:
        raise AssertionError(f"seed {seed}:\n{judged.stdout[-4000:]}{judged.stderr[-4000:]}")
    verdict: JsonObject = json.loads(judged.stdout)
    return {"seed": seed, **verdict}


def _gateway(folder: Path) -> Subprocess:
    return Subprocess(folder, "gateway", ["gateway", "serve", "--config", str(folder / "gateway.toml")])


def _one_life(folder: Path, random: Random) -> float:
    """Start, live for a while, die; the unix time of the death."""
    process = _gateway(folder)
    how = random.random()
    if how < 0.15:  # while it starts
        time.sleep(random.uniform(0.05, 0.6))
    else:
        process.started()
        time.sleep(random.uniform(0.0, 0.6))
        if how < 0.3:  # while it drains
            process.process.send_signal(signal.SIGTERM)
            time.sleep(random.uniform(0.0, 0.15))
    at = time.time()
    process.kill()
    return at


def _last_life(folder: Path, shop: Shop) -> list[int]:
    """All is well again: a fresh batch gets through, and nothing waits any more."""
    process = _gateway(folder).started()
    shop.stop.clear()
    fresh = range(shop.sent, shop.sent + 20)
    shop.send(fresh)
    deadline = time.monotonic() + 60
    while _get(f"{process.addresses['admin']}/status")["ledger"]["waiting"]:
        assert time.monotonic() < deadline, "the backlog does not drain"
        time.sleep(0.05)
    assert process.stop() == 0
    return list(fresh)


def _get(url: str) -> JsonObject:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: JsonObject = json.load(answer)
        return found


def _post(url: str, body: JsonObject) -> None:
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode())).close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="gateway-crash-") as name, contextlib.suppress(KeyboardInterrupt):
        try:
            print(json.dumps(run(Path(name), asked.kills, asked.seed, asked.seconds), indent=2))
        except (AssertionError, GatewayError) as error:
            raise SystemExit(f"seed {asked.seed}: {error}") from error


if __name__ == "__main__":
    main()
