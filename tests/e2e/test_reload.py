"""Settings that change while a real gateway runs: nothing is lost or repeated, and a faulty file changes nothing."""

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


def hang_up(env: Environment) -> None:
    assert env.gateway is not None
    env.gateway.process.send_signal(signal.SIGHUP)


def read_at(env: Environment) -> float:
    return float(env.status()["settings"]["read_at"])


def reloaded(env: Environment) -> None:
    before = read_at(env)
    hang_up(env)
    until(lambda: read_at(env) > before, "the settings to be read again")


def test_a_new_token_and_a_new_destination_come_without_a_restart_and_nothing_is_lost_or_repeated(
    tmp_path: Path,
) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        rewrite(env, 'access_token = { env = "TEST_META_TOKEN" }\nstandard', 'access_token = "old"\nstandard')
        reloaded(env)
        for number in range(50):
            assert env.track(sale(number))[0] == 200
        until(lambda: any(lane["blocked"] == "token" for lane in env.status()["lanes"]), "the old token's refusal")
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


def test_a_faulty_file_is_refused_whole_and_said_and_the_old_settings_stay(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        path = env.folder / "gateway.toml"
        good = path.read_text()
        before = read_at(env)
        for fault, said in (
            ("[destinations.store", "is not TOML"),
            (good.replace("limited_data_usage = true", "limited_data_usage = 7", 1).replace(WRITE_KEY, "x"), "limited"),
            (good.replace('api = "offline"', 'api = "conversions"').replace("v16.0", "v25.0"), "legacy.api: cannot"),
        ):
            path.write_text(fault)
            hang_up(env)
            until(lambda said=said: said in str(env.status()["settings"]["errors"]), said)  # type: ignore[misc]
            assert env.track(sale(1))[0] == 200
        assert read_at(env) == before
        assert "still using the previous settings" in running.log.read_text()
        path.write_text(good)
        reloaded(env)
        assert env.status()["settings"]["errors"] == []
        running.stop()


def test_a_write_key_that_is_taken_away_is_refused_from_the_next_request_on(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        assert env.track(sale(1))[0] == 200
        rewrite(env, WRITE_KEY, "another-key")
        reloaded(env)
        assert env.track(sale(2))[0] == 401
        running.stop()


def test_with_watch_a_changed_file_is_read_by_itself(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start("--watch") as running:
        before = read_at(env)
        rewrite(env, WRITE_KEY, "another-key")
        until(lambda: read_at(env) > before, "the file to be noticed")
        assert env.track(sale(2))[0] == 401
        running.stop()


class Webhook:
    """Keeps what is posted to it."""

    def __init__(self, statuses: list[int]) -> None:
        self.got: list[JsonObject] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = statuses.pop(0) if statuses else 200
                if status == 200:
                    hook.got.append(body)
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


def test_a_blocked_lane_calls_the_webhook_and_is_resumed_by_hand(tmp_path: Path) -> None:
    with (
        Webhook([503]) as hook,
        Environment(tmp_path, settings=f'[alerts]\nwebhook = "{hook.url}"') as env,
        env.start() as running,
    ):
        env.faults({"status": 400, "code": 100, "subcode": 33, "event_set": EVENT_SET})
        for number in range(3):
            env.track(sale(number))
        until(lambda: len(hook.got) == 1, "the alert, after the webhook's first refusal")
        alert = hook.got[0]
        assert (alert["event"], alert["kind"], alert["code"]) == ("lane_blocked", "object", "meta_100_33")
        assert (alert["destination"], alert["event_set"]) == ("store", EVENT_SET)
        assert EVENT_SET in alert["text"]
        assert env.status()["ledger"]["waiting"] >= 3

        env.faults()
        begun = time.monotonic()
        resumed = gateway(env, "resume", "--url", env.admin, "--destination", "store")
        assert "1 blocked lanes try now" in resumed.stdout, resumed.stderr
        until(lambda: sorted(orders(env)) == ["order-0", "order-1", "order-2"], "what had waited")
        assert time.monotonic() - begun < 14, "a probe would have done it"
        until(lambda: len(hook.got) == 2, "the second alert")
        assert hook.got[1]["event"] == "lane_resumed"
        assert "secret-part" not in running.log.read_text()
        running.stop()


def test_a_warning_about_the_version_is_logged_once_and_shown(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        text = "The call has been auto-upgraded to v26.0"
        env.faults({"count": 1, "event_set": EVENT_SET, "headers": {"X-Ad-Api-Version-Warning": text}})
        for number in range(3):
            env.track(sale(number))
            until(lambda number=number: len(orders(env)) == number + 1, "the sale")  # type: ignore[misc]
        assert env.status()["warnings"] == {"store": {"graph_version": text}}
        assert running.log.read_text().count(text) == 1
        running.stop()
