"""The account of every event, in plain integers: `accepted + recovered = delivered + dead-lettered + waiting`.

The unit is the *mapped* event: one source event that goes to three event sets is accepted three times and ends three
times. Rooms count here once a request or a batch, never once an event; `observe.metrics` reads it when somebody asks.
Events that a sender was told are rejected, and those that were ignored, never entered the account and are counted
apart.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, fields
from functools import partial

from gateway.model import FlushReason, Lane, Stage
from gateway.telemetry.histogram import EVENTS, SECONDS, Histogram


@dataclass(slots=True)
class LaneCounts:
    """One lane's counts since the start. `waiting` follows from them."""

    recovered: int = 0
    """Extraction in the spool at the start."""
    accepted: int = 0
    """Durable in the spool."""
    delivered: int = 0
    """Meta said that it took them."""
    dead: int = 0
    """Settled into the dead letters."""
    batches: int = 0
    """Batches that Meta took."""

    @property
    def waiting(self) -> int:
        """In the spool, in flight included."""
        return self.recovered + self.accepted - self.delivered - self.dead

    def add(self, other: LaneCounts) -> None:
        """Take over the counts of a lane that is dropped from memory."""
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
    """Source events that go nowhere by design (identify, page, ... and those the sender switched off), by source."""
    deduplicated: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Source events that a destination had taken before, by (source, destination)."""
    rejected: dict[tuple[str, str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Source events that could not be mapped, by (source, destination, code); destination "" before any mapper."""
    accepted: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Mapped events that became durable, by (source, destination)."""
    dead: dict[tuple[str, Stage, str], int] = field(default_factory=lambda: defaultdict(int))
    """Dead letters written, by (destination, stage, code). Stage `mapping` is outside the account of the lanes."""
    purged: int = 0
    """Dead letters that retention let go."""
    flushes: dict[tuple[str, FlushReason], int] = field(default_factory=lambda: defaultdict(int))
    """Batches formed, by (destination, what flushed them)."""
    calls: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    """Calls to Meta, by (destination, outcome)."""
    call_seconds: dict[str, Histogram] = field(default_factory=lambda: defaultdict(partial(Histogram, SECONDS)))
    """How long calls took, by destination."""
    batch_events: dict[str, Histogram] = field(default_factory=lambda: defaultdict(partial(Histogram, EVENTS)))
    """Events of each batch when it was formed, by destination."""
    requests: dict[tuple[str, int], int] = field(default_factory=lambda: defaultdict(int))
    """HTTP requests of senders, by (route, status)."""
    reloads: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """Settings that were read again, by what came of it: taken, refused."""
    alerts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """WebhookNotifier for the webhook, by what came of them: delivered, lost."""

    @property
    def waiting(self) -> int:
        """Mapped events in the spool, all lanes."""
        return sum(counts.waiting for counts in self.lanes.values())

    def add(self, other: Ledger) -> None:
        """Take over the counts of another process."""
        for one in fields(self):
            mine, its = getattr(self, one.name), getattr(other, one.name)
            if isinstance(its, int):
                setattr(self, one.name, mine + its)
                continue
            for key, value in its.items():
                if isinstance(value, int):
                    mine[key] += value
                else:
                    mine[key].add(value)
