"""Guarantees of delivery, with real processes: accepted events arrive despite stops, kills and outages."""

from __future__ import annotations

import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from gateway.model import GatewayError
from tests.e2e.environment import EVENT_SET, TOKEN, WRITE_KEY, Environment, get, post, sale, until


def orders(env: Environment, event_set: str = EVENT_SET) -> list[str]:
    return sorted(event["custom_data"]["order_id"] for event in env.arrived(event_set))


def test_accepted_events_arrive_in_both_dialects_and_the_counts_add_up(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start():
        status, response = env.track(*(sale(number) for number in range(250)), sale(250, event="Not Mapped"))

        assert (status, response["accepted"]) == (200, 250)
        assert [event["code"] for event in response["rejected"]] == ["unmapped_event"]
        until(lambda: env.ledger()["delivered"] == 500, "delivery")
        assert orders(env) == sorted(f"order-{number}" for number in range(250))
        assert sorted(event["order_id"] for event in env.arrived(EVENT_SET + "00")) == orders(env)
        ledger = env.ledger()
        assert ledger["accepted"] == ledger["delivered"] + ledger["dead_lettered"] + ledger["waiting"]
        assert b"gateway_" in _read(f"{env.admin}/metrics")


def test_a_single_event_is_sent_without_a_full_batch(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start():
        env.track(sale(1))
        until(lambda: orders(env) == ["order-1"], "the event")


def test_a_stop_uploads_waiting_events_before_the_maximum_age_of_their_batch(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        settings = (tmp_path / "gateway.toml").read_text().replace("batch.max_age = 0.2", "batch.max_age = 3000")
        (tmp_path / "gateway.toml").write_text(settings)
        with env.start() as gateway:
            env.track(*(sale(number) for number in range(10)))
            assert gateway.stop() == 0
        assert len(orders(env)) == 10


def test_a_killed_gateway_loses_no_accepted_event(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        env.faults({"status": 500, "code": 2})
        with env.start() as gateway:
            for number in range(20):
                status, _ = env.track(sale(number))
                assert status == 200
            gateway.stop(signal.SIGKILL)
        env.faults()
        with env.start():
            until(lambda: len(orders(env)) == 20, "the events that were accepted before the kill")
            ledger = env.ledger()
            assert ledger["recovered"] == 40
            until(lambda: env.ledger()["waiting"] == 0, "an empty spool")


def test_events_that_are_left_at_a_stop_during_an_outage_are_delivered_after_the_next_start(tmp_path: Path) -> None:
    with Environment(tmp_path, server="drain_timeout = 0.5") as env:
        env.faults({"drop": "before"})
        with env.start() as gateway:
            env.track(*(sale(number) for number in range(30)))
            assert gateway.stop() == 0
        env.faults()
        with env.start():
            until(lambda: len(orders(env)) == 30, "delivery after the outage")


def test_a_second_signal_stops_the_gateway_at_once_without_loss(tmp_path: Path) -> None:
    with Environment(tmp_path, server="drain_timeout = 3000") as env:
        env.faults({"drop": "before"})
        with env.start() as gateway:
            env.track(sale(1))
            gateway.process.send_signal(signal.SIGINT)
            until(lambda: not _ready(env), "the first signal to be handled")
            assert gateway.stop(signal.SIGINT) == 0
        env.faults()
        with env.start():
            until(lambda: orders(env) == ["order-1"], "delivery after the second start")


def test_a_stopping_gateway_is_not_ready_at_once_and_accepts_requests_during_the_drain_delay(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        text = (tmp_path / "gateway.toml").read_text().replace("drain_delay = 0", "drain_delay = 3")
        (tmp_path / "gateway.toml").write_text(text)
        with env.start() as gateway:
            assert get(f"{env.admin}/readyz")
            gateway.process.send_signal(signal.SIGTERM)
            until(lambda: not _ready(env), "the gateway not to be ready")
            assert env.track(sale(1))[0] == 200
            assert gateway.process.wait(20) == 0
        assert orders(env) == ["order-1"]


def test_no_secret_and_no_personal_value_is_in_the_log_the_metrics_or_the_spool(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as gateway:
        env.faults({"status": 500, "code": 2})
        env.track(sale(1), sale(2, event="Not Mapped"), sale(3, originalTimestamp="1999-01-01T00:00:00Z"))
        post(f"{env.url}/v1/track", sale(4), {"Authorization": "Basic d3Jvbmc6"})
        until(lambda: env.ledger()["accepted"] == 2, "the valid event")
        on_disk = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file())
        assert b"order-1" in on_disk
        published = gateway.log.read_bytes() + _read(f"{env.admin}/metrics") + _read(f"{env.admin}/status")
        for secret in (TOKEN, WRITE_KEY, "customer1@", "customer2@", "customer3@", "example.com"):
            assert secret.encode() not in on_disk
            assert secret.encode() not in published


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, Environment(tmp_path) as env:
        port = other.getsockname()[1]
        text = (tmp_path / "gateway.toml").read_text().replace("port = 0", f"port = {port}", 1)
        (tmp_path / "gateway.toml").write_text(text)
        with pytest.raises(GatewayError, match=f"server.port {port}: ") as refused:
            env.start()
        assert "Traceback" not in str(refused.value)


def _ready(env: Environment) -> bool:
    try:
        get(f"{env.admin}/readyz")
    except OSError:
        return False
    return True


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as response:
        return bytes(response.read())
