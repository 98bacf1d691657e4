"""The outcome of `gateway resume`: whether the uploads of each dataset work again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto

from gateway.cli.common import print_line, read_admin, reading_answer
from gateway.cli.plain import duration
from gateway.config import Settings
from gateway.delivery.explanations import EXPLANATIONS, format_code
from gateway.model import JsonObject

INTERVAL = 0.2
"""Seconds between two reads of the state."""

LaneKey = tuple[str, str, str]
"""Destination, event set and upload tag."""
Lanes = Mapping[LaneKey, JsonObject]


class Outcome(Enum):
    """What a retry has shown for one lane."""

    PENDING = auto()
    """The call has no response yet."""
    RESUMED = auto()
    EMPTY = auto()
    """No event waits, so nothing is sent."""
    STOPPED = auto()
    LIMITED = auto()
    """Meta limits the rate again."""


def report_outcome(
    settings: Settings | None, url: str | None, before: JsonObject, query: Mapping[str, str], timeout: float
) -> int:
    """Wait for the outcome of the retries and print it; the exit status.

    `before`: the answer of `/status` before the retries; `query`: the filters of the command.
    """
    with reading_answer():
        held_up = {key: lane for key, lane in _lanes(before).items() if _is_held_up(lane) and _matches(lane, query)}
        after = _wait(lambda: _lanes(read_admin(settings, url, "/status", {})), held_up, timeout)
        outcomes = {key: outcome_of(lane, after.get(key)) for key, lane in held_up.items()}
        for dataset in dict.fromkeys(key[:2] for key in held_up):
            of_dataset = {key: outcome for key, outcome in outcomes.items() if key[:2] == dataset}
            for outcome in Outcome:
                keys = [key for key, each in of_dataset.items() if each is outcome]
                if keys:
                    text = _sentence(outcome, [after.get(key, held_up[key]) for key in keys], after, timeout)
                    print_line(f"{dataset[0]}, dataset {dataset[1]}: {text}")
    return 0 if set(outcomes.values()) <= {Outcome.RESUMED, Outcome.EMPTY} else 1


def outcome_of(before: JsonObject, after: JsonObject | None) -> Outcome:
    """The outcome for a lane by its state before and after a retry; None: the lane has ended, so it has no events."""
    if after is None:
        return Outcome.RESUMED
    was_called = after["last_call_at"] != before["last_call_at"] and not after["in_flight"]
    if after["blocked"]:
        if not after["waiting"]:
            return Outcome.EMPTY
        return Outcome.STOPPED if was_called else Outcome.PENDING
    if before["blocked"]:
        return Outcome.RESUMED
    if not after["waiting"]:
        return Outcome.RESUMED if was_called else Outcome.EMPTY
    if not was_called:
        return Outcome.PENDING
    return Outcome.LIMITED if after["throttled_until"] is not None else Outcome.RESUMED


def _wait(read: Callable[[], Lanes], held_up: Lanes, timeout: float) -> Lanes:
    """The lanes once the outcome of each is known, or when the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        lanes = read()
        is_pending = any(outcome_of(lane, lanes.get(key)) is Outcome.PENDING for key, lane in held_up.items())
        if not is_pending or time.monotonic() >= deadline:
            return lanes
        time.sleep(INTERVAL)


def _lanes(status: JsonObject) -> Lanes:
    return {(lane["destination"], lane["event_set"], lane["upload_tag"]): lane for lane in status["lanes"]}


def _is_held_up(lane: JsonObject) -> bool:
    return bool(lane["blocked"]) or lane["throttled_until"] is not None


def _matches(lane: JsonObject, query: Mapping[str, str]) -> bool:
    return all(lane[name] == value for name, value in query.items())


def _sentence(outcome: Outcome, lanes: Iterable[JsonObject], after: Lanes, timeout: float) -> str:
    """The outcome of some lanes of a dataset in words, and what to do."""
    first, *_ = lanes
    dataset = first["destination"], first["event_set"]
    waiting = sum(lane["waiting"] for key, lane in after.items() if key[:2] == dataset)
    match outcome:
        case Outcome.RESUMED:
            return f"uploads work again; {waiting:,} events are waiting"
        case Outcome.EMPTY:
            return "no event is waiting; the next one will be tried"
        case Outcome.LIMITED:
            return f"Meta still limits the rate ({format_code(first['last_outcome'])}); uploads go on by themselves"
        case Outcome.PENDING:
            return f"no outcome within {duration(timeout)}; see `gateway status`, or give more time with --timeout"
        case Outcome.STOPPED:
            explanation = EXPLANATIONS.get(first["blocked"])
            reason = explanation.reason if explanation else str(first["blocked"])
            remedy = f" {explanation.remedy}" if explanation else ""
            return f"still stopped: {reason} ({format_code(first['last_outcome'])}).{remedy}"
