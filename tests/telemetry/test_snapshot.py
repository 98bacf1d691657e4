"""The state of one lane in two processes of a gateway."""

from __future__ import annotations

import pytest

from gateway.model import Lane
from gateway.telemetry import LaneStatistics


def lane(last_call_at: float | None) -> LaneStatistics:
    return LaneStatistics(Lane("store", "1148", ""), 1, 0, None, 0, None, 2.0, 3, None, last_call_at=last_call_at)


@pytest.mark.parametrize(
    ("one", "other", "both"), [(None, None, None), (5.0, None, 5.0), (None, 5.0, 5.0), (5.0, 7.0, 7.0), (7.0, 5.0, 7.0)]
)
def test_the_last_call_of_a_lane_is_the_later_one_of_two_processes(
    one: float | None, other: float | None, both: float | None
) -> None:
    assert (lane(one) + lane(other)).last_call_at == both
