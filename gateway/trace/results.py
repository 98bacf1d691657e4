"""Completes the results of the trace, and adds up those of several processes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from operator import attrgetter

from gateway.telemetry import LaneStatistics
from gateway.trace.model import MAX_TRACED, TracedEvent, TraceResult, TraceState, WaitingReason


def with_waiting_reasons(result: TraceResult, lanes: Iterable[LaneStatistics]) -> TraceResult:
    """The result with the reason of each event that waits. `lanes`: their present state, of the same process."""
    by_lane = {str(statistics.lane): statistics for statistics in lanes if statistics.waiting_events}
    return replace(result, events=[_with_reason(event, by_lane.get(_lane(event))) for event in result.events])


def without_ids(result: TraceResult) -> TraceResult:
    """The result without message IDs and order IDs."""
    return replace(result, events=[replace(event, message_id=None, order_id=None) for event in result.events])


def merge(results: Sequence[TraceResult]) -> TraceResult:
    """The answer of all processes together."""
    events = sorted((event for result in results for event in result.events), key=attrgetter("stored_at"))
    return TraceResult(
        events=events[:MAX_TRACED],
        is_cut=len(events) > MAX_TRACED or any(result.is_cut for result in results),
        recorded_since=max((result.recorded_since for result in results if result.recorded_since), default=None),
        gaps=sorted((gap for result in results for gap in result.gaps), key=attrgetter("since")),
        is_enabled=all(result.is_enabled for result in results),
        failure=next((result.failure for result in results if result.failure), None),
    )


def _with_reason(event: TracedEvent, lane: LaneStatistics | None) -> TracedEvent:
    if event.state is not TraceState.WAITING:
        return event
    if lane is None:
        return replace(event, state=TraceState.UNKNOWN)  # its lane is empty
    if lane.blocked:
        reason = WaitingReason(lane.blocked)
    elif lane.throttled_until is not None:
        reason = WaitingReason("throttled", lane.throttled_until)
    elif lane.in_flight and (lane.oldest_at is None or event.stored_at < lane.oldest_at):
        reason = WaitingReason("in_flight")
    else:
        reason = WaitingReason("batch")
    return replace(event, waiting=reason)


def _lane(event: TracedEvent) -> str:
    return f"{event.destination}/{event.event_set}/{event.tag_hash}"
