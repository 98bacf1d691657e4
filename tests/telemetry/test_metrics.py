"""The metrics as Prometheus reads them: the values of labels."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from gateway.model import Lane
from gateway.telemetry import LaneStatistics, Snapshot
from gateway.telemetry.metrics import MAX_LABEL, MAX_LANE_SERIES, render
from tests.telemetry.log_records import unsafe_characters

TAG = "jane@example.com\x1b[2J"


def lane(tag: str, *, destination: str = "store", waiting: int = 1, blocked: str | None = None) -> LaneStatistics:
    return LaneStatistics(Lane(destination, "1148", tag), waiting, 0, 5.0, 1, None, 2.0, 3, blocked)


def samples(snapshot: Snapshot, prefix: str = "gateway_") -> list[Sample]:
    families = text_string_to_metric_families(render(snapshot).decode())
    return [sample for family in families for sample in family.samples if sample.name.startswith(prefix)]


def test_an_upload_tag_is_in_no_metric_and_its_hash_is() -> None:
    snapshot = Snapshot(lanes=[lane(TAG, blocked="token"), lane("")])
    assert "jane" not in render(snapshot).decode()
    of_lanes = samples(snapshot, "gateway_lane_")
    assert {sample.labels["tag_hash"] for sample in of_lanes} == {f"#{sha256(TAG.encode()).hexdigest()[:8]}", "-"}
    assert set().union(*(sample.labels for sample in of_lanes)) == {"destination", "event_set", "tag_hash", "kind"}


def test_lanes_with_the_same_hash_share_a_series() -> None:
    colliding = ("tag-82344", "tag-166169")
    assert Lane("", "", colliding[0]).tag_hash == Lane("", "", colliding[1]).tag_hash
    snapshot = Snapshot(lanes=[lane(colliding[0], waiting=2), lane(colliding[1], waiting=3, blocked="token")])
    every = Counter((sample.name, *sample.labels.values()) for sample in samples(snapshot))
    assert set(every.values()) == {1}
    (waiting,) = samples(snapshot, "gateway_lane_waiting_events")
    assert waiting.value == 5


def test_lanes_beyond_the_limit_are_added_up() -> None:
    snapshot = Snapshot(lanes=[lane(f"tag {number}", waiting=2) for number in range(MAX_LANE_SERIES + 7)])
    waiting = samples(snapshot, "gateway_lane_waiting_events")
    assert len(waiting) == MAX_LANE_SERIES + 1
    assert [sample.value for sample in waiting if sample.labels["tag_hash"] == "other"] == [14]


def test_labels_are_printable_and_limited() -> None:
    names = ["a\n# forged 1\x1b\x9b\u202e\u2028", "surrogate \ud800", "x" * 1_000_000]
    snapshot = Snapshot(lanes=[lane("", destination=name) for name in names])
    for name in names:
        snapshot.ledger.received[name] += 1
        snapshot.ledger.calls[name, name] += 1
        snapshot.ledger.call_seconds[name].observe(1.0)
    values = {value for sample in samples(snapshot) for value in sample.labels.values()}
    assert not any(map(unsafe_characters, values))
    assert max(map(len, values)) == MAX_LABEL
    assert not unsafe_characters(render(snapshot).decode().replace("\n", ""))
