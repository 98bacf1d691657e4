"""The data of the console as JSON: history, trace of an event, live view, and Meta's Dataset Quality."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict

from gateway.admin.dead_letters import BadQuery, as_json, check_parameters, parse_seconds
from gateway.admin.gateway import Gateway
from gateway.admin.trace import find_event
from gateway.history import METRICS, HistoryQuery, Metric
from gateway.model import JsonObject, UnixSeconds

DAY = 86_400.0
LABELS = sorted({label for description in METRICS.values() for label in description.labels})
HISTORY_PARAMETERS = ("metric", "since", "until", "step", *LABELS)
MAX_CURSOR = 4000
"""Characters of the cursor of a poll; that of 64 processes is shorter."""

_STEP = re.compile(r"[0-9]{1,8}")


async def history_page(gateway: Gateway, query: Mapping[str, str], now: UnixSeconds) -> JsonObject:
    """Counts over time: `values[i]` is the step that begins at `since + i * step`.

    By default those of the last 24 hours per minute. Raises `BadQuery` and `HistoryUnavailable`.
    """
    page = await gateway.history(parse_history_query(query, now))
    return {
        "since": page.since,
        "step": page.step,
        "recorded": list(page.recorded),
        "is_complete": page.is_complete,
        "series": [
            {
                "metric": series.metric,
                "kind": METRICS[series.metric].kind,
                "labels": dict(series.labels),
                "values": list(series.values),
            }
            for series in page.series
        ],
    }


def parse_history_query(query: Mapping[str, str], now: UnixSeconds) -> HistoryQuery:
    """The query in a query string. Raises `BadQuery`."""
    check_parameters(query, HISTORY_PARAMETERS)
    try:
        metrics = [Metric(name) for name in query.get("metric", ",".join(Metric)).split(",")]
    except ValueError:
        raise BadQuery(f"`metric` must be one or more of {', '.join(Metric)}, separated by commas.") from None
    step = query.get("step", "60")
    if not _STEP.fullmatch(step) or int(step) < 60:
        raise BadQuery("`step` must be a number of seconds, at least 60.")
    until = parse_seconds(query, "until")
    until = now if until is None else until
    since = parse_seconds(query, "since")
    since = until - DAY if since is None else since
    if since > until:
        raise BadQuery("`since` must not be after `until`.")
    return HistoryQuery(metrics, since, until, int(step), {name: query[name] for name in LABELS if name in query})


async def trace_page(gateway: Gateway, query: Mapping[str, str]) -> JsonObject:
    """What became of the events with an ID. Raises `BadQuery`."""
    check_parameters(query, ("id",))
    if "id" not in query:
        raise BadQuery("`id` is missing; give a message ID or an order ID.")
    story = await find_event(gateway, query["id"])
    return {
        "id": story.identifier,
        **asdict(story.trace),
        "dead_letters": [as_json(number, letter) for number, letter in story.dead_letters],
    }


async def tap_page(gateway: Gateway, query: Mapping[str, str]) -> JsonObject:
    """The events that passed since the poll that returned `cursor`. Raises `BadQuery`."""
    check_parameters(query, ("cursor",))
    cursor = query.get("cursor", "")
    if len(cursor) > MAX_CURSOR:
        raise BadQuery("`cursor` must be the `cursor` of an earlier response.")
    return asdict(await gateway.tap(cursor))


async def quality_page(gateway: Gateway, query: Mapping[str, str]) -> JsonObject:
    """What Meta says about each dataset. Raises `BadQuery`: there are no parameters."""
    check_parameters(query, ())
    return {"datasets": [asdict(dataset) for dataset in await gateway.quality()]}
