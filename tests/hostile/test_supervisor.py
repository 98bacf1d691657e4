"""Several real workers: counters never fall when one is killed, and no signal or failure of a worker stops the rest."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.model import JsonObject
from tests.e2e.environment import Environment, sale, until
from tests.e2e.test_guarantees import orders
from tests.e2e.test_workers import AUTHORIZATION, environment_of, spread, workers_of

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def counters(env: Environment) -> Series:
    """All series of a scrape that must not fall: counters, and the parts of histograms."""
    with urllib.request.urlopen(f"{env.admin}/metrics", timeout=20) as response:
        text = response.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        if family.type in {"counter", "histogram"} and family.name.startswith("gateway_")
        for sample in family.samples
    }


def assert_none_fell(before: Series, after: Series) -> None:
    fell = {series: (value, after.get(series)) for series, value in before.items() if after.get(series, -1.0) < value}
    assert not fell


def total(series: Series, name: str) -> float:
    return sum(value for (sample, _), value in series.items() if sample == name)


def assert_balanced(status: JsonObject) -> None:
    for counts in (status["ledger"], *status["lanes"]):
        assert counts["accepted"] + counts["recovered"] == sum(
            counts[name] for name in ("delivered", "dead_lettered", "waiting")
        ), counts
        assert min(counts[name] for name in ("accepted", "delivered", "dead_lettered", "waiting")) >= 0


class Load:
    """Senders that send sales, each over a new connection, and repeat one without a response."""

    def __init__(self, env: Environment, threads: int = 3) -> None:
        self._env = env
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._next = 0
        self.sent = 0
        self.repeated = 0
        """Attempts without a response. The worker may have stored the sale, and another one stores it again."""
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        address = urlsplit(self._env.url)
        while not self._stop.wait(0.002):
            with self._lock:
                number = self._next
                self._next += 1
            event = sale(number)
            if number % 10 == 0:
                event["event"] = "Unmapped"
            while not self._sent(address.hostname or "", address.port or 0, event):
                with self._lock:
                    self.repeated += 1
                time.sleep(0.01)
            with self._lock:
                self.sent += 1

    def _sent(self, host: str, port: int, event: JsonObject) -> bool:
        connection = http.client.HTTPConnection(host, port, timeout=20)
        try:
            connection.request("POST", "/v1/track", json.dumps(event).encode(), AUTHORIZATION)
            return connection.getresponse().status in {200, 400}
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def test_no_counter_falls_when_a_worker_is_killed_under_load(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start() as running:
        before = counters(env)
        with Load(env) as load:
            for _ in range(3):
                victim = workers_of(env)[-1]
                killed_at = time.monotonic() + 1.5
                is_killed = False
                while time.monotonic() < killed_at + 2.5:
                    if not is_killed and time.monotonic() > killed_at:
                        os.kill(victim, signal.SIGKILL)
                        is_killed = True
                    after = counters(env)
                    assert_none_fell(before, after)
                    assert_balanced(env.status())
                    before = after
        until(lambda: env.ledger()["waiting"] == 0 and env.status()["ready"], "everything to be delivered")
        after = counters(env)
        assert_none_fell(before, after)
        status = env.status()
        assert_balanced(status)
        # Each sale has two destinations. Nothing is invented; what was counted in the second before a kill may be lost.
        sales = load.sent - (load.sent + 9) // 10
        accepted, recovered = (
            total(after, "gateway_events_accepted_total"),
            total(after, "gateway_events_recovered_total"),
        )
        assert accepted <= 2 * (sales + load.repeated)
        assert accepted + recovered >= 2 * sales * 0.5
        assert total(after, "gateway_worker_restarts_total") == 3
        assert status["ledger"]["delivered"] <= 2 * (sales + load.repeated)
        assert len(set(orders(env))) == sales, "no sale is lost"
        assert running.stop() == 0


def test_two_workers_with_the_same_counts_keep_them_when_one_is_killed(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start() as running:
        spread(env, [sale(number) for number in range(40)])
        until(lambda: env.ledger()["waiting"] == 0, "everything to be delivered")
        time.sleep(1.5)  # the supervisor reads the counters once a second
        before = counters(env)
        assert total(before, "gateway_events_accepted_total") == 80
        os.kill(workers_of(env)[0], signal.SIGKILL)
        until(lambda: env.status()["workers"] == 1, "the supervisor to notice")
        assert total(counters(env), "gateway_events_accepted_total") == 80
        until(lambda: env.status()["workers"] == 2, "another process")
        after = counters(env)
        assert_none_fell(before, after)
        assert total(after, "gateway_events_accepted_total") == 80
        assert total(after, "gateway_events_delivered_total") == 80
        assert env.ledger() == {"recovered": 0, "accepted": 80, "delivered": 80, "dead_lettered": 0, "waiting": 0}
        assert running.stop() == 0


def test_waiting_events_of_a_killed_worker_are_neither_lost_nor_counted_twice(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start() as running:
        env.faults({"status": 500})
        spread(env, [sale(number) for number in range(40)])
        time.sleep(1.5)
        expected = {"recovered": 0, "accepted": 80, "delivered": 0, "dead_lettered": 0, "waiting": 80}
        assert env.ledger() == expected
        for _ in range(2):
            os.kill(workers_of(env)[0], signal.SIGKILL)
            until(lambda: env.status()["workers"] == 1, "the supervisor to notice")
            assert env.ledger() == expected
            until(lambda: env.status()["workers"] == 2, "another process")
            assert env.ledger() == expected
            time.sleep(1.5)
        env.faults()
        until(lambda: env.ledger()["waiting"] == 0, "everything to be delivered")
        assert env.ledger() == {**expected, "delivered": 80, "waiting": 0}
        assert running.stop() == 0


@pytest.mark.slow
def listeners_on(url: str) -> int:
    """How many TCP sockets listen on the port of a URL (IPv4)."""
    port = f":{urlsplit(url).port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(address.endswith(port) and state == "0A" for _, address, _, state, *_ in lines)


def test_no_request_waits_for_a_worker_that_cannot_start(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start() as running:
        spool = env.folder / "spool"
        by_number = {
            number: pid
            for pid in workers_of(env)
            for number, name in enumerate(("spool.sqlite", "spool-1.sqlite"))
            if any(os.path.realpath(link) == str(spool / name) for link in Path(f"/proc/{pid}/fd").iterdir())
        }
        aside = env.folder / "aside"
        aside.mkdir()
        os.kill(by_number[1], signal.SIGKILL)
        for file in spool.glob("spool-1.sqlite*"):
            file.rename(aside / file.name)
        (spool / "spool-1.sqlite").mkdir()  # the worker cannot open it
        log = running.log
        until(lambda: log.read_text().count("cannot be opened") >= 3, "several attempts")
        until(lambda: listeners_on(env.url) == 1, "the worker's queue of connections to be closed")
        started_at = time.monotonic()
        spread(env, [sale(number) for number in range(40)])
        assert time.monotonic() - started_at < 10
        assert env.status()["reasons"] == ["worker 1 is not running"]
        (spool / "spool-1.sqlite").rmdir()
        for file in aside.iterdir():
            file.rename(spool / file.name)
        deadline = time.monotonic() + 40
        while not env.status()["ready"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        spread(env, [sale(number) for number in range(40, 60)])
        assert running.stop() == 0


def ignores_sighup(pid: int) -> bool:
    """Whether the process ignores SIGHUP, as it does from its first instruction until it handles it."""
    with suppress(OSError):
        lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return bool(int(lines["SigIgn"], 16) & 1)
    return False


@contextmanager
def sending_sighup(targets: Callable[[], list[int]]) -> Iterator[dict[int, float]]:
    """Send SIGHUP to processes again and again, from the time on at which they ignore it; by process, that time."""
    stop = threading.Event()
    since: dict[int, float] = {}

    def send() -> None:
        while not stop.wait(0.002):
            for pid in targets():
                if pid in since or ignores_sighup(pid):
                    since.setdefault(pid, time.monotonic())
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGHUP)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield since
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_at_any_time_of_the_start_ends_no_process(tmp_path: Path, workers: int) -> None:
    with environment_of(tmp_path, workers) as env:
        pids: list[int] = []
        popen = subprocess.Popen.__init__

        def remember(process: subprocess.Popen[bytes], *arguments: object, **options: object) -> None:
            popen(process, *arguments, **options)  # type: ignore[call-overload]
            pids.append(process.pid)

        def targets() -> list[int]:
            found = list(pids)
            for parent in pids:
                with suppress(OSError):
                    found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
            return found

        with pytest.MonkeyPatch.context() as patch, sending_sighup(targets) as since:
            patch.setattr(subprocess.Popen, "__init__", remember)
            started_at = time.monotonic()
            running = env.start()
            serving_at = time.monotonic()
        with running:
            assert len(since) == (1 if workers == 1 else workers + 1)
            early = min(since.values()) - started_at
            assert early < (serving_at - started_at) / 2, "the signal is ignored before the imports"
            until(lambda: env.status()["ready"], "the gateway to be ready")
            assert env.track(sale(1))[0] == 200
            assert "ended unexpectedly" not in running.log.read_text()
            assert running.stop() == 0
