"""Values and settings that the supervisor and its workers exchange are the same after conversion to JSON and back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from gateway.config import Secret, Settings, parse, settings_from_json, settings_to_json
from gateway.dead_letters import ReplayResult
from gateway.model import Backlog, DeadLetter, FlushReason, JsonObject, Lane, MetaFault, Stage
from gateway.runtime import wire
from gateway.runtime.worker import SpoolShard, WorkerSpec
from gateway.spool import DeadLetterFilter
from gateway.telemetry import Coverage, KeyCoverage, LaneStatistics, Ledger, Snapshot, SpoolStatistics
from gateway.telemetry.histogram import LAG, Histogram

T = TypeVar("T")

LANE = Lane("store", "1148872185708962", "rudderstack")
EVENT = '{"event_name":"Purchase","custom_data":{"store":"Zürich"}}'.encode()


def sent_over_the_wire(kind: type[T], value: T) -> T:
    """Encode to JSON text, and decode it as the other process does."""
    return wire.decode(kind, orjson.loads(orjson.dumps(wire.encode(value))))


def ledger() -> Ledger:
    """A ledger with an entry in every field."""
    ledger = Ledger(purged=4)
    lane = ledger.lanes[LANE]
    lane.recovered, lane.accepted, lane.delivered, lane.dead, lane.batches = 1, 9, 6, 2, 3
    ledger.received["shop"] = 12
    ledger.ignored["shop"] = 1
    ledger.deduplicated["shop", "store"] = 2
    ledger.rejected["shop", "store", "unmapped_event"] = 3
    ledger.accepted["shop", "store"] = 9
    ledger.dead["store", Stage.UPLOAD, "event_refused"] = 2
    ledger.flushes["store", FlushReason.AGE] = 3
    ledger.calls["store", "delivered"] = 3
    ledger.call_seconds["store"].observe(0.2)
    ledger.batch_events["store"].observe(3)
    ledger.requests["/v1/batch", 200] = 5
    ledger.reloads["succeeded"] = 1
    ledger.alerts["delivered"] = 1
    return ledger


def snapshot() -> Snapshot:
    """A snapshot with a value in every field."""
    loop_lag = Histogram(LAG)
    loop_lag.observe(0.003)
    return Snapshot(
        started_at=1_000.5,
        reasons=["starting"],
        ledger=ledger(),
        spool=SpoolStatistics(events=2, bytes=300, dead_letters=1, size=8192, max_bytes=2**20, commits=7),
        lanes=[LaneStatistics(LANE, 2, 300, 1_001.25, 1, "delivered", 10.0, 4, None)],
        coverage={"store": Coverage(9, {"em": KeyCoverage(7, {"malformed": 2})}, {"madid_zero": 1})},
        loop_lag=loop_lag,
        orphans=[Backlog(Lane("removed", "7", "t"), 5, 900, 990.0), Backlog(Lane("removed", "8", "t"), 0, 0, None)],
        settings_at=1_000.75,
        settings_errors=["server.prot: is not a setting"],
        warnings={"store": "The call has been auto-upgraded to v26.0"},
        workers=2,
        restarts=1,
    )


def dead_letter(**changes: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "stage": Stage.UPLOAD,
        "code": "event_refused",
        "message": "Meta refused the event",
        "destination": "store",
        "source": None,
        "lane": LANE,
        "at": 1_000.5,
        "attempts": 1,
        "fault": MetaFault(100, 2804050, "A1b2"),
        "event": EVENT,
        "message_id": "m1",
        "order_id": "1001",
    }
    return DeadLetter(**{**values, **changes})


def test_a_snapshot_is_unchanged() -> None:
    received = sent_over_the_wire(Snapshot, snapshot())
    assert received == snapshot()


def test_the_keys_of_a_ledger_keep_their_types() -> None:
    received = sent_over_the_wire(Snapshot, snapshot()).ledger
    assert [type(lane) for lane in received.lanes] == [Lane]
    assert [type(key) for key in received.rejected] == [tuple]
    assert list(received.dead) == [("store", Stage.UPLOAD, "event_refused")]
    assert all(isinstance(stage, Stage) for _, stage, _ in received.dead)
    assert all(isinstance(reason, FlushReason) for _, reason in received.flushes)


def test_a_received_snapshot_can_be_added_to_another() -> None:
    total = Snapshot()
    for _ in range(2):
        total.add(sent_over_the_wire(Snapshot, snapshot()))
    assert total.ledger.lanes[LANE].accepted == 18
    assert total.ledger.call_seconds["store"].count == 2
    assert total.ledger.rejected["shop", "store", "unmapped_event"] == 6
    assert total.coverage["store"].keys["em"] == KeyCoverage(14, {"malformed": 4})


def test_an_empty_snapshot_is_unchanged() -> None:
    received = sent_over_the_wire(Snapshot, Snapshot())
    assert (received.ledger, received.spool, received.loop_lag) == (Ledger(), SpoolStatistics(), Histogram(LAG))
    assert not received.lanes
    assert not received.coverage


@pytest.mark.parametrize(
    "letter",
    [
        dead_letter(),
        dead_letter(stage=Stage.MAPPING, code="unmapped_event", source="shop", lane=None, fault=None),
        dead_letter(stage=Stage.MAPPING, source="shop", lane=None, fault=None, event=None),
        dead_letter(stage=Stage.EXPIRED, attempts=0, fault=MetaFault(None, None, None)),
        dead_letter(event=b"\x00\xff\xfe not UTF-8"),
    ],
    ids=["refused by Meta", "rejected by the mapping", "without an event", "expired", "not UTF-8"],
)
def test_a_dead_letter_is_unchanged(letter: DeadLetter) -> None:
    received = sent_over_the_wire(DeadLetter, letter)
    assert received == letter
    assert type(received.stage) is Stage
    assert type(received.lane) is type(letter.lane)


def test_a_replay_result_is_unchanged_and_can_be_added() -> None:
    result = ReplayResult(letters=3, events=5, kept=Counter({"no_event": 2}))
    received = sent_over_the_wire(ReplayResult, result)
    assert received == result
    received.add(result)
    assert received == ReplayResult(6, 10, Counter({"no_event": 4}))


@pytest.mark.parametrize(
    "where",
    [
        DeadLetterFilter(),
        DeadLetterFilter("event_refused", "store", LANE.event_set, Stage.UPLOAD, 1_000.5, 2_000.0),
    ],
    ids=["no filter", "all filters"],
)
def test_a_dead_letter_filter_is_unchanged(where: DeadLetterFilter) -> None:
    received = sent_over_the_wire(DeadLetterFilter, where)
    assert received == where
    assert type(received.stage) is type(where.stage)


def test_a_worker_spec_is_unchanged() -> None:
    spec = WorkerSpec({"server": {"port": 0, "unix_socket": None}}, SpoolShard(3, 0.25, 0.5), [7, 8])
    assert sent_over_the_wire(WorkerSpec, spec) == spec


def test_a_type_that_json_cannot_represent_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot encode object"):
        wire.encode({"value": object()})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Snapshot, "?"),
        (Snapshot, {"ledger": []}),
        (Ledger, {"lanes": "text"}),
        (Ledger, {"lanes": [["store", 1]]}),
        (list[str], "text"),
        (DeadLetter, {}),
        (int, "many"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: type[Any], value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        wire.decode(kind, value)


def test_a_union_of_several_types_is_refused() -> None:
    kind: Any = int | str
    with pytest.raises(TypeError, match="cannot decode"):
        wire.decode(kind, 1)


def settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings with every section, and with secrets from an environment variable, a file and a string."""
    monkeypatch.setenv("TEST_WRITE_KEY", "key-from-env")
    (folder / "token").write_text("token-from-file\n")
    tree: JsonObject = {
        "server": {"port": 0, "unix_socket": str(folder / "s"), "workers": "auto", "max_request_bytes": "2MiB"},
        "admin": {"host": "0.0.0.0", "port": 0, "token": "admin-token"},
        "spool": {"engine": "sqlite", "path": str(folder / "spool"), "max_bytes": "1GiB", "lane_quota": 0.25},
        "dedup": {"events": 1000, "age": 60},
        "alerts": {"webhook": "https://alerts.example/secret"},
        "logging": {"level": "debug", "format": "json"},
        "sources": {
            "shop": {"write_key": {"env": "TEST_WRITE_KEY"}, "destinations": ["store", "legacy"]},
            "crm": {"write_key": "key-from-string", "destinations": ["store"]},
        },
        "destinations": {
            "store": {
                "api": "conversions",
                "access_token": {"file": str(folder / "token")},
                "app_secret": "app-secret",
                "events_to_standard": {"Signup": ["CompleteRegistration", "Lead"]},
                "standard_to_event_sets": {"Lead": ["1", "2"], "CompleteRegistration": ["1"]},
                "category_to_content_type": {"toys": "product"},
                "extra_fields": {"email": ["properties.customer_email"]},
                "default_country": "US",
                "hash_external_id": False,
                "batch": {"max_events": 500, "max_age": 2.5},
                "upload": {"graph_url": "http://127.0.0.1:8099", "token_in": "bearer", "concurrency": 8},
            },
            "legacy": {"api": "offline", "access_token": "t", "standard_to_event_sets": {"Purchase": ["3"]}},
        },
    }
    return parse(tree)


