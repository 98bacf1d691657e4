"""Types of the event trace: the answer to "what happened to order 1001?"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway.model import ChunkId, UnixSeconds

MAX_TRACED = 100
"""Events in an answer. An ID that more events have is hardly an ID."""


class TraceState(StrEnum):
    """What became of an accepted event."""

    WAITING = "waiting"
    """It is in the spool, or in a call."""
    DELIVERED = "delivered"
    """Meta accepted the call that carried it."""
    DEAD_LETTERED = "dead_lettered"
    """It became a dead letter."""
    UNKNOWN = "unknown"
    """It is not waiting any more, and what became of it was not recorded: the process was killed at that moment, or the
    trace could not be written."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Events that were acknowledged: delivered, or moved to the dead letters."""

    ids: Sequence[ChunkId]
    """The chunks that had these events and no others, unless `events` is given."""
    at: UnixSeconds
    state: TraceState
    attempts: int
    """Calls that carried them."""
    code: str | None = None
    """Why they became dead letters."""
    meta_trace_id: str | None = None
    """Meta's ID of the last call."""
    events: Sequence[bytes] | None = None
    """The encoded events, if others of the chunks are still waiting; those are now in the first of the chunks."""


@dataclass(frozen=True, slots=True)
class WaitingReason:
    """Why the events of a lane are waiting, at the time of the answer."""

    kind: str
    """`batch` (waits for a full batch or `batch.max_age`), `in_flight`, `throttled`, or why the circuit breaker is
    open, such as `token`."""
    until: UnixSeconds | None = None
    """When the next call is allowed, if Meta's rate limits delay it."""


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """One mapped event. A source event has one for each dataset that receives it."""

    message_id: str | None
    """As Meta gets it in `event_id`; None in the dialect `offline`, which has no such field."""
    order_id: str | None
    destination: str
    event_set: str
    tag_hash: str
    """See `Lane.tag_hash`."""
    stored_at: UnixSeconds
    """When it became durable, which is when its sender got 200."""
    state: TraceState
    ended_at: UnixSeconds | None = None
    """When Meta's response was recorded; None while it waits."""
    meta_trace_id: str | None = None
    """Meta's ID of the call, for its support team."""
    attempts: int = 0
    """Calls that carried it."""
    code: str | None = None
    """Why it became a dead letter, as in the dead letter."""
    waiting: WaitingReason | None = None
    """Only while it waits."""


@dataclass(frozen=True, slots=True)
class TraceGap:
    """A time in which events were stored without being traced."""

    since: UnixSeconds
    until: UnixSeconds
    events: int
    """How many; 0 if it is not known, because the process was killed."""


@dataclass(frozen=True, slots=True)
class TraceResult:
    """What is known about the events with an ID."""

    events: Sequence[TracedEvent] = ()
    """Oldest first, at most `MAX_TRACED`."""
    is_cut: bool = False
    """Whether there are more."""
    recorded_since: UnixSeconds | None = None
    """Events that were stored earlier are not known; None if nothing was traced yet."""
    gaps: Sequence[TraceGap] = ()
    """Times in which an event may have been stored untraced. Without a gap, and with tracing on, an ID that is not
    found was not accepted since `recorded_since`."""
    is_enabled: bool = True
    """False if `console.trace_days` is 0."""
    failure: str | None = None
    """Why the trace cannot be read or written, in one sentence; None if it can."""
