"""`gateway resume`: it waits for the outcome of the retries, and says whether they worked."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.cli.resume_outcome import Outcome, outcome_of
from gateway.model import JsonObject
from tests.cli.conftest import FakeAdmin, call


def lane(**changes: Any) -> JsonObject:
    return {
        "destination": "store",
        "event_set": "1148",
        "upload_tag": "t",
        "waiting": 60,
        "in_flight": 0,
        "last_outcome": "meta_190_463",
        "last_call_at": 100.0,
        "blocked": "token",
        "throttled_until": None,
        **changes,
    }


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (lane(), lane(), Outcome.PENDING),
        (lane(), lane(in_flight=1, last_call_at=101.0), Outcome.PENDING),
        (lane(), lane(last_call_at=101.0), Outcome.STOPPED),
        (lane(), lane(blocked=None), Outcome.RESUMED),
        (lane(), lane(waiting=0), Outcome.EMPTY),
        (lane(), None, Outcome.RESUMED),
        (lane(blocked=None, throttled_until=900.0), lane(blocked=None), Outcome.PENDING),
        (lane(blocked=None, throttled_until=900.0), lane(blocked=None, last_call_at=101.0), Outcome.RESUMED),
        (
            lane(blocked=None, throttled_until=900.0),
            lane(blocked=None, last_call_at=101.0, throttled_until=990.0),
            Outcome.LIMITED,
        ),
        (lane(blocked=None, throttled_until=900.0), lane(blocked=None, waiting=0), Outcome.EMPTY),
        (lane(blocked=None, throttled_until=900.0), lane(last_call_at=101.0), Outcome.STOPPED),
    ],
)
def test_the_outcome_follows_from_the_state_before_and_after(
    before: JsonObject, after: JsonObject | None, outcome: Outcome
) -> None:
    assert outcome_of(before, after) is outcome


def status(*lanes: JsonObject) -> JsonObject:
    return {"lanes": list(lanes)}


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.cli.resume_outcome.INTERVAL", 0.0)


def test_uploads_that_work_again_are_reported_with_status_0(admin: FakeAdmin) -> None:
    admin.answers = {
        "/lanes/resume": {"lanes": 1},
        "/status": [status(lane()), status(lane()), status(lane(blocked=None, waiting=12))],
    }
    done = call("resume", "--url", admin.url)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        "retrying 1 blocked or rate-limited lanes",
        "store, dataset 1148: uploads work again; 12 events are waiting",
    ]


def test_uploads_that_stay_stopped_are_reported_with_the_reason_the_remedy_and_status_1(admin: FakeAdmin) -> None:
    admin.answers = {
        "/lanes/resume": {"lanes": 2},
        "/status": [
            status(lane(), lane(event_set="2")),
            status(lane(last_call_at=101.0), lane(event_set="2", blocked=None)),
        ],
    }
    done = call("resume", "--url", admin.url)
    assert done.exit_code == 1
    _, stopped, resumed = done.stdout.splitlines()
    assert stopped.startswith("store, dataset 1148: still stopped: Meta refuses the access token")
    assert "(190/463). Replace the token" in stopped
    assert resumed.startswith("store, dataset 2: uploads work again")


def test_an_outcome_that_takes_too_long_gives_status_1(admin: FakeAdmin) -> None:
    admin.answers = {"/lanes/resume": {"lanes": 1}, "/status": status(lane())}
    done = call("resume", "--timeout", "0.1", "--url", admin.url)
    assert done.exit_code == 1
    assert "no outcome within 100 ms" in done.stdout


def test_only_the_lanes_of_the_filters_are_waited_for(admin: FakeAdmin) -> None:
    admin.answers = {
        "/lanes/resume": {"lanes": 1},
        "/status": [
            status(lane(), lane(destination="other", event_set="3")),
            status(lane(last_call_at=101.0), lane(destination="other", event_set="3", blocked=None)),
        ],
    }
    done = call("resume", "--destination", "other", "--url", admin.url)
    assert done.exit_code == 0, done.output
    assert "1148" not in done.stdout
    assert "POST /lanes/resume?destination=other" in admin.requests


def test_timeout_0_and_nothing_to_retry_do_not_wait(admin: FakeAdmin) -> None:
    admin.answers = {"/lanes/resume": {"lanes": 1}}
    assert call("resume", "--timeout", "0", "--url", admin.url).exit_code == 0
    assert admin.requests == ["POST /lanes/resume?"]
    admin.answers = {"/lanes/resume": {"lanes": 0}, "/status": status()}
    assert call("resume", "--url", admin.url).stdout == "retrying 0 blocked or rate-limited lanes\n"
