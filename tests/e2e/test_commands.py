"""Commands beside a running gateway, with real processes: what they say when uploads stop, and how Ctrl-C ends them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.environment import EVENT_SET, TOKEN, Environment, sale, until
from tests.e2e.test_operators import gateway

BLOCKED = {"status": 401, "code": 190, "subcode": 463, "event_set": EVENT_SET}


def test_status_resume_and_trace_tell_the_same_story_of_a_refused_token(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start():
        env.faults(BLOCKED)
        env.track(sale(1))
        until(lambda: any(lane["blocked"] for lane in env.status()["lanes"]), "the block")

        status = gateway(env, "status", "--url", env.admin)
        assert status.returncode == 1
        assert f"store, dataset {EVENT_SET}: Meta refuses the access token" in status.stdout
        assert "gateway resume" in status.stdout
        traced = gateway(env, "trace", "order-1", "--url", env.admin)
        assert "uploads are stopped: Meta refuses the access token" in traced.stdout

        refused = gateway(env, "resume", "--url", env.admin)
        assert refused.returncode == 1, refused.stdout
        assert f"store, dataset {EVENT_SET}: still stopped: Meta refuses the access token" in refused.stdout
        env.faults()
        resumed = gateway(env, "resume", "--url", env.admin)
        assert resumed.returncode == 0, resumed.stdout
        assert f"store, dataset {EVENT_SET}: uploads work again" in resumed.stdout

        until(lambda: env.ledger()["waiting"] == 0, "the delivery")
        traced = gateway(env, "trace", "message-1", "--url", env.admin)
        assert "Meta's trace ID: A" in traced.stdout
        assert gateway(env, "status", "--url", env.admin).returncode == 0


def test_check_live_finds_a_wrong_token_and_says_what_to_do(tmp_path: Path) -> None:
    with Environment(tmp_path) as env:
        valid = gateway(env, "check", "--live")
        assert valid.returncode == 0, valid.stderr
        assert "Meta accepts the settings (0 errors, 0 warnings of 6 checks)" in valid.stdout
        several = gateway(env, "check", "--live", "--test-event-code", "T1")
        assert several.returncode == 2
        assert f"add --event-set (and --destination): {EVENT_SET}, {EVENT_SET}00" in several.stderr
        assert env.arrived() == []
        sent = gateway(env, "check", "--live", "--test-event-code", "T1", "--event-set", EVENT_SET, "--json")
        report = json.loads(sent.stdout)
        assert [finding["level"] for finding in report["live"]] == ["ok"] * 4
        assert [event["event_name"] for event in env.arrived()] == ["GatewayTest"]

        config = (env.folder / "gateway.toml").read_text()
        (env.folder / "gateway.toml").write_text(config.replace('{ env = "TEST_META_TOKEN" }', '"EAAB-wrong"'))
        wrong = gateway(env, "check", "--live")
        assert wrong.returncode == 1
        assert "error    store, token: Meta refuses the access token" in wrong.stdout
        assert "Replace the token" in wrong.stdout
        assert "EAAB-wrong" not in wrong.stdout + wrong.stderr
        assert TOKEN not in valid.stdout + sent.stdout


INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets processes in the background ignore it
runpy.run_module("gateway", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("command", [["tap"], ["status", "--watch"]], ids=" ".join)
def test_ctrl_c_ends_a_command_that_follows_with_status_0(tmp_path: Path, command: list[str]) -> None:
    with Environment(tmp_path) as env, env.start():
        output = tmp_path / "output"
        with (
            output.open("w") as file,
            subprocess.Popen(
                [sys.executable, "-c", INTERRUPTIBLE, *command, "--url", env.admin],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            ) as process,
        ):

            def is_shown() -> bool:
                env.track(sale(1, messageId=str(uuid4())))
                return "accepted" in output.read_text()

            until(is_shown, "the first line")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=10) == 0
        assert "Traceback" not in output.read_text()
        assert "customer1@" not in output.read_text()
