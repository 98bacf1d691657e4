"""The usage and the delays in Meta's headers are bounded, whatever the headers contain."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.meta.usage_headers import (
    MAX_DELAY_SECONDS,
    MAX_HEADER_CHARACTERS,
    MAX_USAGE_PERCENT,
    retry_delay,
    usage_share,
)

USAGE_KEYS = ("call_count", "total_time", "total_cputime", "acc_id_util_pct", "app_id_util_pct")
DELAY_KEYS = ("estimated_time_to_regain_access", "reset_time_duration")
HEADERS = (
    "X-App-Usage",
    "X-Business-Use-Case-Usage",
    "X-Ad-Account-Usage",
    "X-FB-Ads-Insights-Throttle",
    "Retry-After",
)


@pytest.mark.parametrize(
    ("headers", "share"),
    [
        ({"X-App-Usage": '{"call_count":28,"total_time":95,"total_cputime":25}'}, 0.95),
        ({"x-ad-account-usage": '{"acc_id_util_pct":9.67,"reset_time_duration":100}'}, 0.0967),
        (
            {
                "X-Business-Use-Case-Usage": '{"1":[{"call_count":50},{"call_count":70}]}',
                "X-App-Usage": '{"call_count":1}',
            },
            0.7,
        ),
        ({"X-App-Usage": '{"call_count":104}'}, 1.04),
        ({"X-App-Usage": '{"call_count":1e6}'}, 10.0),
        ({"X-App-Usage": '{"call_count":1e300}'}, 10.0),
        ({"X-App-Usage": '{"call_count":-1e300,"total_time":3}'}, 0.03),
        ({"X-App-Usage": '{"call_count":1e400}'}, None),
        ({"X-App-Usage": '{"call_count":NaN}'}, None),
        ({"X-App-Usage": '{"call_count":Infinity}'}, None),
        ({"X-App-Usage": '{"call_count":true}'}, None),
        ({"X-App-Usage": '{"call_count":50}' + " " * MAX_HEADER_CHARACTERS}, None),
        ({"X-App-Usage": "[" * 20 + '{"call_count":50}' + "]" * 20}, None),
        ({"X-App-Usage": "none"}, None),
        ({}, None),
    ],
)
def test_the_usage_is_the_highest_that_any_header_names_within_bounds(
    headers: dict[str, str], share: float | None
) -> None:
    assert usage_share(headers) == (None if share is None else pytest.approx(share))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "33"}, 33.0),
        ({"Retry-After": "99999999"}, 600.0),
        ({"Retry-After": "9" * 400}, 600.0),
        ({"Retry-After": "9" * (MAX_HEADER_CHARACTERS + 1)}, None),
        ({"Retry-After": "-5"}, None),
        ({"X-Business-Use-Case-Usage": '{"1":[{"estimated_time_to_regain_access":1e308}]}'}, 600.0),
        ({"X-Ad-Account-Usage": '{"acc_id_util_pct":100,"reset_time_duration":86400}'}, 600.0),
        ({"X-Ad-Account-Usage": '{"acc_id_util_pct":10,"reset_time_duration":86400}'}, None),
    ],
)
def test_a_delay_is_honoured_up_to_ten_minutes(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_delay(headers) == seconds


@given(
    st.dictionaries(
        st.sampled_from(HEADERS),
        st.text(max_size=30)
        | st.recursive(
            st.none() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from([*USAGE_KEYS, *DELAY_KEYS, "1"]), inner, max_size=4)
            ),
            max_leaves=10,
        ).map(json.dumps),
    )
)
def test_whatever_the_headers_contain_usage_and_delay_are_finite_and_within_their_bounds(
    headers: dict[str, str],
) -> None:
    share, delay = usage_share(headers), retry_delay(headers)
    assert share is None or (math.isfinite(share) and 0 <= share <= MAX_USAGE_PERCENT / 100)
    assert delay is None or (math.isfinite(delay) and 0 < delay <= MAX_DELAY_SECONDS)