def secrets(value: Any) -> list[tuple[str, str]]:
    """Value and origin of all secrets in a tree of settings, in order."""
    if isinstance(value, Secret):
        return [(value.reveal(), value.origin)]
    if isinstance(value, Settings) or hasattr(value, "model_fields_set"):
        return [secret for name in type(value).model_fields for secret in secrets(getattr(value, name))]
    return [secret for item in value.values() for secret in secrets(item)] if isinstance(value, dict) else []


def test_settings_are_equal_and_secrets_keep_their_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = settings(tmp_path, monkeypatch)
    received = settings_from_json(orjson.loads(orjson.dumps(settings_to_json(original))))
    assert received == original
    assert secrets(received) == secrets(original)
    assert set(secrets(received)) >= {
        ("key-from-env", "environment variable TEST_WRITE_KEY"),
        ("key-from-string", "the settings"),
        ("token-from-file", f"file {tmp_path / 'token'}"),
        ("admin-token", "the settings"),
        ("https://alerts.example/secret", "the settings"),
    }


def test_secrets_are_not_read_again_by_the_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = settings(tmp_path, monkeypatch)
    tree = settings_to_json(original)
    monkeypatch.delenv("TEST_WRITE_KEY")
    (tmp_path / "token").unlink()
    assert settings_from_json(tree) == original


def test_a_secret_from_a_file_can_be_reread_by_the_receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received = settings_from_json(settings_to_json(settings(tmp_path, monkeypatch)))
    (tmp_path / "token").write_text("rotated-token")
    assert received.destinations["store"].access_token.reread().reveal() == "rotated-token"
