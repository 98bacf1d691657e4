"""The requests for Meta's Dataset Quality, and how the responses are read (Meta: Dataset Quality API). Pure.

Anything may be missing in a response, or have another shape: what cannot
be read counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import orjson

from gateway.config import DestinationSettings
from gateway.meta.error_codes import BlockCause, block_cause
from gateway.meta.quality import DatasetCounts, OfflineQuality, Score, WebQuality
from gateway.meta.request import GraphRequest, read_request
from gateway.model import UnixSeconds

_ADVISED_FIELDS = "{score,recommendation}"
QUALITY_FIELDS = (
    f"offline{{event_name,composite{_ADVISED_FIELDS},match_key{{score,recommendation,coverage{{email,phone}}}},"
    f"frequency{_ADVISED_FIELDS},freshness{_ADVISED_FIELDS}}},"
    "web{event_name,event_match_quality{composite_score,match_key_feedback{identifier,coverage}},event_coverage,"
    "data_freshness}"
)
DATASET_FIELDS = "match_rate_approx,valid_entries,matched_entries,duplicate_entries,event_time_min,event_time_max"
MAX_NAMES = 50
"""Event names, and keys, of a dataset that are read."""
MAX_TEXT = 500
"""Characters of a text of Meta that are kept."""


def quality_requests(destination: DestinationSettings, event_set: str, token: str) -> tuple[GraphRequest, GraphRequest]:
    """The requests for the scores and for the counts of a dataset. The token is in a header, never in the URL."""
    scores = {"dataset_id": event_set, "fields": QUALITY_FIELDS}
    return (
        read_request(destination, "dataset_quality", scores, token),
        read_request(destination, quote(event_set, safe=""), {"fields": DATASET_FIELDS}, token),
    )


def read_scores(status: int, body: bytes) -> tuple[Sequence[OfflineQuality], Sequence[WebQuality]] | str:
    """The scores of a response; or why there are none, and what to do."""
    response = _decode(body)
    if error := _error(status, response):
        return error
    return (
        [_offline(entry) for entry in _objects(response.get("offline"))],
        [_web(entry) for entry in _objects(response.get("web"))],
    )


def read_counts(status: int, body: bytes) -> DatasetCounts | None:
    """The counts of a response; None if there are none."""
    response = _decode(body)
    if _error(status, response):
        return None
    counts = DatasetCounts(
        valid=_count(response.get("valid_entries")),
        matched=_count(response.get("matched_entries")),
        duplicate=_count(response.get("duplicate_entries")),
        match_rate=_number(response.get("match_rate_approx")),
        first_event_at=_time(response.get("event_time_min")),
        last_event_at=_time(response.get("event_time_max")),
    )
    return None if counts == DatasetCounts() else counts


def is_token_refused(status: int, body: bytes) -> bool:
    """Whether a response says that the access token is not valid."""
    code, subcode = _codes(_decode(body))
    return status >= 400 and code is not None and block_cause(code, subcode) is BlockCause.TOKEN


def _error(status: int, response: Mapping[str, Any]) -> str | None:
    """Why a response has no data, and what to do."""
    code, subcode = _codes(response)
    if code is None:
        return None if 200 <= status < 300 else f"Meta answered with status {status}. It is asked again in a minute."
    codes = f"code {code}" + (f", subcode {subcode}" if subcode is not None else "")
    match block_cause(code, subcode):
        case BlockCause.TOKEN:
            return f"Meta refuses the access token ({codes}). Replace it."
        case BlockCause.PERMISSION:
            return (
                f"The access token may not read Meta's scores ({codes}). Give its system user `ads_read` and "
                "`ads_management` or `business_management`, or turn `console.quality` off. Uploads do not need them."
            )
        case BlockCause.OBJECT:
            return f"Meta has no scores for this dataset, or the access token may not see it ({codes})."
        case BlockCause.VERSION:
            return (
                f"Meta does not serve this version of the Graph API any more ({codes}). Raise `upload.graph_version`."
            )
        case _:
            return f"Meta answered with an error ({codes}). It is asked again in a minute."


def _codes(response: Mapping[str, Any]) -> tuple[int | None, int | None]:
    error = response.get("error")
    if not isinstance(error, Mapping):
        return None, None
    code, subcode = _count(error.get("code")), _count(error.get("error_subcode"))
    return 1 if code is None else code, subcode


def _decode(body: bytes) -> Mapping[str, Any]:
    """The object of a response, also if it is in `data`, alone or in a list; empty for anything else."""
    try:
        response = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    if isinstance(response, dict) and "data" in response:
        response = response["data"]
    if isinstance(response, list) and response:
        response = response[0]
    return response if isinstance(response, dict) else {}


def _objects(value: Any) -> Iterable[Mapping[str, Any]]:
    """The objects in a list, or the one object."""
    values = value if isinstance(value, list) else [value]
    return [entry for entry in values[:MAX_NAMES] if isinstance(entry, dict)]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _offline(entry: Mapping[str, Any]) -> OfflineQuality:
    return OfflineQuality(
        event_name=_text(entry.get("event_name")) or "",
        composite=_score(entry.get("composite")),
        match_key=_score(entry.get("match_key")),
        frequency=_score(entry.get("frequency")),
        freshness=_score(entry.get("freshness")),
        coverage=_coverage(_object(entry.get("match_key")).get("coverage")),
    )


def _web(entry: Mapping[str, Any]) -> WebQuality:
    quality = _object(entry.get("event_match_quality"))
    freshness = entry.get("data_freshness")
    return WebQuality(
        event_name=_text(entry.get("event_name")) or "",
        composite=Score(_number(quality.get("composite_score"))),
        coverage=_coverage(quality.get("match_key_feedback")),
        event_coverage=_number(entry.get("event_coverage")),
        freshness=_text(_object(freshness).get("upload_frequency", freshness)),
    )


def _score(value: Any) -> Score:
    if isinstance(value, dict):
        return Score(_number(value.get("score")), _text(value.get("recommendation")))
    return Score(_number(value))


def _coverage(value: Any) -> Mapping[str, float]:
    """Percent by key: from an object, or from a list of `identifier` and `coverage`."""
    pairs: list[tuple[Any, Any]] = list(_object(value).items())[:MAX_NAMES]
    if isinstance(value, list):
        pairs = [(entry.get("identifier"), entry.get("coverage")) for entry in _objects(value)]
    read = ((_text(name), _number(share)) for name, share in pairs)
    return {name: share for name, share in read if name is not None and share is not None}


def _number(value: Any) -> float | None:
    """A number, a text with one, or the one in an object such as `{"percentage": 80}`."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("percentage", "score", "value") if key in value), None)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None else None


def _time(value: Any) -> UnixSeconds | None:
    """Unix seconds, or an ISO 8601 time."""
    if (number := _number(value)) is not None:
        return number
    try:
        return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    return value[:MAX_TEXT] if isinstance(value, str) and value else None
