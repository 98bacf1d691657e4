"""`gateway status`: what it shows of an answer of `/status`, alone and while it is watched."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gateway.admin.status import status_of
from gateway.cli.status import _table
from gateway.cli.status_report import WINDOW, RateMeter, Rates, rates_of_history, report_of, snapshot_of
from gateway.config import Settings, load
from gateway.console.datasets import State, datasets_of
from gateway.model import Backlog, JsonObject, Lane
from gateway.telemetry import LaneStatistics, Snapshot
from tests.cli.conftest import FakeAdmin, call
from tests.console.console_port import DATASET, LANE, NOW, lane_statistics, snapshot


def answer(lanes: list[LaneStatistics] | None = None, **changes: Any) -> JsonObject:
    """What `/status` answers, as a client reads it."""
    return json.loads(json.dumps(status_of(replace(snapshot(lanes), **changes), NOW)))  # type: ignore[no-any-return]


STOPPED = lane_statistics(blocked="token", last_outcome="meta_190_463", in_flight=0)


def test_the_counts_are_one_sentence_that_adds_up(admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer()}
    done = call("status", "--url", admin.url)
    assert done.exit_code == 0, done.output
    assert "accepted 48,300 = delivered 48,211 + dead-lettered 29 + waiting 60\n" in done.output
    assert "ready; running for 2 h" in done.output
    assert "12 no_match_key: The event has no identity of the customer." in done.output
    assert "41 dead letters are stored" in done.output


def test_counts_that_do_not_add_up_are_shown_as_such(admin: FakeAdmin) -> None:
    wrong = answer()
    wrong["ledger"]["delivered"] -= 1
    admin.answers = {"/status": wrong}
    assert "accepted 48,300 DIFFERS FROM delivered 48,210" in call("status", "--url", admin.url).output


def test_a_stopped_dataset_has_its_reason_and_the_next_action_and_gives_status_1(admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer([STOPPED])}
    done = call("status", "--url", admin.url)
    assert done.exit_code == 1
    assert f"store, dataset {DATASET}: Meta refuses the access token; it is invalid, expired or revoked" in done.output
    assert "(code 190/463)" in done.output
    assert "Replace the token" in done.output
    assert "Then run `gateway resume`" in done.output
    assert "press" not in done.output


def test_a_gateway_that_takes_no_events_says_why_and_gives_status_1(admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer(reasons=["the spool is full"])}
    done = call("status", "--url", admin.url)
    assert done.exit_code == 1
    assert "takes no events: the spool is full" in done.output


def test_json_has_the_states_and_the_rates_of_the_last_recorded_minutes(admin: FakeAdmin) -> None:
    labels = {"destination": "store", "event_set": DATASET}
    page = {
        "recorded": [False, True, True],
        "step": 60,
        "series": [
            {"metric": "accepted", "labels": labels, "values": [0, 60, 180]},
            {"metric": "delivered", "labels": labels, "values": [0, 0, 120]},
        ],
    }
    admin.answers = {"/status": answer([STOPPED]), "/history": page}
    report = json.loads(call("status", "--json", "--url", admin.url).stdout)
    (dataset,) = report["datasets"]
    assert dataset["state"] == "stopped"
    assert dataset["rates"] == {"accepted": 2.0, "delivered": 1.0}
    assert dataset["waiting"] == 60
    assert dataset["oldest_age_seconds"] == 4
    assert report["ledger"]["delivered"] == 48_211
    assert "/history?metric=accepted%2Cdelivered" in admin.requests[1]


def test_without_a_history_the_rates_are_unknown(admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer()}
    report = json.loads(call("status", "--json", "--url", admin.url).stdout)
    assert [dataset["rates"] for dataset in report["datasets"]] == [None]
    assert rates_of_history({"recorded": [False], "step": 60, "series": []}) == {}


def settings_with(config: Path, *event_sets: str) -> Settings:
    text = config.read_text().replace(f'["{DATASET}"]', json.dumps(event_sets))
    config.write_text(text)
    return load(config, {})


def test_the_states_are_those_of_the_console_also_of_datasets_without_lanes(config: Path) -> None:
    settings = settings_with(config, DATASET, "1", "2")
    given = snapshot([STOPPED])
    given.ledger.lanes[Lane("store", "1", "")].accepted = 5
    given.ledger.lanes[Lane("store", "1", "")].delivered = 5  # its lane has ended
    other_tag = given.ledger.lanes[Lane("store", DATASET, "another tag")]
    other_tag.accepted = other_tag.delivered = 7
    given.orphans = [Backlog(Lane("gone", "7", "t"), 3, 300, None)]
    status = json.loads(json.dumps(status_of(given, NOW)))
    expected = datasets_of(given, settings, NOW)
    shown = report_of(status, settings, {}).datasets
    assert [(each.destination, each.event_set, each.state, each.reason) for each in shown] == [
        (each.destination, each.event_set, each.state, each.reason) for each in expected
    ]
    assert {each.event_set: each.delivered for each in shown} == {DATASET: 48_218, "1": 5, "2": 0, "7": 0}
    assert {each.state for each in shown} == {State.STOPPED, State.ORPHANED, State.IDLE}


def test_a_lane_is_read_back_with_all_values_that_decide_its_state() -> None:
    lanes = [lane_statistics(throttled_until=NOW + 9, in_flight=0), lane_statistics(Lane("store", "2", "t"))]
    read = snapshot_of(answer(lanes)).lanes
    assert [replace(each, waiting_bytes=9000, waiting_events=60) for each in read] == lanes


def counted(uptime: float, accepted: int, started_at: float = NOW) -> JsonObject:
    given = Snapshot(started_at=started_at)
    given.ledger.lanes[LANE].accepted = accepted
    given.ledger.lanes[LANE].delivered = accepted // 2
    return status_of(given, started_at + uptime)


def test_while_watched_the_rates_are_those_of_the_last_reads() -> None:
    meter = RateMeter()
    assert meter.add(counted(1.0, 100)) == {}
    assert meter.add(counted(3.0, 140)) == {("store", DATASET): Rates(20.0, 10.0)}
    later = [meter.add(counted(float(second), 140)) for second in range(4, 4 + WINDOW)]
    assert later[-1] == {("store", DATASET): Rates(0.0, 0.0)}, "older reads do not count"


def test_after_a_restart_of_the_gateway_no_rate_is_negative() -> None:
    meter = RateMeter()
    meter.add(counted(50.0, 1000))
    assert meter.add(counted(1.0, 4, NOW + 60)) == {}
    assert meter.add(counted(2.0, 8, NOW + 60)) == {("store", DATASET): Rates(4.0, 2.0)}


@pytest.fixture
def three_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Press Ctrl-C after the third read."""
    waits = iter([None, None])

    def sleep(_: float) -> None:
        if next(waits, KeyboardInterrupt) is KeyboardInterrupt:
            raise KeyboardInterrupt

    monkeypatch.setattr("gateway.cli.status.time.sleep", sleep)


