"""The routes with the data of the console, over a real socket."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.history import HistoryQuery, HistoryUnavailable, Metric
from gateway.model import Stage
from gateway.spool import DeadLetterFilter
from tests.admin.admin_port import NOW, AdminPort, admin_port, letter


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[AdminPort]:
    async with admin_port(tmp_path) as running:
        yield running


async def test_the_history_of_the_last_day_is_the_default(port: AdminPort) -> None:
    reply = await port.get("/history")
    assert reply.status == 200
    assert port.gateway.queries == [HistoryQuery(list(Metric), NOW - 86_400, NOW, 60, {})]
    (series,) = reply.json["series"]
    assert (series["metric"], series["kind"], series["values"]) == ("delivered", "counter", [1.0, 0.0])
    assert (reply.json["since"], reply.json["step"], reply.json["recorded"]) == (NOW, 60, [True, False])


async def test_metrics_times_and_labels_can_be_selected(port: AdminPort) -> None:
    query = "metric=accepted,delivered&since=1000&until=4600.5&step=300&destination=store&key=email"
    assert (await port.get(f"/history?{query}")).status == 200
    where = {"destination": "store", "key": "email"}
    assert port.gateway.queries == [HistoryQuery([Metric.ACCEPTED, Metric.DELIVERED], 1000.0, 4600.5, 300, where)]


@pytest.mark.parametrize(
    "query",
    [
        *("metric=nope", "metric=", "step=59", "step=x", "step=999999999", "since=x", "since=2000&until=1000"),
        *("lane=1", "metric=accepted&metric=delivered"),
    ],
)
async def test_a_wrong_query_for_the_history_is_refused(port: AdminPort, query: str) -> None:
    reply = await port.get(f"/history?{query}")
    assert (reply.status, reply.json["code"]) == (400, "bad_query")
    assert port.gateway.queries == []


async def test_a_history_that_is_off_is_a_clear_answer(port: AdminPort) -> None:
    port.gateway.history_failure = HistoryUnavailable("the history is turned off (console.enabled)")
    reply = await port.get("/history")
    assert reply.status == 503
    assert "console.enabled" in reply.json["message"]


async def test_the_story_of_an_event_has_its_trace_and_its_dead_letters(port: AdminPort) -> None:
    await port.spool.append([], [letter(message_id="m1", order_id="1001"), letter(2, stage=Stage.MAPPING, lane=None)])
    reply = await port.get("/trace?id=m1")
    assert reply.status == 200
    assert port.gateway.traced == ["m1"]
    (event,) = reply.json["events"]
    assert (event["order_id"], event["state"], event["meta_trace_id"]) == ("1001", "delivered", "A1")
    assert reply.json["recorded_since"] == NOW - 60
    assert 1 in [entry["number"] for entry in reply.json["dead_letters"]]


async def test_an_id_is_searched_in_the_form_in_which_it_is_stored(port: AdminPort) -> None:
    assert (await port.get("/trace?id=%E2%80%AEx")).status == 200
    assert port.gateway.traced == ["\\u202ex"]
    for query in ("", "?id=", "?number=1", "?id=1&id=2"):
        assert (await port.get(f"/trace{query}")).status == 400
    assert len(port.gateway.traced) == 1


async def test_the_live_view_continues_after_its_cursor(port: AdminPort) -> None:
    reply = await port.get("/tap")
    assert (reply.json["cursor"], reply.json["skipped"]) == ("1.0", 3)
    assert (await port.get("/tap?cursor=0:1.0,1:2.5")).status == 200
    assert (await port.get(f"/tap?cursor={'1' * 4001}")).status == 400
    assert port.gateway.cursors == ["", "0:1.0,1:2.5"]


async def test_the_quality_of_each_dataset_has_its_error(port: AdminPort) -> None:
    (dataset,) = (await port.get("/quality")).json["datasets"]
    assert (dataset["destination"], dataset["error"]) == ("store", "Replace the token.")
    assert (await port.get("/quality?x=1")).status == 400


async def test_the_data_needs_the_token(tmp_path: Path) -> None:
    async with admin_port(tmp_path, token="secret") as port:
        for path in ("/history", "/trace?id=1", "/tap", "/quality"):
            assert (await port.get(path)).status == 401
            assert (await port.get(path, b"Authorization: Bearer secret")).status == 200


def test_a_filter_selects_dead_letters_by_their_ids() -> None:
    given = letter(message_id="m1", order_id="1001")
    assert DeadLetterFilter(message_id="m1").matches(given)
    assert DeadLetterFilter(order_id="1001").matches(given)
    assert not DeadLetterFilter(message_id="1001").matches(given)
    assert not DeadLetterFilter(order_id="1001").matches(replace(given, order_id=None))
