"""Reload of the settings of a running gateway: no event is lost or repeated, and invalid settings change nothing."""

from __future__ import annotations

import json
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from gateway.model import JsonObject
from tests.e2e.environment import EVENT_SET, WRITE_KEY, Environment, sale, until
from tests.e2e.test_guarantees import orders
from tests.e2e.test_operators import gateway, rewrite


def send_sighup(env: Environment) -> None:
    assert env.gateway is not None
    env.gateway.process.send_signal(signal.SIGHUP)


def read_at(env: Environment) -> float:
    return float(env.status()["settings"]["read_at"])


def reloaded(env: Environment) -> None:
    before = read_at(env)
    send_sighup(env)
    until(lambda: read_at(env) > before, "the settings to be read again")


def test_a_new_token_and_a_new_destination_take_effect_without_loss_or_repetition(
    tmp_path: Path,
) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        rewrite(env, 'access_token = { env = "TEST_META_TOKEN" }\nstandard', 'access_token = "old"\nstandard')
        reloaded(env)
        for number in range(50):
            assert env.track(sale(number))[0] == 200
        until(lambda: any(lane["blocked"] == "token" for lane in env.status()["lanes"]), "Meta to refuse the old token")
        assert orders(env) == []

        rewrite(env, 'access_token = "old"\nstandard', 'access_token = { env = "TEST_META_TOKEN" }\nstandard')
        rewrite(env, 'destinations = ["store", "legacy"]', 'destinations = ["store", "legacy", "second"]')
        path = env.folder / "gateway.toml"
        second = path.read_text().partition("[destinations.store]")[2].partition("[destinations.legacy]")[0]
        path.write_text(path.read_text() + "\n[destinations.second]" + second.replace(EVENT_SET, "777"))
        reloaded(env)
        for number in range(50, 60):
            assert env.track(sale(number))[0] == 200
        until(lambda: env.ledger()["waiting"] == 0, "everything to be delivered")
        assert sorted(orders(env)) == sorted(f"order-{number}" for number in range(60))
        assert sorted(event["custom_data"]["order_id"] for event in env.arrived("777")) == sorted(
            f"order-{number}" for number in range(50, 60)
        )
        assert env.ledger()["dead_lettered"] == 0
        running.stop()


def test_invalid_settings_are_reported_and_the_previous_ones_stay_in_use(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        path = env.folder / "gateway.toml"
        valid = path.read_text()
        before = read_at(env)
        for invalid, error in (
            ("[destinations.store", "line 1"),
            (
                valid.replace("limited_data_usage = true", "limited_data_usage = 7", 1).replace(WRITE_KEY, "x"),
                "limited",
            ),
            (valid.replace('api = "offline"', 'api = "conversions"').replace("v16.0", "v25.0"), "legacy.api: cannot"),
        ):
            path.write_text(invalid)
            send_sighup(env)
            until(lambda error=error: error in str(env.status()["settings"]["errors"]), error)  # type: ignore[misc]
            assert env.track(sale(1))[0] == 200
        assert read_at(env) == before
        assert "still using the previous settings" in running.log.read_text()
        path.write_text(valid)
        reloaded(env)
        assert env.status()["settings"]["errors"] == []
        running.stop()


def test_a_removed_write_key_is_refused_from_the_next_request_on(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        assert env.track(sale(1))[0] == 200
        rewrite(env, WRITE_KEY, "another-key")
        reloaded(env)
        assert env.track(sale(2))[0] == 401
        running.stop()


def test_with_watch_a_changed_file_is_reloaded_without_a_signal(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start("--watch") as running:
        before = read_at(env)
        rewrite(env, WRITE_KEY, "another-key")
        until(lambda: read_at(env) > before, "the file to be noticed")
        assert env.track(sale(2))[0] == 401
        running.stop()


class Webhook:
    """An HTTP server that records the bodies of POST requests. `statuses`: of the first responses, before 200."""

    def __init__(self, statuses: list[int]) -> None:
        self.received: list[JsonObject] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = statuses.pop(0) if statuses else 200
                if status == 200:
                    outer.received.append(body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/secret-part"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_a_blocked_lane_calls_the_webhook_and_the_resume_command_retries_at_once(tmp_path: Path) -> None:
    with (
        Webhook([503]) as webhook,
        Environment(tmp_path, settings=f'[alerts]\nwebhook = "{webhook.url}"') as env,
        env.start() as running,
    ):
        env.faults({"status": 400, "code": 100, "subcode": 33, "event_set": EVENT_SET})
        for number in range(3):
            env.track(sale(number))
        until(lambda: len(webhook.received) == 1, "the alert, after the webhook's first refusal")
        alert = webhook.received[0]
        assert (alert["event"], alert["kind"], alert["code"]) == ("lane_blocked", "object", "meta_100_33")
        assert (alert["destination"], alert["event_set"]) == ("store", EVENT_SET)
        assert alert["text"].startswith(f'uploads stopped for destination "store", dataset {EVENT_SET}, upload tag')
        assert env.status()["ledger"]["waiting"] >= 3

        env.faults()
        started_at = time.monotonic()
        resumed = gateway(env, "resume", "--url", env.admin, "--destination", "store")
        assert "retrying 1 blocked or rate-limited lanes" in resumed.stdout, resumed.stderr
        until(lambda: sorted(orders(env)) == ["order-0", "order-1", "order-2"], "the waiting events")
        assert time.monotonic() - started_at < 14, "as late as the first regular probe"
        until(lambda: len(webhook.received) == 2, "the second alert")
        assert webhook.received[1]["event"] == "lane_resumed"
        assert webhook.received[1]["text"].startswith('uploads resumed for destination "store"')
        assert "secret-part" not in running.log.read_text()
        running.stop()


def test_a_warning_about_the_graph_version_is_logged_once_and_shown_in_the_status(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        text = "The call has been auto-upgraded to v26.0"
        env.faults({"count": 1, "event_set": EVENT_SET, "headers": {"X-Ad-Api-Version-Warning": text}})
        for number in range(3):
            env.track(sale(number))
            until(lambda number=number: len(orders(env)) == number + 1, "the sale")  # type: ignore[misc]
        assert env.status()["warnings"]["destinations"] == {"store": {"graph_version": text}}
        assert running.log.read_text().count(text) == 1
        running.stop()
