"""Hostile and broken senders, with real processes: they cost themselves, and nobody else.

Each test judges the gateway from outside: by its resident memory, by the delay of its event loop, by its log, its
metrics and its files, and by an honest sender that sends meanwhile.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.e2e.environment import WRITE_KEY, Environment, get, until
from tests.hostile.attacks import attacking
from tests.hostile.observer import HonestSender, Observer
from tests.hostile.requests import (
    GET,
    MARKER,
    Target,
    batch,
    exchange,
    malformed,
    nested,
    read_all,
    read_response,
    sale,
)

MIB = 2**20
MAX_MEMORY = 32 * MIB
OTHER_KEY = "wk-of-the-other-shop"
READ_TIMEOUT = 2.0
SERVER = f'max_memory = "{MAX_MEMORY}"\nread_timeout = {READ_TIMEOUT}'
SETTINGS = f'[sources.other]\nwrite_key = "{OTHER_KEY}"\ndestinations = ["store"]'
SECRETS = (MARKER, WRITE_KEY.encode(), OTHER_KEY.encode())

P99 = 0.25
"""Seconds within which the honest sender gets its responses while the attacks of the table run together."""
LATE = 0.1
"""Seconds by which the event loop may be late. The tests allow two more than that, but none above 0.25, because other
processes use the machine at the same time."""


class Gateway:
    """A running gateway with its observer."""

    def __init__(self, env: Environment) -> None:
        assert env.gateway is not None
        self.env = env
        self.process = env.gateway
        for number in range(10):  # so that what is created once is part of the base
            status, _ = env.track(*(sale(-1000 * number - each) for each in range(1, 100)))
            assert status == 200
        until(lambda: env.ledger()["waiting"] == 0, "the first events to be delivered")
        self.observer = Observer(env.gateway, SECRETS)

    def target(self, write_key: str = WRITE_KEY) -> Target:
        return Target.of(self.env.url, write_key)

    def assert_is_unharmed(self, honest: HonestSender | None = None, p99: float = 2 * P99) -> None:
        """Judge what happened since the observer was reset."""
        observer = self.observer
        assert observer.peak() - observer.base < MAX_MEMORY
        assert observer.log_faults() == []
        assert observer.late(0.25) == observer.late_before[0.25]
        assert observer.late(LATE) <= observer.late_before[LATE] + 2
        if honest is not None:
            assert set(honest.statuses) == {200}
            assert honest.accepted == honest.events * honest.statuses[200]
            assert honest.p99() < p99


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Environment(tmp_path_factory.mktemp("senders"), SETTINGS, server=SERVER) as env, env.start():
        yield Gateway(env)


@pytest.fixture
def gateway(shared: Gateway) -> Gateway:
    """The gateway of this module, at rest."""
    until(lambda: shared.env.ledger()["waiting"] == 0, "the gateway to be at rest")
    shared.observer.reset()
    return shared


FIRST = iter(range(10**6, 10**9, 10**6))
"""First numbers of the sales of honest senders."""


def honest_sender(gateway: Gateway) -> HonestSender:
    return HonestSender(gateway.env.url, OTHER_KEY, next(FIRST))


# Memory and time


@pytest.mark.parametrize(
    "attack",
    [
        "pipelined_requests",
        "pipelined_bodies",
        "trickled_bodies",
        "trickled_heads",
        "large_heads",
        "tiny_chunks",
        "bombs",
    ],
)
def test_senders_without_a_key_cost_neither_memory_nor_time(gateway: Gateway, attack: str) -> None:
    with honest_sender(gateway) as honest, attacking(gateway.target(""), attack, seconds=2.5) as attackers:
        counts = attackers.counts()[attack]
    assert counts["bytes"] > 0
    gateway.assert_is_unharmed(honest)


@pytest.mark.parametrize(
    "attack", ["empty_objects", "shared_integrations", "broken_json", "heavy_events", "many_values"]
)
def test_senders_with_a_key_stop_the_event_loop_for_less_than_a_tenth_of_a_second(
    gateway: Gateway, attack: str
) -> None:
    with honest_sender(gateway) as honest, attacking(gateway.target(), attack, seconds=2.5) as attackers:
        counts = attackers.counts()[attack]
    assert sum(count for name, count in counts.items() if name.startswith("status ")) > 5
    assert set(honest.statuses) == {200}
    gateway.assert_is_unharmed()


def test_all_attacks_together_leave_an_honest_sender_its_latency_and_the_genuine_dead_letters(tmp_path: Path) -> None:
    with Environment(tmp_path, SETTINGS, "upload.max_connections = 8", SERVER) as env:
        path = env.folder / "gateway.toml"
        path.write_text(path.read_text().replace("[spool]", "[spool]\nmax_lanes = 100"))
        with env.start() as running:
            gateway = Gateway(env)
            letters = 20
            status, _ = env.track(*({**sale(number), "event": "Not Mapped"} for number in range(letters)))
            assert status == 200
            names = ("pipelined_requests", "trickled_bodies", "empty_objects", "upload_tags")
            with honest_sender(gateway) as honest, attacking(gateway.target(), *names, seconds=8) as attackers:
                counts = attackers.counts()
            assert counts["empty_objects"]["status 413"] > 10
            assert counts["upload_tags"]["status 200"] > 10
            gateway.assert_is_unharmed(honest, P99)
            assert gateway.observer.descriptors() < 200
            kept = get(f"{env.admin}/dead-letters?code=unmapped_event&limit=100")["dead_letters"]
            assert len(kept) == 2 * letters, "one for each destination"
            assert env.status()["spool"]["dead_letters"] == 2 * letters
            until(lambda: env.ledger()["waiting"] == 0, "everything to be delivered")
            running.stop()


def test_a_batch_cannot_fill_the_spool_with_dead_letters(gateway: Gateway) -> None:
    before = gateway.env.status()["spool"]["dead_letters"]
    response = exchange(gateway.target(), gateway.target().gzip(batch(*[{}] * 2501)))
    assert (response.status, response.body["code"]) == (413, "too_many_events")
    assert "2501 events; at most 2500" in response.body["message"]

    response = exchange(gateway.target(), gateway.target().gzip(batch(*[{}] * 2500)))
    assert (response.status, response.body["accepted"]) == (200, 0)
    assert len(response.body["rejected"]) == 100
    assert response.body["rejected_by_code"] == {"unknown_type": 2500}
    assert gateway.env.status()["spool"]["dead_letters"] - before == 100
    assert gateway.env.status()["rejected"]["unknown_type"] >= 2 * 2500, "all are counted, for both destinations"


def test_shared_keys_with_too_many_levels_to_be_measured_are_refused(gateway: Gateway) -> None:
    events = [{**sale(number), "event": "unmapped"} for number in range(500)]
    response = exchange(gateway.target(), gateway.target().gzip(batch(*events, integrations=nested(300, a=1))))
    assert (response.status, response.body["code"]) == (413, "shared_context_too_large")


# Connections


def test_idle_connections_do_not_keep_others_from_connecting_and_the_log_says_so_once(tmp_path: Path) -> None:
    limit = 64
    with Environment(tmp_path, SETTINGS, server=f"{SERVER}\nmax_connections = {limit}") as env, env.start() as running:
        target = Target.of(env.url, WRITE_KEY)
        idle = [target.connect() for _ in range(limit)]
        try:
            for number in range(limit):
                started_at = time.monotonic()
                assert exchange(target, target.post(batch(sale(number)))).status == 200
                assert time.monotonic() - started_at < 1.0
        finally:
            for connection in idle:
                connection.close()
        log = running.log.read_text()
        assert log.count(f"the limit of {limit} connections (server.max_connections) is reached") == 1
        assert Observer(running, SECRETS).log_faults() == []
        running.stop()


def test_a_second_request_head_that_trickles_is_closed_within_the_time_limit(gateway: Gateway) -> None:
    target = gateway.target()
    with target.connect() as connection:
        connection.sendall(target.post(batch(sale(1))))
        assert read_response(connection).status == 200
        started_at = time.monotonic()
        connection.settimeout(0.1)
        try:
            for byte in GET:
                connection.sendall(bytes([byte]))
                with_data = _receive(connection)
                if with_data == b"":
                    break
        except ConnectionError:
            pass
        took = time.monotonic() - started_at
    assert READ_TIMEOUT - 0.5 < took < READ_TIMEOUT + 1.5


def _receive(connection: socket.socket) -> bytes | None:
    """What arrives in a short time; None: nothing did; empty: the connection is closed."""
    try:
        return connection.recv(1000)
    except TimeoutError:
        return None


# Authentication before the body


def test_a_wrong_key_is_refused_before_the_body_is_sent(gateway: Gateway) -> None:
    with gateway.target("wrong").connect() as connection:
        connection.sendall(gateway.target("wrong").head(4_000_000))
        response = read_response(connection)
    assert (response.status, response.body["code"]) == (401, "unknown_write_key")


def test_a_large_body_without_a_key_is_refused_after_its_first_64_kib(gateway: Gateway) -> None:
    with gateway.target("").connect() as connection:
        connection.sendall(gateway.target("").head(4_000_000) + b'{"batch":[' + b" " * 64 * 1024)
        response = read_response(connection)
    assert (response.status, response.body["code"]) == (401, "no_write_key")
    assert gateway.observer.peak() - gateway.observer.before < MIB


# Expect


def test_a_sender_that_expects_100_continue_gets_it_at_once_and_then_its_response(gateway: Gateway) -> None:
    target, body = gateway.target(), batch(sale(1))
    with target.connect() as connection:
        started_at = time.monotonic()
        connection.sendall(target.head(len(body), Expect="100-continue"))
        assert read_response(connection).status == 100
        assert time.monotonic() - started_at < 0.5
        connection.sendall(body)
        assert read_response(connection).status == 200


def test_an_unknown_expectation_gets_417(gateway: Gateway) -> None:
    with gateway.target().connect() as connection:
        connection.sendall(gateway.target().head(100, Expect="bananas"))
        response = read_response(connection)
    assert (response.status, response.body["code"]) == (417, "expectation_failed")


# Content


def test_a_malformed_request_is_in_no_log_metric_file_or_response(gateway: Gateway) -> None:
    random, target = Random(12), gateway.target()
    responses = [read_all(target, malformed(random)) for _ in range(300)]
    assert sum(response.startswith(b"HTTP/1.1 4") for response in responses) > 250
    own = exchange(target, target.post(batch(sale(1))))
    shown = [*responses, json.dumps(own.body).encode(), gateway.observer.metrics().encode()]
    shown.append(json.dumps(gateway.env.status()).encode())
    shown += [path.read_bytes() for path in gateway.env.folder.rglob("*") if path.is_file() and path.suffix != ".toml"]
    for secret in SECRETS:
        assert not [content for content in shown if secret in content]
    gateway.assert_is_unharmed()


def test_a_sender_that_goes_away_in_mid_body_is_counted_as_499_and_not_logged(gateway: Gateway) -> None:
    metric = 'gateway_requests_total{route="/v1/batch",status="499"}'
    before, log_before = gateway.observer.metric(metric), gateway.process.log.read_text()
    target = gateway.target()
    for number in range(20):
        with target.connect() as connection:
            connection.sendall(target.head(1000) + b"{")
            time.sleep(0.01)
            if number % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with attacking(target, "disconnects", seconds=2):
        time.sleep(2.2)
    until(lambda: gateway.observer.metric(metric) >= before + 20, "the requests to be counted")
    assert gateway.process.log.read_text() == log_before
    assert gateway.observer.metric('gateway_requests_total{route="/v1/batch",status="500"}') == 0


# Counts


def test_two_sources_may_use_the_same_message_id(gateway: Gateway) -> None:
    first = next(FIRST)
    for write_key in (WRITE_KEY, OTHER_KEY):
        response = exchange(gateway.target(write_key), gateway.target(write_key).post(batch(sale(first))))
        assert (response.status, response.body["accepted"], response.body["ignored"]) == (200, 1, 0)
    response = exchange(gateway.target(OTHER_KEY), gateway.target(OTHER_KEY).post(batch(sale(first))))
    assert (response.status, response.body["accepted"], response.body["ignored"]) == (200, 0, 1)
