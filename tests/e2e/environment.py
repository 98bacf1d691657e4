"""A gateway process and a sandbox process (a stand-in for Meta's Graph API), on ports that the system chose."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from gateway.demo.subprocesses import Subprocess
from gateway.model import JsonObject

TOKEN = "EAAB-a-token-that-no-log-may-show"
WRITE_KEY = "wk-of-the-shop-that-no-log-may-show"
EVENT_SET = "1148872185708962"
DEADLINE = 20.0
"""Seconds after which a wait fails."""


class Environment:
    """A running sandbox, and a gateway that can be started and stopped. All files are in one folder."""

    def __init__(self, folder: Path, settings: str = "", destination: str = "", server: str = "") -> None:
        self.folder = folder
        self.sandbox = Subprocess(folder, "sandbox", ["gateway", "sandbox", "--port", "0", "--token", TOKEN]).started()
        self.gateway: Subprocess | None = None
        (folder / "gateway.toml").write_text(
            f"""
[server]
port = 0
drain_delay = 0
{server}
[admin]
port = 0
[spool]
path = "{folder / "spool"}"
[sources.shop]
write_key = "{WRITE_KEY}"
destinations = ["store", "legacy"]
[destinations.store]
api = "conversions"
access_token = {{ env = "TEST_META_TOKEN" }}
standard_to_event_sets = {{ AddToCart = ["{EVENT_SET}"], Purchase = ["{EVENT_SET}"] }}
limited_data_usage = true
default_country = "US"
{destination}
batch.max_age = 0.2
upload.requests_per_second = 100
upload.backoff_base = 0.1
upload.backoff_max = 0.5
upload.graph_url = "{self.meta}"
[destinations.legacy]
api = "offline"
access_token = {{ env = "TEST_META_TOKEN" }}
standard_to_event_sets = {{ AddToCart = ["{EVENT_SET}00"], Purchase = ["{EVENT_SET}00"] }}
limited_data_usage = true
batch.max_age = 0.2
upload.requests_per_second = 100
upload.backoff_base = 0.1
upload.backoff_max = 0.5
upload.graph_url = "{self.meta}"
upload.graph_version = "v16.0"
{settings}
"""
        )

    def start(self, *options: str) -> Subprocess:
        """Start or restart the gateway."""
        environ = {"TEST_META_TOKEN": TOKEN}
        arguments = ["gateway", "serve", "--config", str(self.folder / "gateway.toml"), *options]
        self.gateway = Subprocess(self.folder, "gateway", arguments, environ=environ).started()
        return self.gateway

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.gateway, self.sandbox):
            if process is not None:
                process.__exit__()

    @property
    def meta(self) -> str:
        return self.sandbox.addresses["server"]

    @property
    def url(self) -> str:
        assert self.gateway is not None
        return self.gateway.addresses["server"]

    @property
    def admin(self) -> str:
        assert self.gateway is not None
        return self.gateway.addresses["admin"]

    def status(self) -> JsonObject:
        return dict(get(f"{self.admin}/status"))

    def ledger(self) -> dict[str, int]:
        return dict(self.status()["ledger"])

    def arrived(self, event_set: str = EVENT_SET) -> list[JsonObject]:
        """Events of an event set that the sandbox accepted."""
        return list(get(f"{self.meta}/_sandbox/events?event_set={event_set}&limit=10000")["events"])

    def faults(self, *faults: JsonObject) -> None:
        """Replace the faults that the sandbox injects; without arguments, it injects none."""
        request = urllib.request.Request(f"{self.meta}/_sandbox/faults", method="DELETE")
        urllib.request.urlopen(request).close()
        for fault in faults:
            post(f"{self.meta}/_sandbox/faults", fault)

    def track(self, *events: JsonObject) -> tuple[int, JsonObject]:
        """Send a batch with the write key of the source; status and response."""
        return post(f"{self.url}/v1/batch", {"writeKey": WRITE_KEY, "batch": list(events)})


def sale(number: int, **changes: Any) -> JsonObject:
    """A valid purchase. Each number has its own customer, order and message ID."""
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"message-{number}",
        "userId": f"user-{number}",
        "originalTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60)),
        "properties": {"order_id": f"order-{number}", "total": 12.5, "currency": "EUR"},
        "context": {"traits": {"email": f"customer{number}@example.com"}},
        **changes,
    }


def until(condition: Callable[[], bool], expected: str) -> None:
    """Wait until a condition on another process is true. `expected` describes it for the failure message."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"waited {DEADLINE} s for {expected}"
        time.sleep(0.02)


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=DEADLINE) as response:
        return json.load(response)


def post(url: str, body: Any, headers: Mapping[str, str] | None = None) -> tuple[int, JsonObject]:
    request = urllib.request.Request(url, json.dumps(body).encode(), dict(headers or {}), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
