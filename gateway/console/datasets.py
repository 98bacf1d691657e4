"""The state of each dataset of each destination, in words, and what to do next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.config import Settings
from gateway.console.formats import duration
from gateway.delivery.explanations import EXPLANATIONS, format_code
from gateway.model import UnixSeconds
from gateway.telemetry import LaneCounts, LaneStatistics, Snapshot

LATE_SECONDS = 300.0
"""Age of the oldest waiting event beyond which uploads count as late, in addition to `batch.max_age`."""
RESUME_HINT = "Then press Resume, or wait: uploads are tried again at growing intervals."


class State(StrEnum):
    """How uploads to a dataset go. In the order of their severity."""

    STOPPED = "stopped"
    ORPHANED = "orphaned"
    LATE = "late"
    LIMITED = "limited"
    DELIVERING = "delivering"
    WAITING = "waiting"
    IDLE = "idle"


SEVERITY = {state: position for position, state in enumerate(State)}


@dataclass(frozen=True, slots=True)
class Dataset:
    """One dataset of one destination: its counts since the start of the gateway, and its state."""

    destination: str
    event_set: str
    state: State
    reason: str
    """The state in one sentence."""
    action: str
    """What to do next; empty if nothing has to be done."""
    recovered: int
    accepted: int
    delivered: int
    dead_lettered: int
    waiting: int
    oldest_at: UnixSeconds | None
    calls_per_second: float
    in_flight: int
    lanes: int
    """Lanes in memory: one for each upload tag."""


def datasets_of(snapshot: Snapshot, settings: Settings, now: UnixSeconds) -> list[Dataset]:
    """All datasets that are in the settings or have events, those that need attention first."""
    counts: dict[tuple[str, str], LaneCounts] = {}
    for lane, lane_counts in snapshot.ledger.lanes.items():
        counts.setdefault((lane.destination, lane.event_set), LaneCounts()).add(lane_counts)
    lanes: dict[tuple[str, str], list[LaneStatistics]] = {}
    for statistics in snapshot.lanes:
        lanes.setdefault((statistics.lane.destination, statistics.lane.event_set), []).append(statistics)
    configured = [
        (name, event_set)
        for name, destination in settings.destinations.items()
        for event_set in sorted({each for sets in destination.standard_to_event_sets.values() for each in sets})
    ]
    keys = dict.fromkeys([*configured, *counts, *lanes])
    found = [_dataset(key, counts.get(key, LaneCounts()), lanes.get(key, []), settings, now) for key in keys]
    found += _orphans(snapshot)
    return sorted(found, key=lambda each: (SEVERITY[each.state], -each.waiting, each.destination, each.event_set))


def _dataset(
    key: tuple[str, str], counts: LaneCounts, lanes: Sequence[LaneStatistics], settings: Settings, now: UnixSeconds
) -> Dataset:
    oldest = min((lane.oldest_at for lane in lanes if lane.oldest_at is not None), default=None)
    destination = settings.destinations.get(key[0])
    late_after = LATE_SECONDS + (destination.batch.max_age if destination else 0.0)
    state, reason, action = _state(counts, lanes, oldest, late_after, now)
    return Dataset(
        destination=key[0],
        event_set=key[1],
        state=state,
        reason=reason,
        action=action,
        recovered=counts.recovered,
        accepted=counts.accepted,
        delivered=counts.delivered,
        dead_lettered=counts.dead,
        waiting=counts.waiting,
        oldest_at=oldest,
        calls_per_second=sum(lane.calls_per_second for lane in lanes),
        in_flight=sum(lane.in_flight for lane in lanes),
        lanes=len(lanes),
    )


def _state(
    counts: LaneCounts,
    lanes: Sequence[LaneStatistics],
    oldest: UnixSeconds | None,
    late_after: float,
    now: UnixSeconds,
) -> tuple[State, str, str]:
    blocked = next((lane for lane in lanes if lane.blocked is not None), None)
    if blocked is not None:
        return State.STOPPED, *_explain_block(blocked)
    throttled = [lane.throttled_until for lane in lanes if lane.throttled_until is not None]
    if throttled:
        wait = duration(max(1.0, min(throttled) - now))
        return State.LIMITED, f"Meta's rate limit delays the next call by {wait}.", ""
    if oldest is not None and now - oldest > late_after:
        reason = f"Events have been waiting for {duration(int(now - oldest))}."
        return State.LATE, reason, "Look at the delivery lag and at the outcome of the last call of each lane."
    if any(lane.in_flight for lane in lanes):
        return State.DELIVERING, "Calls to Meta are running.", ""
    if counts.waiting:
        return State.WAITING, "Events are collected for the next batch.", ""
    if counts.delivered or counts.recovered:
        return State.IDLE, "Everything that was accepted has been uploaded.", ""
    return State.IDLE, "No event was sent to this dataset yet.", ""


def _explain_block(lane: LaneStatistics) -> tuple[str, str]:
    """Why uploads are stopped, and what to do."""
    explanation = EXPLANATIONS.get(lane.blocked or "")
    code = f" (code {format_code(lane.last_outcome)})" if lane.last_outcome and "_" in lane.last_outcome else ""
    if explanation is None:
        return f"Uploads are stopped: {lane.blocked}{code}.", RESUME_HINT
    reason = explanation.reason[0].upper() + explanation.reason[1:]
    return f"{reason}{code}.", f"{explanation.remedy} {RESUME_HINT}"


def _orphans(snapshot: Snapshot) -> Iterable[Dataset]:
    waiting: dict[tuple[str, str], int] = {}
    oldest: dict[tuple[str, str], UnixSeconds] = {}
    for orphan in snapshot.orphans:
        key = orphan.lane.destination, orphan.lane.event_set
        waiting[key] = waiting.get(key, 0) + orphan.events
        if orphan.oldest_stored_at is not None:
            oldest[key] = min(oldest.get(key, orphan.oldest_stored_at), orphan.oldest_stored_at)
    for (destination, event_set), events in waiting.items():
        yield Dataset(
            destination=destination,
            event_set=event_set,
            state=State.ORPHANED,
            reason="The destination is not in the settings, so its events are kept and not uploaded.",
            action="Put the destination back into the settings, or delete its events with `gateway spool discard`.",
            recovered=0,
            accepted=0,
            delivered=0,
            dead_lettered=0,
            waiting=events,
            oldest_at=oldest.get((destination, event_set)),
            calls_per_second=0.0,
            in_flight=0,
            lanes=0,
        )
