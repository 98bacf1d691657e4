"""Meta's Dataset Quality is read whatever is missing in it; the token is in no URL."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import DestinationSettings
from gateway.meta import DatasetCounts, OfflineQuality, Score, WebQuality, quality_requests, read_counts, read_scores
from gateway.meta.quality_api import MAX_NAMES, MAX_TEXT, is_token_refused

FULL = {
    "offline": [
        {
            "event_name": "Purchase",
            "composite": {"score": 7.5, "recommendation": "Send more."},
            "match_key": {"score": "6", "coverage": {"email": 81.5, "phone": "40"}},
            "frequency": {"score": 9},
            "freshness": {},
        }
    ],
    "web": [
        {
            "event_name": "Lead",
            "event_match_quality": {
                "composite_score": 8.1,
                "match_key_feedback": [{"identifier": "email", "coverage": {"percentage": 70}}, {"identifier": "x"}],
            },
            "event_coverage": {"percentage": 55},
            "data_freshness": {"upload_frequency": "real_time"},
        }
    ],
}


def destination(**settings: Any) -> DestinationSettings:
    return DestinationSettings.model_validate(
        {"api": "conversions", "access_token": "secret-token", "standard_to_event_sets": {"Lead": ["1"]}, **settings}
    )


def scores(response: Any) -> Any:
    return read_scores(200, orjson.dumps(response))


def test_the_scores_of_offline_and_web_events_are_read() -> None:
    offline = OfflineQuality(
        "Purchase", Score(7.5, "Send more."), Score(6.0), Score(9.0), Score(), {"email": 81.5, "phone": 40.0}
    )
    web = WebQuality("Lead", Score(8.1), {"email": 70.0}, 55.0, "real_time")
    assert scores(FULL) == ([offline], [web])


@pytest.mark.parametrize("wrapped", [{"data": FULL}, {"data": [FULL]}, [FULL], {**FULL, "offline": FULL["offline"][0]}])
def test_other_wrappings_give_the_same_scores(wrapped: Any) -> None:
    assert scores(wrapped) == scores(FULL)


@pytest.mark.parametrize("response", [{}, [], {"offline": None, "web": []}, {"data": []}, {"offline": [1, "x", None]}])
def test_a_response_without_scores_is_no_error(response: Any) -> None:
    assert scores(response) == ([], [])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20) | st.integers(-(2**60), 2**60),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["offline", "web", "error", "data", "score", "composite", "match_key", "coverage", "code"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(status=st.integers(100, 599), response=JSON)
def test_any_response_gives_scores_or_a_sentence(status: int, response: Any) -> None:
    body = orjson.dumps(response)
    result = read_scores(status, body)
    assert isinstance(result, tuple) or result.endswith((".", "minute."))
    assert isinstance(read_counts(status, body), DatasetCounts | None)
    assert is_token_refused(status, body) in {True, False}


def test_names_and_texts_are_limited() -> None:
    entry = {"event_name": "x" * 10_000, "composite": {"recommendation": "y" * 10_000}}
    offline, _ = scores({"offline": [entry] * 1000})
    assert len(offline) == MAX_NAMES
    assert len(offline[0].event_name) == len(offline[0].composite.recommendation) == MAX_TEXT


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (403, {"code": 10}, "may not read"),
        (400, {"code": 200}, "may not read"),
        (401, {"code": 190, "error_subcode": 463}, "Replace it"),
        (400, {"code": 100, "error_subcode": 2044055}, "no scores for this dataset"),
        (400, {"code": 2635}, "graph_version"),
        (500, {"code": 2}, "in a minute"),
        (400, {"message": "secret"}, "code 1"),
    ],
)
def test_an_error_is_a_sentence_that_says_what_to_do(status: int, error: Any, expected: str) -> None:
    sentence = read_scores(status, orjson.dumps({"error": {"message": "quotes secret", **error}}))
    assert isinstance(sentence, str)
    assert expected in sentence
    assert "secret" not in sentence


def test_a_page_that_is_not_meta_is_an_error() -> None:
    assert read_scores(502, b"<html>") == "Meta answered with status 502. It is asked again in a minute."


def test_counts_are_read_with_times_as_numbers_or_texts() -> None:
    response = {
        "valid_entries": 10,
        "matched_entries": "7",
        "match_rate_approx": 70,
        "event_time_min": 1_800_000_000,
        "event_time_max": "2027-01-15T08:00:00+0000",
    }
    counts = DatasetCounts(10, 7, None, 70.0, 1_800_000_000.0, 1_800_000_000.0)
    assert read_counts(200, orjson.dumps(response)) == counts
    assert read_counts(200, b"{}") is None
    assert read_counts(400, orjson.dumps({"error": {"code": 100}, **response})) is None


def test_the_token_is_in_a_header_and_never_in_the_url() -> None:
    for request in quality_requests(destination(app_secret="app-secret"), "1148", "secret-token"):
        assert request.method == "GET"
        assert request.headers["Authorization"] == "Bearer secret-token"
        assert "secret" not in request.url.replace("appsecret_proof", "")
        assert "1148" in request.url
        assert "appsecret_proof=" in request.url
