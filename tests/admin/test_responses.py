"""The JSON of every route of the admin port, over HTTP."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from gateway.admin.status import status_of
from gateway.identifiers import short_id
from gateway.model import GatewayError, Stage
from gateway.spool import SpoolFull, SpoolUnavailable
from gateway.telemetry import Snapshot
from gateway.telemetry.rejection_rate import RejectionRate
from tests.admin.admin_port import LANE, NOW, admin_port, letter


@pytest.fixture(params=["memory", "sqlite"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_health_and_readiness(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        healthy = await port.get("/healthz")
        assert (healthy.status, healthy.body) == (200, b"ok\n")
        ready = await port.get("/readyz")
        assert (ready.status, ready.json) == (200, {"ready": True, "reasons": []})
        port.gateway.reasons = ["stopping", "the disk is full"]
        reply = await port.get("/readyz")
        assert reply.status == 503
        assert reply.json == {
            "ready": False,
            "reasons": ["stopping", "the disk is full"],
            "code": "not_ready",
            "message": "stopping; the disk is full",
        }


async def test_status_and_metrics(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        reply = await port.get("/status")
        assert reply.status == 200
        status = reply.json
        assert status["ledger"] == {"recovered": 0, "accepted": 3, "delivered": 1, "dead_lettered": 0, "waiting": 2}
        assert status["mapping"] == "native (SHA-NI)"
        (lane,) = status["lanes"]
        assert (lane["destination"], lane["event_set"], lane["upload_tag"]) == LANE
        assert lane["lane"] == str(LANE), "as in the log"
        assert (lane["waiting"], lane["oldest_age_seconds"]) == (2, 5.0)
        metrics = await port.get("/metrics")
        assert metrics.status == 200
        assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert b'gateway_events_delivered_total{destination="store"} 1.0' in metrics.body


async def test_resume(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        assert (await port.post("/lanes/resume")).json == {"lanes": 2}
        assert (await port.post("/lanes/resume?destination=store&event_set=7")).json == {"lanes": 2}
        assert port.gateway.resumed == [(None, None), ("store", "7")]


async def test_dead_letters_are_listed_in_pages(tmp_path: Path, engine: str) -> None:
    async with admin_port(tmp_path, engine) as port:
        rejected = letter(3, stage=Stage.MAPPING, code="unmapped_event", source="shop", lane=None, fault=None)
        await port.spool.append([], [letter(1), letter(2, event=None), rejected])
        first = (await port.get("/dead-letters?limit=2")).json
        assert [entry["number"] for entry in first["dead_letters"]] == [1, 2]
        assert first["dead_letters"][0] == {
            "number": 1,
            "stage": "upload",
            "code": "event_refused",
            "message": "Meta refused the event",
            "destination": "store",
            "source": None,
            "event_set": LANE.event_set,
            "upload_tag": "spring",
            "at": NOW - 30,
            "message_id": "m1",
            "order_id": "o1",
            "attempts": 1,
            "meta": {"code": 100, "subcode": 2804050, "trace_id": "A1b2"},
            "event": (letter(1).event or b"").decode(),
        }
        assert first["dead_letters"][1]["event"] is None
        second = (await port.get(f"/dead-letters?limit=2&after={first['next']}")).json
        (entry,) = second["dead_letters"]
        assert (entry["source"], entry["event_set"], entry["upload_tag"], entry["meta"]) == ("shop", None, None, None)
        last = (await port.get(f"/dead-letters?limit=2&after={second['next']}")).json
        assert last == {"dead_letters": [], "next": None}


async def test_dead_letters_are_found_by_their_ids(tmp_path: Path, engine: str) -> None:
    async with admin_port(tmp_path, engine) as port:
        long = letter(3, order_id=short_id("\x1b" + "x" * 300))
        await port.spool.append([], [letter(1), letter(2), long])
        for query, numbers in (
            ("order_id=o2", [2]),
            ("message_id=m1", [1]),
            ("message_id=m1&order_id=o2", []),
            (f"order_id=%1b{'x' * 300}", [3]),
            (f"order_id=%5cx1b{'x' * 196}", [3]),
        ):
            listed = (await port.get(f"/dead-letters?{query}")).json["dead_letters"]
            assert [entry["number"] for entry in listed] == numbers, query
        assert (await port.post("/dead-letters/discard?order_id=o1")).json == {"letters": 1}
        assert len(await port.spool.dead_letters()) == 2


async def test_the_codes_of_the_dead_letters_are_counted_most_frequent_first(tmp_path: Path, engine: str) -> None:
    async with admin_port(tmp_path, engine) as port:
        assert (await port.get("/dead-letters/codes")).json == {"codes": {}}
        await port.spool.append([], [letter(1, code="expired"), letter(2), letter(3)])
        assert list((await port.get("/dead-letters/codes")).json["codes"].items()) == [
            ("event_refused", 2),
            ("expired", 1),
        ]
        refused = await port.get("/dead-letters/codes?code=expired")
        assert (refused.status, refused.json["message"]) == (
            400,
            "`code` is not a parameter; this route has none.",
        )


def test_the_status_warns_about_sources_with_many_rejections() -> None:
    snapshot = Snapshot(
        warnings={"shop": "auto-upgraded"}, rejection_rates={"shop": RejectionRate(200, 30, {"unmapped_event": 30})}
    )
    assert status_of(snapshot, NOW)["warnings"] == {
        "destinations": {"shop": {"graph_version": "auto-upgraded"}},
        "sources": {"shop": {"rejection_rate": 0.15, "events": 200, "rejected": 30, "codes": {"unmapped_event": 30}}},
    }


async def test_an_event_that_is_not_utf_8_is_listed(tmp_path: Path, engine: str) -> None:
    async with admin_port(tmp_path, engine) as port:
        await port.spool.append([], [letter(1, event=b'{"name":"\xff\x00"}')])
        reply = await port.get("/dead-letters")
        assert reply.status == 200
        assert reply.json["dead_letters"][0]["event"] == '{"name":"\\xff\x00"}'


async def test_a_replay_that_keeps_dead_letters_counts_them_by_reason(tmp_path: Path, engine: str) -> None:
    async with admin_port(tmp_path, engine) as port:
        assert (await port.post("/dead-letters/replay")).json == {"letters": 0, "events": 0, "kept": {}}
        kept = [
            letter(2, event=None),
            letter(3, event=b"\xff{"),
            letter(4, event=b"[1]"),
            letter(5, event=b'{"event_time":1e300}'),
            letter(6, destination="gone", lane=LANE._replace(destination="gone")),
            letter(7, event=b'{"event_time":5}', stage=Stage.EXPIRED),
            letter(8, event=b'{"type":"track","event":"?"}', stage=Stage.MAPPING, lane=None, source="shop"),
            letter(9, event=b"7", stage=Stage.MAPPING, lane=None, source="shop"),
        ]
        await port.spool.append([], [letter(1), *kept])
        reply = await port.post("/dead-letters/replay")
        assert reply.status == 200
        assert reply.json == {
            "letters": 1,
            "events": 1,
            "kept": {"no_event": 5, "expired": 1, "no_destination": 1, "unmapped_event": 1},
        }
        assert len((await port.get("/dead-letters")).json["dead_letters"]) == len(kept)


async def test_discard(tmp_path: Path, engine: str) -> None:
    async with admin_port(tmp_path, engine) as port:
        await port.spool.append([], [letter(1), letter(2, code="other"), letter(3, event=b"\xff")])
        assert (await port.post("/dead-letters/discard?code=other")).json == {"letters": 1}
        assert (await port.post("/dead-letters/discard")).json == {"letters": 2}
        assert (await port.post("/dead-letters/discard")).json == {"letters": 0}


async def test_head_has_the_status_and_no_body(tmp_path: Path) -> None:
    async with admin_port(tmp_path) as port:
        reply = await port.request("HEAD", "/status")
        assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/", 404, "unknown_route"),
        ("POST", "/dead-letters/purge", 404, "unknown_route"),
        ("GET", "/dead-letters/discard", 405, "method_not_allowed"),
        ("DELETE", "/dead-letters", 405, "method_not_allowed"),
        ("OPTIONS", "/lanes/resume", 405, "method_not_allowed"),
        ("GET", "/dead-letters?limit=0", 400, "bad_query"),
        ("GET", "/dead-letters?limit=1001", 400, "bad_query"),
        ("GET", "/dead-letters?after=-1", 400, "bad_query"),
        ("GET", "/dead-letters?after=9223372036854775808", 400, "bad_query"),
        ("POST", "/dead-letters/discard?limit=1", 400, "bad_query"),
        ("POST", "/dead-letters/discard?sinse=1", 400, "bad_query"),
        ("POST", "/dead-letters/discard?stage=uplaod", 400, "bad_query"),
        ("POST", "/lanes/resume?lane=1", 400, "bad_query"),
    ],
)
async def test_errors_are_json_with_a_code_and_a_sentence(
    tmp_path: Path, method: str, target: str, status: int, code: str
) -> None:
    async with admin_port(tmp_path) as port:
        reply = await port.request(method, target)
        assert (reply.status, reply.json["code"]) == (status, code)
        assert reply.json["message"].endswith(".")
        assert set(reply.json) == {"code", "message"}
        if status == 405:
            assert reply.headers["allow"] in {"GET", "POST"}


@pytest.mark.parametrize(
    ("error", "status", "code", "message"),
    [
        (SpoolFull("the spool is full"), 503, "spool_unavailable", "the spool is full"),
        (SpoolUnavailable("the disk is gone"), 503, "spool_unavailable", "the disk is gone"),
        (GatewayError("the worker process ended"), 503, "unavailable", "the worker process ended"),
        (ValueError("customer@example.com"), 500, "internal_error", "The gateway failed; its log has the details."),
    ],
)
async def test_a_failure_of_the_gateway_is_a_response_without_details_of_a_bug(
    tmp_path: Path, error: Exception, status: int, code: str, message: str
) -> None:
    async with admin_port(tmp_path) as port:
        port.gateway.failure = error
        reply = await port.get("/readyz")
        assert (reply.status, reply.json) == (status, {"code": code, "message": message})


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/status", "/metrics", "/dead-letters", "/nowhere"])
async def test_every_response_says_that_it_must_not_be_stored_or_interpreted(tmp_path: Path, target: str) -> None:
    async with admin_port(tmp_path) as port:
        for reply in (await port.get(target), await port.request("GET", target, host=b"evil.example")):
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["cache-control"] == "no-store"
        malformed = await port.send(b"GET \x00 HTTP/1.1\r\n\r\n")
        assert malformed.headers["x-content-type-options"] == "nosniff"


async def test_an_internal_error_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with admin_port(tmp_path) as port:
        port.gateway.failure = ZeroDivisionError()
        with caplog.at_level(logging.ERROR, "gateway.admin"):
            await port.get("/readyz")
        (record,) = caplog.records
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
        assert json.dumps(record.getMessage())
