"""The official Python SDKs, unmodified: their events arrive, even if the gateway refuses some requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.environment import WRITE_KEY, Environment, until
from tests.e2e.proxy import Proxy
from tests.e2e.test_guarantees import orders

EVENTS = 230
"""More than two batches of the SDKs."""

RUDDERSTACK = """
import rudderstack.analytics as sdk
sdk.dataPlaneUrl = {url!r}
"""
SEGMENT = """
import segment.analytics as sdk
sdk.host = {url!r}
"""
SEND = """
import logging, sys
sdk.write_key = {key!r}
sdk.on_error = lambda error, items: (print(error, file=sys.stderr), sys.exit(3))
for number in range({events}):
    sdk.track(f"user-{{number}}", "Order Completed", {{"order_id": f"order-{{number}}", "total": 9.5}},
              context={{"traits": {{"email": f"customer{{number}}@example.com"}}}})
sdk.identify("user-1", {{"email": "x@example.com"}})
sdk.page("user-1", "Home")
sdk.shutdown()
"""


@pytest.mark.parametrize("sdk", [RUDDERSTACK, SEGMENT], ids=["rudderstack", "segment"])
@pytest.mark.parametrize(("status", "times"), [(503, 0), (503, 2), (429, 2)])
def test_events_of_an_sdk_arrive_once_each(tmp_path: Path, sdk: str, status: int, times: int) -> None:
    with Environment(tmp_path) as env, env.start(), Proxy(env.url, status, times) as proxy:
        script = sdk.format(url=proxy.url) + SEND.format(key=WRITE_KEY, events=EVENTS)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False, timeout=55
        )
        assert done.returncode == 0, done.stderr
        assert proxy.refused == times
        until(lambda: len(orders(env)) == EVENTS, "every event")
        assert orders(env) == sorted(f"order-{number}" for number in range(EVENTS))
        assert env.status()["ignored"] == 2
