"""Files of the spool that are shortened or deleted under a running gateway, and dead letters that fill its spool.

With real processes. Whatever was acknowledged is delivered; what cannot be kept is refused.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.model import JsonObject
from tests.e2e.environment import EVENT_SET, Environment, sale, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BATCH = 20


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)


def delete(path: Path) -> None:
    path.unlink()


CUTS: dict[str, Callable[[Path], None]] = {
    "to 0 bytes": lambda path: truncate(path, 0),
    "to 8 KiB": lambda path: truncate(path, 8192),
    "to half": lambda path: truncate(path, path.stat().st_size // 2),
    "deleted": delete,
}


def spool_file(environment: Environment) -> Path:
    return environment.folder / "spool" / "spool.sqlite"


def send(environment: Environment, first: int, count: int) -> tuple[list[int], int]:
    """Send events in batches, once each; the numbers of those that were acknowledged, and the refused batches."""
    acknowledged: list[int] = []
    refused = 0
    for start in range(first, first + count, BATCH):
        numbers = range(start, start + BATCH)
        status, _ = environment.track(*(sale(number, event="Order Completed") for number in numbers))
        assert status in {200, 503}
        if status == 200:
            acknowledged += numbers
        else:
            refused += 1
    return acknowledged, refused


def arrived(environment: Environment) -> set[int]:
    return {int(event["custom_data"]["order_id"].removeprefix("order-")) for event in environment.arrived(EVENT_SET)}


def is_ready(environment: Environment) -> bool:
    try:
        with urllib.request.urlopen(f"{environment.admin}/readyz", timeout=10):
            return True
    except urllib.error.HTTPError as error:
        with error:
            return False


def idle_until_copied(environment: Environment) -> None:
    """Wait until the idle gateway has copied the log into the database, so that both have all events."""
    until(lambda: spool_file(environment).stat().st_size > 300_000, "a checkpoint")
    time.sleep(0.5)


@pytest.mark.parametrize("cut", CUTS)
def test_a_database_that_is_cut_while_the_gateway_runs_loses_no_acknowledged_event(cut: str, tmp_path: Path) -> None:
    with Environment(tmp_path) as environment:
        gateway = environment.start()
        environment.faults({"drop": "before"})  # all events wait in the spool
        before, _ = send(environment, 0, 600)
        assert len(before) == 600
        idle_until_copied(environment)
        CUTS[cut](spool_file(environment))
        after, refused = send(environment, 600, 600)
        gateway.kill()

        assert refused, "the commit that finds the change is refused"
        assert "was changed while in use" in gateway.log.read_text()
        environment.start()
        environment.faults()
        expected = {*before, *after}
        until(lambda: arrived(environment) >= expected, "every acknowledged event to arrive")
        assert arrived(environment) == expected


@pytest.mark.parametrize("cut", CUTS)
def test_a_database_that_is_cut_after_a_kill_is_recovered_from_its_log(cut: str, tmp_path: Path) -> None:
    with Environment(tmp_path) as environment:
        gateway = environment.start()
        environment.faults({"drop": "before"})
        acknowledged, _ = send(environment, 0, 600)
        gateway.kill()
        CUTS[cut](spool_file(environment))
        environment.faults()
        environment.start()
        until(lambda: arrived(environment) >= set(acknowledged), "every acknowledged event to arrive")
        assert len(acknowledged) == 600


@pytest.mark.proof
def test_the_gateway_stays_not_ready_while_its_spool_directory_is_gone(tmp_path: Path) -> None:
    with Environment(tmp_path) as environment:
        gateway = environment.start()
        environment.faults({"drop": "before"})
        acknowledged, _ = send(environment, 0, 100)
        (tmp_path / "spool").rename(tmp_path / "elsewhere")
        time.sleep(0.1)  # a moved file, which still has everything, is found within 50 ms
        assert send(environment, 100, 100) == ([], 5)
        for _ in range(12):  # longer than the interval of the probes
            assert not is_ready(environment)
            time.sleep(1)
        lines = [line for line in gateway.log.read_text().splitlines() if "was changed while in use" in line]
        assert len(lines) == 1
        (tmp_path / "elsewhere").rename(tmp_path / "spool")
        until(lambda: is_ready(environment), "the gateway to be ready again without a request")
        more, refused = send(environment, 200, 100)
        assert refused == 0
        environment.faults()
        until(lambda: arrived(environment) >= {*acknowledged, *more}, "every acknowledged event to arrive")


def test_rejected_events_do_not_keep_good_ones_out_of_a_small_spool(tmp_path: Path) -> None:
    with Environment(tmp_path) as environment:
        toml = tmp_path / "gateway.toml"
        toml.write_text(toml.read_text().replace("[spool]\n", '[spool]\nmax_bytes = "4MiB"\n'))
        environment.start()
        rejected: JsonObject = {"type": "track", "event": "Unknown event", "properties": {"note": "x" * 5000}}
        for start in range(0, 1200, 100):
            numbered = [{**rejected, "messageId": f"r-{start + index}"} for index in range(100)]
            status, answer = environment.track(*numbered)
            assert (status, answer["accepted"]) == (200, 0)
        acknowledged, refused = send(environment, 0, 200)
        assert (len(acknowledged), refused) == (200, 0)
        until(lambda: arrived(environment) >= set(acknowledged), "the good events to arrive")
        spool = environment.status()["spool"]
        assert spool["dead_letters"] > 0
        assert spool["dead_letter_bytes"] <= 2**20
        assert spool["dead_letters"] + spool["dead_letters_purged"] == 2400
