"""The data of the console over several processes: traces, live view, history, Meta's scores."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.e2e.environment import EVENT_SET, Environment, get, sale, until
from tests.e2e.test_workers import environment_of, spread, workers_of


def delivered_by_destination(env: Environment) -> dict[str, float]:
    """The delivered events in the history."""
    series = get(f"{env.admin}/history?metric=delivered")["series"]
    return {entry["labels"]["destination"]: sum(entry["values"]) for entry in series}


def test_two_workers_have_one_trace_one_live_view_and_one_history(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start() as running:
        cursor = get(f"{env.admin}/tap")["cursor"]
        spread(env, [sale(number) for number in range(30)])
        page = get(f"{env.admin}/tap?cursor={cursor}")
        assert {entry["message_id"] for entry in page["entries"]} == {f"message-{number}" for number in range(30)}
        until(lambda: env.ledger()["waiting"] == 0, "everything to be delivered")
        for number in range(30):
            events = get(f"{env.admin}/trace?id=order-{number}")["events"]
            assert sorted(event["destination"] for event in events) == ["legacy", "store"]
            assert {event["state"] for event in events} == {"delivered"}
            assert all(event["meta_trace_id"] for event in events)
        quality = {dataset["event_set"]: dataset for dataset in get(f"{env.admin}/quality")["datasets"]}
        assert quality[EVENT_SET]["offline"][0]["coverage"]["email"] == 100
        assert quality[EVENT_SET]["counts"]["valid"] == 30
        assert running.stop() == 0
        with env.start():
            until(
                lambda: delivered_by_destination(env) == {"store": 30, "legacy": 30}, "the history of the first process"
            )
            assert len(get(f"{env.admin}/trace?id=order-7")["events"]) == 2


def test_after_a_kill_no_event_is_reported_as_waiting_that_is_not(tmp_path: Path) -> None:
    with environment_of(tmp_path, 2) as env, env.start():
        spread(env, [sale(number) for number in range(20)])
        for worker in workers_of(env):
            os.kill(worker, signal.SIGKILL)
        until(lambda: env.status()["ready"], "the workers to be restarted")
        until(lambda: env.ledger()["waiting"] == 0, "everything to be delivered")
        for number in range(20):
            answer = get(f"{env.admin}/trace?id=order-{number}")
            states = {event["state"] for event in answer["events"]}
            assert "waiting" not in states
            assert len(answer["events"]) == 2 or answer["gaps"], "what is not known is in a gap"
