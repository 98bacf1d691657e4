"""The latencies' histogram: its quantiles are those of the values, within the width of a bucket."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.histogram import Latencies

WIDTH = 1.02


def filled(values: list[float]) -> Latencies:
    latencies = Latencies()
    for value in values:
        latencies.observe(value)
    return latencies


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_a_quantile_of_evenly_spread_values_is_right_within_a_bucket(share: float) -> None:
    values = [number / 10_000 for number in range(1, 10_001)]
    exact = values[math.ceil(share * len(values)) - 1]
    assert exact <= filled(values).quantile(share) <= exact * WIDTH * 1.0001


@given(
    st.lists(st.floats(1e-5, 100.0), min_size=1, max_size=200),
    st.floats(0.01, 1.0),
)
@settings(max_examples=100, deadline=None)
def test_a_quantile_is_never_below_the_value_and_never_more_than_a_bucket_above(
    values: list[float], share: float
) -> None:
    exact = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    found = filled(values).quantile(share)
    assert exact * 0.9999 <= found <= exact * WIDTH * 1.0001


@given(st.lists(st.floats(1e-6, 10.0), max_size=100), st.lists(st.floats(1e-6, 10.0), max_size=100))
@settings(max_examples=50, deadline=None)
def test_two_histograms_add_up_to_the_one_of_all_values(one: list[float], other: list[float]) -> None:
    together = filled(one)
    together.add(filled(other))
    assert together.counts == filled(one + other).counts
    assert together.count == len(one) + len(other)


def test_a_histogram_goes_to_another_process_and_back() -> None:
    latencies = filled([0.001, 0.002, 0.002, 5.0])
    assert Latencies.from_json(latencies.as_json()).counts == latencies.counts


def test_one_slow_request_among_a_hundred_is_beyond_p98_and_within_p100() -> None:
    latencies = filled([0.001] * 99 + [1.0])
    assert latencies.quantile(0.98) < 0.002
    assert latencies.quantile(1.0) >= 1.0


def test_nothing_observed_has_quantiles_of_zero_and_too_short_a_time_counts_as_the_least() -> None:
    assert Latencies().quantile(0.99) == 0.0
    assert filled([0.0]).count == 1
