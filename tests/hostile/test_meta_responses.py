"""Hostile and broken responses of Meta, with real processes: counts that are wrong, and waits that never end."""

from __future__ import annotations

import time
from pathlib import Path

from gateway.model import JsonObject
from tests.e2e.environment import EVENT_SET, Environment, get, sale, until
from tests.e2e.test_guarantees import orders
from tests.e2e.test_operators import gateway

EVENTS = 20


def send(env: Environment, numbers: range) -> None:
    """Send sales. They go to a second destination as well, for which Meta responds as usual."""
    status, _ = env.track(*map(sale, numbers))
    assert status == 200


def lane(env: Environment) -> JsonObject:
    """The status of the lane whose event set has the faults."""
    return next(one for one in env.status()["lanes"] if one["event_set"] == EVENT_SET)


def test_events_that_meta_does_not_confirm_are_never_counted_as_delivered(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        env.faults({"count": 0, "event_set": EVENT_SET})
        send(env, range(EVENTS))
        until(lambda: lane(env)["dead_lettered"] == EVENTS, "the events to become dead letters")
        assert (lane(env)["delivered"], lane(env)["waiting"]) == (0, 0)
        letters = get(f"{env.admin}/dead-letters?destination=store&limit=100")["dead_letters"]
        assert {letter["code"] for letter in letters} == {"count_mismatch"}
        assert all(letter["message"].startswith("Meta confirmed only 0 of the ") for letter in letters)
        assert len(letters) == EVENTS

        env.faults()
        send(env, range(EVENTS, EVENTS + 5))
        until(lambda: lane(env)["delivered"] == 5, "the next events to be delivered")
        running.stop()


def test_events_of_which_the_repeated_call_is_confirmed_are_delivered(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        env.faults({"count": 0, "calls": 1, "event_set": EVENT_SET})
        send(env, range(EVENTS))
        until(lambda: lane(env)["delivered"] == EVENTS, "the events to be delivered")
        assert lane(env)["dead_lettered"] == 0
        running.stop()


def test_a_wait_of_years_is_shown_as_ten_minutes_and_ended_by_resume(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        env.faults({"status": 429, "body": "empty", "headers": {"Retry-After": "99999999"}, "event_set": EVENT_SET})
        send(env, range(EVENTS))
        until(lambda: lane(env)["throttled_until"] is not None, "the throttle to be shown")
        throttled_until = lane(env)["throttled_until"]
        assert isinstance(throttled_until, float)
        assert 500 < throttled_until - time.time() <= 600

        env.faults()
        resumed_at = time.monotonic()
        assert gateway(env, "resume", "--url", env.admin, "--destination", "store").returncode == 0
        until(lambda: len(orders(env)) == EVENTS, "the waiting events")
        assert time.monotonic() - resumed_at < 8
        running.stop()


def test_an_absurd_usage_does_not_stop_the_uploads_of_the_token(tmp_path: Path) -> None:
    with Environment(tmp_path) as env, env.start() as running:
        headers = {"X-App-Usage": '{"call_count":1e300,"total_time":1e6}'}
        env.faults({"count": 1, "headers": headers, "calls": 1, "event_set": EVENT_SET})
        send(env, range(1))
        until(lambda: lane(env)["delivered"] == 1, "the first event")
        send(env, range(1, 5))
        time.sleep(1.0)
        assert gateway(env, "resume", "--url", env.admin, "--destination", "store").returncode == 0
        until(lambda: lane(env)["delivered"] == 5, "the other events")
        assert lane(env)["throttled_until"] is None
        running.stop()