@pytest.mark.usefixtures("three_reads")
def test_a_watch_without_a_terminal_prints_a_line_for_each_read_and_ends_on_ctrl_c(admin: FakeAdmin) -> None:
    admin.answers = {"/status": [answer(), answer([STOPPED]), answer()]}
    done = call("status", "--watch", "--url", admin.url)
    assert done.exit_code == 0
    first, second, _ = done.output.splitlines()
    assert first.startswith("accepted 48,300 = delivered 48,211")
    assert "the oldest for 4 s" in first
    assert "0 of 1 datasets stopped" in first
    assert "1 of 1 datasets stopped" in second


@pytest.mark.usefixtures("three_reads")
def test_a_watch_as_json_prints_one_object_a_line(admin: FakeAdmin) -> None:
    admin.answers = {"/status": answer()}
    lines = call("status", "--watch", "--json", "--url", admin.url).stdout.splitlines()
    assert [json.loads(line)["ledger"]["waiting"] for line in lines] == [60, 60, 60]


@pytest.mark.usefixtures("three_reads")
def test_a_watch_goes_on_when_the_gateway_cannot_be_reached() -> None:
    done = call("status", "--watch", "--url", "http://127.0.0.1:9")
    assert done.exit_code == 0
    assert done.stderr.count("cannot connect to the admin port") == 3


@pytest.mark.parametrize("wrong", [{}, {"started_at": "x", "uptime_seconds": 1}, {**answer(), "lanes": 7}])
def test_an_answer_of_another_form_is_an_error_in_one_sentence(admin: FakeAdmin, wrong: JsonObject) -> None:
    admin.answers = {"/status": wrong}
    done = call("status", "--url", admin.url)
    assert done.exit_code == 1
    assert "the answer of the admin port cannot be read" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_gateway_the_command_says_so() -> None:
    done = call("status", "--url", "http://127.0.0.1:9")
    assert (done.exit_code, done.stderr) == (1, "cannot connect to the admin port; is the gateway running?\n")


@pytest.mark.parametrize(("width", "has_rates"), [(60, False), (94, False), (95, True), (200, True)])
def test_a_narrow_terminal_gets_the_columns_that_fit_and_no_cell_is_broken(width: int, has_rates: bool) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(
        _table(report_of(answer([STOPPED]), Settings.model_construct(sources={}, destinations={}), {}), width)
    )
    heading, row = console.export_text().splitlines()
    assert ("accepted/s" in heading) is has_rates
    assert {"store", DATASET, "stopped", "60"} <= set(row.split())
