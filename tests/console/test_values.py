"""The values that pages show, built from given counts: states, sentences, advice, plots, and what is never shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.admin.trace import EventStory
from gateway.console import formats
from gateway.console.advice import advise
from gateway.console.datasets import State, datasets_of
from gateway.console.pages import destination, event, overview, playground, problems
from gateway.console.pages import settings as settings_page
from gateway.console.pages.letters import letter_row
from gateway.console.pages.live import MAX_ROWS, Feed
from gateway.console.past import Past
from gateway.console.plots import Line, Plot, rates
from gateway.console.redacted import short_hashes, shown_id
from gateway.console.refusals import explain_code, problems_of
from gateway.console.tables import Table
from gateway.history import HistoryPage, Metric, Series
from gateway.mapping import compile_mapper
from gateway.mapping.explain import explain
from gateway.model import Backlog, Lane, Stage
from gateway.tap import TapPage
from gateway.telemetry import Coverage, KeyCoverage, LaneCounts, Snapshot
from gateway.trace import TraceResult, TraceState, WaitingReason
from tests.console.console_port import (
    DATASET,
    LANE,
    NOW,
    lane_statistics,
    letter,
    rejected,
    settings,
    snapshot,
    tapped,
    traced,
)

NO_PAST = Past("24h", None, "it is off")


def empty() -> Snapshot:
    return Snapshot(started_at=NOW - 60)


def test_an_overview_without_events_says_so(tmp_path: Path) -> None:
    page = overview.build(empty(), settings(tmp_path), NO_PAST, NOW)
    assert page.answer is overview.Answer.NOTHING
    assert page.ledger.adds_up
    assert [(dataset.event_set, dataset.state) for dataset in page.datasets] == [(DATASET, State.IDLE)]


def test_the_counts_of_the_overview_add_up(tmp_path: Path) -> None:
    page = overview.build(snapshot(), settings(tmp_path), NO_PAST, NOW)
    ledger = page.ledger
    assert (ledger.accepted, ledger.delivered, ledger.dead_lettered, ledger.waiting) == (48_300, 48_211, 29, 60)
    assert ledger.adds_up
    assert page.answer is overview.Answer.MOSTLY
    assert "48,211 events reached Meta since the gateway started; 41 were refused" in page.sentence


def test_the_answer_is_yes_only_if_nothing_was_refused(tmp_path: Path) -> None:
    given = empty()
    given.ledger.lanes[LANE] = LaneCounts(accepted=5, delivered=5)
    assert overview.build(given, settings(tmp_path), NO_PAST, NOW).answer is overview.Answer.YES
    given.ledger.rejected["shop", "store", "no_match_key"] = 1
    assert overview.build(given, settings(tmp_path), NO_PAST, NOW).answer is overview.Answer.MOSTLY


@pytest.mark.parametrize(
    ("lane", "state", "answer"),
    [
        ({"blocked": "token", "last_outcome": "meta_190_463"}, State.STOPPED, overview.Answer.NO),
        ({"blocked": "a new kind"}, State.STOPPED, overview.Answer.NO),
        ({"throttled_until": NOW + 90}, State.LIMITED, overview.Answer.NOT_YET),
        ({"oldest_at": NOW - 900}, State.LATE, overview.Answer.NOT_YET),
        ({}, State.DELIVERING, overview.Answer.MOSTLY),
        ({"in_flight": 0}, State.WAITING, overview.Answer.MOSTLY),
    ],
)
def test_a_dataset_has_the_state_of_its_worst_lane(
    tmp_path: Path, lane: dict[str, Any], state: State, answer: overview.Answer
) -> None:
    given = snapshot([lane_statistics(LANE._replace(upload_tag="other"), in_flight=0), lane_statistics(**lane)])
    page = overview.build(given, settings(tmp_path), NO_PAST, NOW)
    assert page.datasets[0].state is state
    assert page.answer is answer


def test_a_stopped_dataset_says_why_and_what_to_do(tmp_path: Path) -> None:
    given = snapshot([lane_statistics(blocked="token", last_outcome="meta_190_463")])
    (dataset,) = datasets_of(given, settings(tmp_path), NOW)
    assert dataset.reason == "Meta refuses the access token; it is invalid, expired or revoked (code 190/463)."
    assert "Replace the token" in dataset.action
    assert "Resume" in dataset.action


def test_events_of_a_removed_destination_are_shown(tmp_path: Path) -> None:
    given = empty()
    given.orphans = [Backlog(Lane("gone", "7", tag), 5, 100, NOW - 50) for tag in ("a", "b")]
    first = datasets_of(given, settings(tmp_path), NOW)[0]
    assert (first.destination, first.state, first.waiting, first.oldest_at) == ("gone", State.ORPHANED, 10, NOW - 50)


def test_datasets_that_need_attention_come_first_and_the_page_is_cut(tmp_path: Path) -> None:
    lanes = [lane_statistics(Lane("store", str(number), ""), in_flight=0) for number in range(1000)]
    lanes[700] = lane_statistics(Lane("store", "700", ""), blocked="token")
    page = overview.build(snapshot(lanes), settings(tmp_path), NO_PAST, NOW)
    assert page.datasets[0].event_set == "700"
    assert (len(page.datasets), page.dataset_count) == (overview.MAX_DATASETS, 1001)


def history(*series: Series, recorded: list[bool] | None = None) -> Past:
    return Past("1h", HistoryPage(NOW - 240, 60, recorded or [True] * 4, series))


def test_the_totals_are_those_of_the_range(tmp_path: Path) -> None:
    labels = {"destination": "store", "event_set": DATASET}
    past = history(
        Series(Metric.ACCEPTED, labels, [1, 2, 3, 4]),
        Series(Metric.DELIVERED, labels, [1, 2, 3, 0]),
        Series(Metric.DELIVERED, {**labels, "event_set": "2"}, [10, 0, 0, 0]),
    )
    page = overview.build(snapshot(), settings(tmp_path), past, NOW)
    assert (page.totals.accepted, page.totals.delivered, page.totals.rejected) == (10, 16, 0)
    assert "16 events reached Meta in the last hour" in page.sentence


def test_a_plot_is_interrupted_where_the_gateway_did_not_run(tmp_path: Path) -> None:
    labels = {"destination": "store", "event_set": DATASET}
    past = history(Series(Metric.ACCEPTED, labels, [4, 0, 2, 2]), recorded=[True, False, True, True])
    plot = overview.build(snapshot(), settings(tmp_path), past, NOW).plots[0]
    accepted = plot.lines[0]
    assert list(accepted.values) == [4.0, None, 2.0, 2.0]
    assert plot.path(accepted) == "M0.0 0.0M400.0 60.0L600.0 60.0"
    assert plot.table().rows[1][:2] == [NOW - 180, None]


def test_a_step_that_is_not_over_has_no_rate() -> None:
    page = HistoryPage(NOW - 240, 60, [True] * 5, [])
    assert rates(page, [10, 10, 10, 10, 1], NOW + 30) == [10.0, 10.0, 10.0, 10.0, None]
    assert rates(page, [10, 10, 10, 10, 1], NOW + 60) == [10.0, 10.0, 10.0, 10.0, 1.0]


def test_a_plot_without_values_has_no_line() -> None:
    plot = Plot("p", "P", "s", NOW, 60, [Line("a", [None, None])])
    assert not plot.has_values
    assert plot.path(plot.lines[0]) == ""
    assert plot.summary == "a: latest –, highest – s"


def test_a_problem_has_its_count_its_first_and_its_last_time() -> None:
    past = history(
        Series(Metric.REJECTED, {"source": "shop", "code": "no_match_key"}, [0, 3, 1, 0]),
        Series(Metric.DEAD_LETTERS, {"destination": "store", "stage": "expired", "code": "expired"}, [0, 0, 0, 9]),
        Series(Metric.DEAD_LETTERS, {"destination": "store", "stage": "mapping", "code": "no_match_key"}, [9, 9, 9, 9]),
    )
    expired, unmatched, refused = problems_of(snapshot(), past)
    assert (expired.code, expired.count, expired.since_start) == ("expired", 9, 0)
    assert (unmatched.code, unmatched.count, unmatched.since_start) == ("no_match_key", 4, 12)
    assert (unmatched.first_at, unmatched.last_at) == (NOW - 180, NOW - 120)
    assert (refused.code, refused.count, refused.since_start) == ("meta_100_2804050", 0, 29)


@pytest.mark.parametrize(
    ("stage", "code", "expected"),
    [
        (Stage.MAPPING, "no_match_key", "no identity"),
        (Stage.UPLOAD, "meta_100_2804050", "customer information is missing"),
        (Stage.UPLOAD, "meta_100", "code 100"),
        (Stage.UPLOAD, "http_404", "HTTP 404"),
        (Stage.UPLOAD, "count_mismatch", "fewer events"),
        (Stage.EXPIRED, "expired", "too old"),
        (Stage.UPLOAD, "spool_corrupt", "damaged"),
    ],
)
def test_every_code_has_a_meaning_and_a_remedy(stage: Stage, code: str, expected: str) -> None:
    meaning, remedy = explain_code(stage, code)
    assert expected in meaning
    assert remedy


def test_advice_is_in_the_order_of_its_effect(tmp_path: Path) -> None:
    store = settings(tmp_path).destinations["store"]
    found = advise(snapshot().coverage["store"], store)
    assert found[0].setting == "default_country"
    assert found[0].sentence.startswith("41\N{NO-BREAK SPACE}% of the events have a phone number that is dropped")
    assert [each.effect for each in found] == sorted((each.effect for each in found), reverse=True)
    assert advise(None, store) == []
    assert advise(Coverage(0, {}, {}), store) == []


def test_advice_does_not_ask_for_a_setting_that_is_set(tmp_path: Path) -> None:
    store = settings(tmp_path).destinations["store"].model_copy(update={"default_country": "US"})
    coverage = Coverage(100, {"phone": KeyCoverage(10, {"no_country": 90})}, {})
    assert [each.setting for each in advise(coverage, store)] == [""]


def test_the_coverage_of_a_destination_is_that_of_the_range(tmp_path: Path) -> None:
    past = history(
        Series(Metric.MAPPED, {"destination": "store"}, [10, 10, 0, 20]),
        Series(Metric.KEY_PRESENT, {"destination": "store", "key": "email"}, [10, 5, 0, 15]),
        Series(Metric.KEY_DROPPED, {"destination": "store", "key": "phone", "cause": "md5"}, [1, 1, 0, 2]),
    )
    page = destination.build("store", settings(tmp_path), snapshot(), past, NOW)
    assert page.events == 40
    assert [(key.name, key.present, key.share, key.dropped) for key in page.keys] == [
        ("email", 30, 0.75, 0),
        ("phone", 0, 0.0, 4),
    ]
    assert list(page.plots[0].lines[0].values) == [100.0, 50.0, None, 75.0]


def test_without_a_history_the_coverage_is_that_since_the_start(tmp_path: Path) -> None:
    page = destination.build("store", settings(tmp_path), snapshot(), NO_PAST, NOW)
    assert (page.events, page.counted) == (48_312, "since the gateway started")
    assert page.left_out == [("customer_note", 4)]
    assert page.lanes[0].tag_hash == LANE.tag_hash, "the tag itself is not shown"


def test_problems_without_a_history_are_those_since_the_start() -> None:
    page = problems.build(snapshot(), NO_PAST)
    assert (page.count, page.stored) == (41, 41)
    assert [row.plot for row in page.rows] == [None, None]


def stories(*events: Any, letters: Any = ()) -> list[event.Story]:
    found = EventStory("1007", TraceResult(events), letters)
    return event.stories_of(found, shows_ids=True, now=NOW)


def test_a_delivered_event_tells_when_and_in_which_call() -> None:
    (story,) = stories(traced())
    assert (story.fate, story.meta_trace_id) == (event.Fate.DELIVERED, "AbCdEfG")
    assert story.sentence == "Meta accepted it, 5\N{NO-BREAK SPACE}s after it came in."
    assert [step.at for step in story.steps] == [NOW - 600, NOW - 595]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("batch", "batch to fill"),
        ("in_flight", "call that carries it"),
        ("throttled", "rate limit"),
        ("token", "Meta refuses the access token"),
        ("new", "stopped (new)"),
    ],
)
def test_a_waiting_event_tells_what_it_waits_for(kind: str, expected: str) -> None:
    waiting = traced(state=TraceState.WAITING, ended_at=None, waiting=WaitingReason(kind, NOW + 5))
    (story,) = stories(waiting)
    assert story.fate is event.Fate.WAITING
    assert expected in story.sentence


def test_a_refused_event_and_its_dead_letter_are_one_story() -> None:
    dead = traced(state=TraceState.DEAD_LETTERED, code="meta_100_2804050", stored_at=NOW - 3700)
    (story,) = stories(dead, letters=[(7, letter(7))])
    assert (story.fate, story.letter) == (event.Fate.REFUSED, 7)
    assert "customer information" in story.sentence


def test_a_rejected_event_is_a_story_of_its_own() -> None:
    delivered, refused = stories(traced(), letters=[(8, rejected(7))])
    assert (delivered.fate, refused.fate, refused.letter) == (event.Fate.DELIVERED, event.Fate.REFUSED, 8)
    assert "rejected before it was accepted" in refused.sentence


def test_the_live_page_keeps_the_newest_events_that_match() -> None:
    feed = Feed()
    feed.add(TapPage([tapped(order_id=str(number)) for number in range(MAX_ROWS + 5)], "c", skipped=7))
    assert len(feed._rows) == MAX_ROWS
    assert (feed._seen, feed._skipped) == (MAX_ROWS + 12, 7)
    feed = Feed()
    entries = [tapped(), tapped(source="other"), tapped(event="Lead"), tapped(count=40)]
    feed.add(TapPage(entries, "c", 0), source="shop", event="purch")
    assert [entry.count for entry in feed._rows] == [1, 40]
    assert feed._seen == 43


def test_an_explanation_masks_personal_values_unless_they_are_asked_for(tmp_path: Path) -> None:
    mapper = compile_mapper("store", settings(tmp_path).destinations["store"])
    given = {
        "type": "track",
        "event": "Order Completed",
        "originalTimestamp": NOW - 60,
        "context": {"traits": {"email": "jane@example.com"}},
        "properties": {"order_id": "1001", "total": 5},
    }
    explanation = explain(mapper, given, int(NOW))
    masked = playground.result_of(explanation, shows_values=False)
    assert masked.is_mapped
    assert "jane@example.com" not in str(masked)
    assert "1001" in str(masked)
    assert "jane@example.com" in str(playground.result_of(explanation, shows_values=True))


def test_settings_show_secrets_as_their_origin_and_mark_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "a-secret-token")
    given = settings(tmp_path, admin={"token": {"env": "A_TOKEN"}})
    page = settings_page.build(given, snapshot())
    entries = {f"{section.name}.{entry.key}": entry for section in page.sections for entry in section.entries}
    assert entries["admin.token"].value == "(secret, from environment variable A_TOKEN)"
    assert not entries["admin.token"].is_default
    assert entries["server.port"].is_default
    assert entries["destinations.store.access_token"].value == "(secret, from the settings)"
    assert "a-secret-token" not in str(page)
    assert "an-access-token" not in str(page)
    assert "a-write-key" not in str(page)
    assert ("Order Completed", [DATASET]) in [(route.event, route.event_sets) for route in page.routes]


def test_a_stored_event_is_shown_without_values_that_could_name_a_person() -> None:
    given = {
        "event_name": "Purchase",
        "event_time": 1_772_366_340,
        "messageId": "m-1",
        "user_data": {"em": ["ab" * 32], "client_ip_address": "203.0.113.9", "fbp": "fb.1.2.3"},
        "custom_data": {"value": 5, "currency": "EUR", "note": "Jane Doe", "jane@example.com": 1, "order_id": "1001"},
        "event": {"deep": "Jane"},
        "currency": "Jane Doe",
        "list": ["Jane"] * 60,
    }
    reduced = short_hashes(given, shows_ids=True)
    assert "Jane" not in json.dumps(reduced)
    assert "203.0" not in json.dumps(reduced)
    assert "jane@" not in json.dumps(reduced)
    assert reduced["user_data"]["em"] == ["ababab…"]
    assert reduced["custom_data"]["value"] == 5
    assert (reduced["messageId"], reduced["custom_data"]["order_id"]) == ("m-1", "1001")
    assert short_hashes(given, shows_ids=False)["messageId"] == "(3 characters)"
    assert reduced["list"][-1] == "(10 more)"


@pytest.mark.parametrize("given", ["jane@example.com", "order of jane@example.com"])
def test_an_id_that_is_an_address_is_hidden(given: str) -> None:
    assert shown_id(given, shows_ids=True) == "(hidden)"
    assert letter_row(1, letter(order_id=given, message_id="m1"), shows_ids=True).order_id == "(hidden)"
    assert shown_id("order-1", shows_ids=True) == "order-1"
    assert shown_id("order-1", shows_ids=False) is None


def test_an_event_of_extreme_depth_is_cut() -> None:
    deep: Any = "Jane"
    for _ in range(900):
        deep = {"a": deep}
    assert "(more)" in json.dumps(short_hashes(deep, shows_ids=True))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (formats.number(48211), "48,211"),
        (formats.number(None), "–"),
        (formats.decimal(0.25), "0.25"),
        (formats.decimal(3.21), "3.2"),
        (formats.percent(0.71), "71 %"),
        (formats.percent(0.001), "< 1 %"),
        (formats.percent(0.9999), "> 99 %"),
        (formats.percent(1), "100 %"),
        (formats.duration(0.34), "340 ms"),
        (formats.duration(3.24), "3.2 s"),
        (formats.duration(671), "11 min"),
        (formats.duration(125), "2 min 5 s"),
        (formats.duration(7500), "2 h 5 min"),
        (formats.duration(86_400), "1 day"),
        (formats.duration(4 * 86_400), "4 days"),
        (formats.size(10 * 2**30), "10 GiB"),
        (formats.size(1536), "1.5 KiB"),
        (formats.plural(1, "event"), "1 event"),
        (formats.plural(1200, "event is", "events are"), "1,200 events are"),
        (formats.utc(NOW), "2026-03-01 12:00:00 UTC"),
        (formats.shown("a\x1b[2J\u202eb"), "a\\x1b[2J\\u202eb"),
        (len(formats.shown("x" * 10_000)), 201),
        (str(formats.marked("set `a<b>` & go")), "set <code>a&lt;b&gt;</code> &amp; go"),
    ],
)
def test_values_are_shown_as_people_read_them(given: str, expected: str) -> None:
    assert str(given).replace("\N{NO-BREAK SPACE}", " ") == str(expected)


def test_a_recent_time_is_an_age_and_an_older_one_a_date() -> None:
    assert ">5\N{NO-BREAK SPACE}min ago</time>" in formats.moment(NOW - 300, NOW)
    assert ">26 Feb 2026, 12:00 UTC</time>" in formats.moment(NOW - 3 * 86_400, NOW)
    assert 'title="2026-03-01 11:55:00 UTC"' in formats.moment(NOW - 300, NOW)
    assert formats.moment(None, NOW) == "–"


def test_a_spreadsheet_takes_no_text_of_a_sender_for_a_formula() -> None:
    table = Table(
        ["id", "count"], [["=cmd()", -5], ["@x", 1], ['plain, with "quotes"', None], [["a", "b"], Stage.UPLOAD]]
    )
    lines = table.as_csv().decode().splitlines()
    assert lines == ["id,count", "'=cmd(),-5", "'@x,1", '"plain, with ""quotes""",', "a; b,upload"]
    assert json.loads(table.as_json())[0] == {"id": "=cmd()", "count": -5}
