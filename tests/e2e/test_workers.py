"""A gateway of several processes: common counts, restarts, takeover of spool files, common stop and reload."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from base64 import b64encode
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from gateway.model import JsonObject
from tests.e2e.environment import WRITE_KEY, Environment, get, post, sale, until
from tests.e2e.test_guarantees import orders
from tests.e2e.test_operators import gateway, rewrite
from tests.e2e.test_reload import reloaded

AUTHORIZATION = {"Authorization": "Basic " + b64encode(f"{WRITE_KEY}:".encode()).decode()}


def environment_of(folder: Path, workers: int, **parts: str) -> Environment:
    return Environment(folder, server=f"workers = {workers}\n" + parts.pop("server", ""), **parts)


def workers_of(env: Environment) -> list[int]:
    """Process IDs of the workers."""
    assert env.gateway is not None
    parent = env.gateway.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children]


def spread(env: Environment, events: Sequence[JsonObject]) -> None:
    """Send each event over a connection of its own. The kernel distributes the connections over the workers."""
    for event in events:
        address = env.url.removeprefix("http://")
        with closing(http.client.HTTPConnection(address, timeout=20)) as connection:
            connection.request("POST", "/v1/track", json.dumps(event).encode(), AUTHORIZATION)
            response = connection.getresponse()
            assert (response.status, json.load(response)["accepted"]) == (200, 1)


def test_two_workers_have_one_status_and_stop_together(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start() as running:
        assert len(workers_of(env)) == 2
        spread(env, [sale(number) for number in range(60)])
        until(lambda: env.ledger()["waiting"] == 0, "everything to be delivered")
        assert sorted(orders(env)) == sorted(f"order-{number}" for number in range(60))
        status = env.status()
        assert status["workers"] == 2
        assert status["ledger"]["accepted"] == status["ledger"]["delivered"] == 120
        assert len(status["lanes"]) == 2
        assert all((env.folder / "spool" / name).stat().st_size for name in ("spool.sqlite", "spool-1.sqlite"))
        assert running.stop() == 0
        stopped = [line for line in running.log.read_text().splitlines() if '"stopped"' in line]
        assert len(stopped) == 3, "each worker and the supervisor"


def test_dead_letters_of_all_workers_are_listed_in_pages_and_replayed(tmp_path: Path) -> None:
    with environment_of(tmp_path, 3) as env, env.start() as running:
        for number in range(40):
            status, _ = post(f"{env.url}/v1/track", sale(number, event="Store Purchase"), AUTHORIZATION)
            assert status == 400
        seen: list[int] = []
        while page := get(f"{env.admin}/dead-letters?limit=7&after={seen[-1] if seen else 0}")["dead_letters"]:
            seen += [letter["number"] for letter in page]
        assert len(seen) == len(set(seen)) == 80
        assert seen == sorted(seen)
        assert len({number % 1024 for number in seen}) > 1, "dead letters of more than one worker"

        rewrite(
            env,
            '[destinations.store]\napi = "conversions"',
            '[destinations.store]\nevents_to_standard = { "Store Purchase" = ["Purchase"] }\napi = "conversions"',
        )
        reloaded(env)
        done = gateway(env, "dead-letters", "replay", "--destination", "store", "--url", env.admin)
        assert "replayed 40 dead letters as 40 events; 0 not replayed" in done.stdout, done.stderr
        until(lambda: len(orders(env)) == 40, "the replayed sales")
        running.stop()

        # When the gateway is stopped, the command reads the spool files of all workers.
        assert gateway(env, "dead-letters", "list").stdout.count("unmapped_event") == 40
        discarded = gateway(env, "dead-letters", "discard", "--all", "--yes")
        assert "40" in discarded.stdout, discarded.stderr


def test_a_killed_worker_is_restarted_without_loss(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start() as running:
        spread(env, [sale(number) for number in range(20)])
        victim, other = workers_of(env)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(workers_of(env)) == 2 and victim not in workers_of(env), "a new worker")
        # Connections to the new worker wait in the queue of its socket until it accepts them.
        spread(env, [sale(number) for number in range(20, 60)])
        until(lambda: env.ledger()["waiting"] == 0 and env.status()["ready"], "everything to be delivered")
        assert set(orders(env)) == {f"order-{number}" for number in range(60)}
        assert other in workers_of(env)
        assert "ended unexpectedly" in running.log.read_text()
        assert running.stop() == 0


def test_workers_end_when_the_supervisor_is_killed_and_the_next_start_delivers_their_events(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env:
        running = env.start()
        env.faults({"status": 500})
        spread(env, [sale(number) for number in range(30)])
        orphans = workers_of(env)
        running.kill()
        until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in orphans), "the workers to end")
        env.faults()
        with env.start() as running:
            until(lambda: len(set(orders(env))) == 30, "the waiting events")
            assert running.stop() == 0


def test_events_of_workers_that_were_removed_are_delivered_and_their_files_deleted(tmp_path: Path) -> None:
    with environment_of(tmp_path, 3) as env:
        env.faults({"status": 500})
        with env.start() as running:
            rewrite(env, "drain_delay = 0", "drain_delay = 0\ndrain_timeout = 0.5")
            spread(env, [sale(number) for number in range(60)])
            running.kill()
        time.sleep(0.5)
        assert (env.folder / "spool" / "spool-2.sqlite").exists()
        rewrite(env, "workers = 3", "workers = 1")
        env.faults()
        with env.start() as running:
            until(lambda: len(set(orders(env))) == 60, "the events of all three workers")
            until(lambda: not list((env.folder / "spool").glob("spool-*.sqlite")), "the files to be deleted")
            assert env.status()["ledger"]["waiting"] == 0
            assert running.stop() == 0


def test_a_reload_applies_to_every_worker_and_a_failed_one_to_none(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start() as running:
        valid = (env.folder / "gateway.toml").read_text()
        rewrite(env, WRITE_KEY, "another-key")
        reloaded(env)
        for number in range(20):
            assert post(f"{env.url}/v1/track", sale(number), AUTHORIZATION)[0] == 401
        (env.folder / "gateway.toml").write_text("[")
        assert env.gateway is not None
        env.gateway.process.send_signal(signal.SIGHUP)
        until(lambda: bool(env.status()["settings"]["errors"]), "the reload to fail")
        for number in range(20):
            assert post(f"{env.url}/v1/track", sale(number), AUTHORIZATION)[0] == 401
        (env.folder / "gateway.toml").write_text(valid)
        reloaded(env)
        spread(env, [sale(number) for number in range(20)])
        assert running.stop() == 0


def test_all_workers_accept_from_the_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with environment_of(tmp_path, 2, server=f'unix_socket = "{path}"') as env, env.start() as running:
        for number in range(20):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(path))
                body = json.dumps(sale(number)).encode()
                head = f"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
                connection.sendall(f"{head}Authorization: {AUTHORIZATION['Authorization']}\r\n\r\n".encode() + body)
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
        until(lambda: len(orders(env)) == 20, "the sales")
        assert running.stop() == 0
        assert not path.exists()


def test_a_worker_that_cannot_start_is_reported_and_the_gateway_exits(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "spool-1.sqlite").mkdir()
    with environment_of(tmp_path, 2) as env, pytest.raises(Exception, match="worker 1 could not start"):
        env.start()
