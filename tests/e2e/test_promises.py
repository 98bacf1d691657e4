"""The promises, held against real processes: delivered once durable, across stops, kills and outages."""

from __future__ import annotations

import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from gateway.model import GatewayError
from tests.e2e.house import EVENT_SET, TOKEN, WRITE_KEY, House, get, post, sale, until


def orders(house: House, event_set: str = EVENT_SET) -> list[str]:
    return sorted(event["custom_data"]["order_id"] for event in house.arrived(event_set))


def test_what_is_accepted_arrives_in_both_dialects_and_the_account_adds_up(tmp_path: Path) -> None:
    with House(tmp_path) as house, house.start():
        status, answer = house.track(*(sale(number) for number in range(250)), sale(250, event="Nobody Mapped This"))

        assert (status, answer["accepted"]) == (200, 250)
        assert [one["code"] for one in answer["rejected"]] == ["unmapped_event"]
        until(lambda: house.account()["delivered"] == 500, "delivery")
        assert orders(house) == sorted(f"order-{number}" for number in range(250))
        assert sorted(event["order_id"] for event in house.arrived(EVENT_SET + "00")) == orders(house)
        account = house.account()
        assert account["accepted"] == account["delivered"] + account["dead_lettered"] + account["waiting"]
        assert b"gateway_" in _read(f"{house.admin}/metrics")


def test_a_lone_event_does_not_wait_for_company(tmp_path: Path) -> None:
    with House(tmp_path) as house, house.start():
        house.track(sale(1))
        until(lambda: orders(house) == ["order-1"], "the lone event")


def test_a_stop_uploads_what_waits_without_waiting_for_its_age(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        extractor = (tmp_path / "gateway.toml").read_text().replace("batch.max_age = 0.2", "batch.max_age = 3000")
        (tmp_path / "gateway.toml").write_text(extractor)
        with house.start() as gateway:
            house.track(*(sale(number) for number in range(10)))
            assert gateway.stop() == 0
        assert len(orders(house)) == 10


def test_a_kill_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        house.faults({"status": 500, "code": 2})
        with house.start() as gateway:
            for number in range(20):
                status, _ = house.track(sale(number))
                assert status == 200
            gateway.stop(signal.SIGKILL)
        house.faults()
        with house.start():
            until(lambda: len(orders(house)) == 20, "what was accepted before the kill")
            account = house.account()
            assert account["recovered"] == 40
            until(lambda: house.account()["waiting"] == 0, "an empty spool")


def test_a_stop_during_an_outage_keeps_everything_for_the_next_start(tmp_path: Path) -> None:
    with House(tmp_path, server="drain_timeout = 0.5") as house:
        house.faults({"drop": "before"})
        with house.start() as gateway:
            house.track(*(sale(number) for number in range(30)))
            assert gateway.stop() == 0
        house.faults()
        with house.start():
            until(lambda: len(orders(house)) == 30, "delivery after the outage")


def test_a_second_signal_ends_it_at_once_and_loses_nothing(tmp_path: Path) -> None:
    with House(tmp_path, server="drain_timeout = 3000") as house:
        house.faults({"drop": "before"})
        with house.start() as gateway:
            house.track(sale(1))
            gateway.process.send_signal(signal.SIGINT)
            until(lambda: not _ready(house), "the first signal to be taken")
            assert gateway.stop(signal.SIGINT) == 0
        house.faults()
        with house.start():
            until(lambda: orders(house) == ["order-1"], "delivery after the second start")


def test_while_it_leaves_it_is_unready_at_once_but_still_takes_requests(tmp_path: Path) -> None:
    with House(tmp_path) as house:
        text = (tmp_path / "gateway.toml").read_text().replace("drain_delay = 0", "drain_delay = 3")
        (tmp_path / "gateway.toml").write_text(text)
        with house.start() as gateway:
            assert get(f"{house.admin}/readyz")
            gateway.process.send_signal(signal.SIGTERM)
            until(lambda: not _ready(house), "unready")
            assert house.track(sale(1))[0] == 200
            assert gateway.process.wait(20) == 0
        assert orders(house) == ["order-1"]


def test_no_secret_and_no_personal_value_is_in_the_log_or_on_disk(tmp_path: Path) -> None:
    with House(tmp_path) as house, house.start() as gateway:
        house.faults({"status": 500, "code": 2})
        house.track(sale(1), sale(2, event="Nobody Mapped This"), sale(3, originalTimestamp="1999-01-01T00:00:00Z"))
        post(f"{house.url}/v1/track", sale(4), {"Authorization": "Basic d3Jvbmc6"})
        until(lambda: house.account()["accepted"] == 2, "the good one")
        kept = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file())
        assert b"order-1" in kept
        said = gateway.log.read_bytes() + _read(f"{house.admin}/metrics") + _read(f"{house.admin}/status")
        for secret in (TOKEN, WRITE_KEY, "customer1@", "customer2@", "customer3@", "example.com"):
            assert secret.encode() not in kept
            assert secret.encode() not in said


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, House(tmp_path) as house:
        port = taken.getsockname()[1]
        text = (tmp_path / "gateway.toml").read_text().replace("port = 0", f"port = {port}", 1)
        (tmp_path / "gateway.toml").write_text(text)
        with pytest.raises(GatewayError, match=f"server.port {port}: ") as refused:
            house.start()
        assert "Traceback" not in str(refused.value)


def _ready(house: House) -> bool:
    try:
        get(f"{house.admin}/readyz")
    except OSError:
        return False
    return True


def _read(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return bytes(answer.read())
