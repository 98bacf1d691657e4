"""Counts of all events of a process, as plain integers.

Invariant, for each lane and in total: `recovered + accepted = delivered + dead + waiting`.

The unit is the *mapped* event: a source event that is sent to three event sets is accepted three times and ends three
times. Packages count once a request or a batch, never once an event. Source events that were rejected or ignored are
never accepted, so they are counted separately and are not part of the invariant.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, fields
from functools import partial

from gateway.model import FlushReason, Lane, Stage
from gateway.telemetry.histogram import DELIVERY, EVENTS, SECONDS, Histogram


@dataclass(slots=True)
class LaneCounts:
    """Counts of mapped events of one lane since the start of the process."""

    recovered: int = 0
    """Found in the spool at the start."""
    accepted: int = 0
    """Stored durably in the spool."""
    delivered: int = 0
    """Accepted by Meta."""
    dead: int = 0
    """Moved from the lane to the dead letters."""
    batches: int = 0
    """Calls that Meta accepted."""

    @property
    def waiting(self) -> int:
        """Events in the spool, including those of calls in flight."""
        return self.recovered + self.accepted - self.delivered - self.dead

    def add(self, other: LaneCounts) -> None:
        """Add the counts of another lane, such as one that is removed from memory."""
        self.recovered += other.recovered
        self.accepted += other.accepted
        self.delivered += other.delivered
        self.dead += other.dead
        self.batches += other.batches


@dataclass(slots=True)
class Ledger:
    """All counts of one process. Only the event loop's thread writes."""

    lanes: dict[Lane, LaneCounts] = field(default_factory=lambda: defaultdict(LaneCounts))
    received: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Source events, by source."""
    ignored: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Source events that no destination accepted or rejected, by source: calls other than track, events that the sender
    excluded with `integrations`, and repeated events."""
    consent_denied: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Source events that were not sent to a destination because they deny the consent that it needs, by (source,
    destination)."""
    deduplicated: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Source events that a destination had accepted before, by (source, destination)."""
    rejected: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Source events that could not be mapped, by (source, destination, code)."""
    accepted: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Mapped events that became durable, by (source, destination)."""
    retagged: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Mapped events whose upload tag was replaced by the default tag, because there were too many lanes, by
    destination."""
    dead: dict[tuple[str, Stage, str], int] = field(default_factory=lambda: defaultdict(int))
    """Dead letters written, by (destination, stage, code). Those of the stage `mapping` were never accepted, so they
    are not part of the invariant."""
    purged: int = 0
    """Dead letters that were deleted because of their age or size, or not stored for lack of space."""
    flushes: dict[tuple[str, FlushReason], int] = field(default_factory=lambda: defaultdict(int))
    """Batches formed, by (destination, reason)."""
    calls: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Calls to Meta, by (destination, outcome)."""
    call_seconds: dict[str, Histogram] = field(default_factory=lambda: defaultdict(partial(Histogram, SECONDS)))
    """Duration of calls to Meta, by destination."""
    delivery_lag: dict[str, Histogram] = field(default_factory=lambda: defaultdict(partial(Histogram, DELIVERY)))
    """Seconds from durable to accepted by Meta, of each delivered event, by destination."""
    batch_events: dict[str, Histogram] = field(default_factory=lambda: defaultdict(partial(Histogram, EVENTS)))
    """Events of a batch when it was formed, by destination."""
    requests: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    """HTTP requests of senders, by (route, status)."""
    reloads: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Reloads of the settings, by outcome: succeeded, failed."""
    alerts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Alerts for the webhook, by outcome: delivered, failed."""

    @property
    def waiting(self) -> int:
        """Mapped events in the spool, in all lanes."""
        return sum(counts.waiting for counts in self.lanes.values())

    def add(self, other: Ledger) -> None:
        """Add the counts of another process."""
        for field_ in fields(self):
            ours, theirs = getattr(self, field_.name), getattr(other, field_.name)
            if isinstance(theirs, int):
                setattr(self, field_.name, ours + theirs)
                continue
            for key, value in theirs.items():
                if isinstance(value, int):
                    ours[key] += value
                else:
                    ours[key].add(value)
