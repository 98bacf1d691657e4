"""What a gateway tells of itself at one moment, as plain values, for `/status` and the metrics.

Several processes of one gateway are added up to one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.model import Backlog, Lane, UnixSeconds
from gateway.telemetry.histogram import LAG, Histogram
from gateway.telemetry.ledger import Ledger


@dataclass(frozen=True, slots=True)
class SpoolStatistics:
    """The spool's."""

    events: int = 0
    """Events that wait."""
    bytes: int = 0
    """Their encoded size."""
    dead_letters: int = 0
    """Dead letters that are kept."""
    size: int = 0
    """Bytes that the spool takes on its medium."""
    max_bytes: int = 0
    """What `size` may grow to."""
    commits: int = 0
    """Transactions since the start."""

    def __add__(self, other: SpoolStatistics) -> SpoolStatistics:
        return SpoolStatistics(
            self.events + other.events,
            self.bytes + other.bytes,
            self.dead_letters + other.dead_letters,
            self.size + other.size,
            self.max_bytes + other.max_bytes,
            self.commits + other.commits,
        )


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """A lane's."""

    lane: Lane
    waiting_events: int
    """In the spool, on their way included."""
    waiting_bytes: int
    """Of those that are not on their way."""
    oldest_at: UnixSeconds | None
    """When the oldest that is not on its way became durable."""
    in_flight: int
    """Calls under way."""
    last_outcome: str | None
    calls_per_second: float
    """Calls a second that are allowed now."""
    concurrency: int
    """Calls that may be under way now."""
    blocked: str | None
    """Kind of what has to be mended before a call can succeed."""

    def __add__(self, other: LaneStatistics) -> LaneStatistics:
        """The same lane in two processes."""
        ages = [one.oldest_at for one in (self, other) if one.oldest_at is not None]
        return LaneStatistics(
            lane=self.lane,
            waiting_events=self.waiting_events + other.waiting_events,
            waiting_bytes=self.waiting_bytes + other.waiting_bytes,
            oldest_at=min(ages, default=None),
            in_flight=self.in_flight + other.in_flight,
            last_outcome=other.last_outcome or self.last_outcome,
            calls_per_second=self.calls_per_second + other.calls_per_second,
            concurrency=self.concurrency + other.concurrency,
            blocked=self.blocked or other.blocked,
        )


@dataclass(frozen=True, slots=True)
class KeyCoverage:
    """One match key's share of the mapped events."""

    present: int
    dropped: Mapping[str, int]
    """By cause."""

    def __add__(self, other: KeyCoverage) -> KeyCoverage:
        return KeyCoverage(self.present + other.present, _sum(self.dropped, other.dropped))


@dataclass(frozen=True, slots=True)
class Coverage:
    """A destination's match keys."""

    events: int
    """Source events that were mapped or rejected for their identity or time."""
    keys: Mapping[str, KeyCoverage]
    notes: Mapping[str, int]

    def __add__(self, other: Coverage) -> Coverage:
        nothing = KeyCoverage(0, {})
        return Coverage(
            self.events + other.events,
            {key: self.keys.get(key, nothing) + other.keys.get(key, nothing) for key in {**self.keys, **other.keys}},
            _sum(self.notes, other.notes),
        )


@dataclass(slots=True)
class Snapshot:
    """Everything that is told."""

    started_at: UnixSeconds = 0.0
    reasons: Sequence[str] = ()
    """Why requests should go elsewhere; empty when they are welcome."""
    ledger: Ledger = field(default_factory=Ledger)
    spool: SpoolStatistics = SpoolStatistics()
    lanes: Sequence[LaneStatistics] = ()
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    loop_lag: Histogram = field(default_factory=lambda: Histogram(LAG))
    """How late the event loop was, seconds."""
    orphans: Sequence[Backlog] = ()
    """What waits for destinations that are not in the settings: kept, and never touched."""
    settings_at: UnixSeconds = 0.0
    """When the settings that hold now were read."""
    settings_errors: Sequence[str] = ()
    """Faults of the settings that were read last, when they were not taken."""
    warnings: Mapping[str, str] = field(default_factory=dict)
    """By destination, what Meta said last of the version that is called."""
    workers: int = 1
    """Processes that this is of."""
    restarts: int = 0
    """Processes that ended by themselves and were started again."""

    def add(self, other: Snapshot) -> None:
        """Another process of the same gateway."""
        self.started_at = min(self.started_at, other.started_at) if self.started_at else other.started_at
        self.reasons = [*self.reasons, *(reason for reason in other.reasons if reason not in self.reasons)]
        self.ledger.add(other.ledger)
        self.spool += other.spool
        lanes = {one.lane: one for one in self.lanes}
        for one in other.lanes:
            lanes[one.lane] = lanes[one.lane] + one if one.lane in lanes else one
        self.lanes = list(lanes.values())
        self.coverage = {
            name: self.coverage[name] + other.coverage[name]
            if name in self.coverage and name in other.coverage
            else (self.coverage.get(name) or other.coverage[name])
            for name in {**self.coverage, **other.coverage}
        }
        self.loop_lag.add(other.loop_lag)
        self.orphans = [*self.orphans, *other.orphans]
        self.warnings = {**self.warnings, **other.warnings}


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({**one, **other})}
