"""Tasks of operators, with real processes: dead letters, deduplication, removed destinations, quotas of lanes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.environment import EVENT_SET, TOKEN, Environment, sale, until
from tests.e2e.test_guarantees import orders


def gateway(env: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the settings of the environment.

    The settings have port 0, so a command needs `--url` to find the running gateway.
    """
    config = ["--config", str(env.folder / "gateway.toml")]
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments, *([] if "--url" in arguments else config)],
        env={**os.environ, "TEST_META_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def rewrite(env: Environment, before: str, after: str) -> None:
    path = env.folder / "gateway.toml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_an_unmapped_event_is_replayed_after_the_settings_were_fixed(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        with env.start() as running:
            _, response = env.track(sale(1, event="Store Purchase"))
            assert [event["code"] for event in response["rejected"]] == ["unmapped_event"]
            running.stop()
        rewrite(
            env,
            '[destinations.store]\napi = "conversions"',
            '[destinations.store]\nevents_to_standard = { "Store Purchase" = ["Purchase"] }\napi = "conversions"',
        )

        listed = gateway(env, "dead-letters", "list")
        assert listed.stdout.count("unmapped_event") == 2
        assert "customer1@" not in listed.stdout
        number = listed.stdout.split()[0]
        shown = json.loads(gateway(env, "dead-letters", "show", number).stdout)
        assert shown["code"] == "unmapped_event"
        assert "customer1@example.com" not in json.dumps(shown)

        done = gateway(env, "dead-letters", "replay", "--destination", "store")
        assert "replayed 1 dead letters as 1 events; 0 not replayed" in done.stdout, done.stderr
        assert done.returncode == 0
        assert gateway(env, "dead-letters", "replay", "--all").returncode == 1
        with env.start() as running:
            until(lambda: orders(env) == ["order-1"], "the replayed event")
            assert running.stop() == 0
        discarded = gateway(env, "dead-letters", "discard", "--code", "unmapped_event", "--yes")
        assert discarded.stdout == "discarded 1 dead letters\n"
        assert gateway(env, "dead-letters", "list").stdout == ""


def test_dead_letters_of_a_running_gateway_are_replayed_over_its_admin_port(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        env.faults({"status": 400, "code": 100, "subcode": 2804050, "event_set": EVENT_SET})
        with env.start():
            env.track(sale(1))
            until(lambda: env.ledger()["dead_lettered"] == 1, "the refusal by Meta")
            env.faults()
            done = gateway(env, "dead-letters", "replay", "--all", "--url", env.admin)
            assert "replayed 1 dead letters as 1 events; 0 not replayed" in done.stdout, done.stderr
            until(lambda: orders(env) == ["order-1"], "the replayed event")
            until(lambda: env.ledger()["waiting"] == 0, "its acknowledgement")
            ledger = env.ledger()
            assert ledger["accepted"] == ledger["delivered"] + ledger["dead_lettered"]
            assert gateway(env, "dead-letters", "list", "--url", env.admin).stdout == ""


def test_a_repeated_event_is_accepted_once_even_after_a_restart(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        with env.start() as running:
            assert env.track(sale(1), sale(2), sale(1))[1]["ignored"] == 1
            assert env.track(sale(2))[1] == {"status": "ok", "accepted": 0, "ignored": 1, "rejected": []}
            assert running.stop() == 0
        with env.start():
            assert env.track(sale(1), sale(3))[1]["accepted"] == 1
            until(lambda: len(orders(env)) == 3, "delivery")
            assert orders(env) == ["order-1", "order-2", "order-3"]
            assert env.status()["deduplicated"] == 2


def test_an_event_that_was_refused_by_a_full_spool_is_accepted_when_it_is_sent_again(tmp_path: Path) -> None:
    with Environment(tmp_path, server="") as env:
        rewrite(env, "[spool]\n", '[spool]\nmax_bytes = "1MiB"\nlane_quota = 0.01\n')
        env.faults({"drop": "before", "event_set": EVENT_SET})
        with env.start():
            accepted = 0
            while env.track(*(sale(accepted * 10 + number) for number in range(10)))[0] == 200:
                accepted += 1
                assert accepted < 1000
            status, response = env.track(*(sale(accepted * 10 + number) for number in range(10)))
            assert (status, response["code"]) == (503, "spool_full")
            assert "lane_quota" in response["message"]
            env.faults()
            until(lambda: env.ledger()["waiting"] == 0, "the spool to be empty")
            assert env.track(*(sale(accepted * 10 + number) for number in range(10)))[1]["accepted"] == 10
            until(lambda: len(orders(env)) == (accepted + 1) * 10, "delivery")


def test_events_of_a_removed_destination_are_kept_and_reported_and_delivered_when_it_is_back(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        env.faults({"drop": "before"})
        with env.start() as running:
            env.track(sale(1))
            running.stop(signal.SIGKILL)
        env.faults()
        settings = (env.folder / "gateway.toml").read_text()
        start = settings.index("[destinations.legacy]")
        (env.folder / "gateway.toml").write_text(settings[:start].replace('["store", "legacy"]', '["store"]'))
        with env.start() as running:
            until(lambda: orders(env) == ["order-1"], "the other destination")
            (orphan,) = env.status()["orphans"]
            assert (orphan["destination"], orphan["waiting"]) == ("legacy", 1)
            assert "not in the settings" in running.log.read_text()
            running.stop()
        checked = gateway(env, "check")
        assert "1 events wait for legacy/" in checked.stderr, checked.stderr

        (env.folder / "gateway.toml").write_text(settings)
        with env.start():
            until(lambda: len(env.arrived(EVENT_SET + "00")) == 1, "delivery to the restored destination")
