from bisect import bisect_left
from copy import deepcopy
from math import ceil

from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.histogram import DELIVERY, Histogram

VALUES = st.lists(st.floats(0, 604_800), min_size=1, max_size=50)


@given(values=VALUES, share=st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_in_the_bucket_of_the_exact_one(values: list[float], share: float) -> None:
    histogram = Histogram(DELIVERY)
    for value in values:
        histogram.observe(value)
    exact = sorted(values)[ceil(share * len(values)) - 1]
    index = bisect_left(DELIVERY, exact)
    assert (0.0, *DELIVERY)[index] <= histogram.quantile(share) <= DELIVERY[index]


def test_a_quantile_is_interpolated_between_the_bounds() -> None:
    histogram = Histogram((1.0, 2.0, 4.0))
    histogram.observe(1.5, 50)
    histogram.observe(3.0, 50)
    assert (histogram.quantile(0.5), histogram.quantile(0.75), histogram.quantile(1.0)) == (2.0, 3.0, 4.0)


def test_without_observations_it_is_zero_and_above_the_last_bound_it_is_that_bound() -> None:
    histogram = Histogram((1.0, 2.0))
    assert histogram.quantile(0.5) == 0.0
    histogram.observe(99.0)
    assert histogram.quantile(0.5) == 2.0


@given(before=VALUES, after=VALUES)
def test_the_difference_of_two_times_is_what_was_observed_between_them(before: list[float], after: list[float]) -> None:
    histogram, expected = Histogram(DELIVERY), Histogram(DELIVERY)
    for value in before:
        histogram.observe(value)
    earlier = deepcopy(histogram)
    for value in after:
        histogram.observe(value)
        expected.observe(value)
    assert histogram.since(earlier).counts == expected.counts
