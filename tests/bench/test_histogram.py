"""The quantiles of the latency histogram are exact up to the width of a bucket."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.histogram import LatencyHistogram

BUCKET_RATIO = 1.02


def histogram_of(values: list[float]) -> LatencyHistogram:
    histogram = LatencyHistogram()
    for value in values:
        histogram.observe(value)
    return histogram


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_a_quantile_of_uniform_values_is_exact_up_to_a_bucket(share: float) -> None:
    values = [number / 10_000 for number in range(1, 10_001)]
    exact = values[math.ceil(share * len(values)) - 1]
    assert exact <= histogram_of(values).quantile(share) <= exact * BUCKET_RATIO * 1.0001


@given(
    st.lists(st.floats(1e-5, 100.0), min_size=1, max_size=200),
    st.floats(0.01, 1.0),
)
@settings(max_examples=100, deadline=None)
def test_a_quantile_is_never_too_low_and_at_most_one_bucket_too_high(values: list[float], share: float) -> None:
    exact = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    quantile = histogram_of(values).quantile(share)
    assert exact * 0.9999 <= quantile <= exact * BUCKET_RATIO * 1.0001


@given(st.lists(st.floats(1e-6, 10.0), max_size=100), st.lists(st.floats(1e-6, 10.0), max_size=100))
@settings(max_examples=50, deadline=None)
def test_the_sum_of_two_histograms_is_the_histogram_of_all_values(first: list[float], second: list[float]) -> None:
    total = histogram_of(first)
    total.add(histogram_of(second))
    assert total.counts == histogram_of(first + second).counts
    assert total.count == len(first) + len(second)


def test_a_histogram_survives_encoding_as_json() -> None:
    histogram = histogram_of([0.001, 0.002, 0.002, 5.0])
    assert LatencyHistogram.from_json(histogram.as_json()).counts == histogram.counts


def test_one_slow_request_of_a_hundred_affects_p100_but_not_p98() -> None:
    histogram = histogram_of([0.001] * 99 + [1.0])
    assert histogram.quantile(0.98) < 0.002
    assert histogram.quantile(1.0) >= 1.0


def test_an_empty_histogram_has_quantiles_of_zero_and_values_below_the_minimum_are_counted() -> None:
    assert LatencyHistogram().quantile(0.99) == 0.0
    assert histogram_of([0.0]).count == 1
