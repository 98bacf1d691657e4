"""The state of a gateway at one moment, as plain values, for `/status` and the metrics.

The snapshots of several processes of one gateway can be added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.model import Backlog, Lane, UnixSeconds
from gateway.telemetry.histogram import LAG, Histogram
from gateway.telemetry.ledger import Ledger
from gateway.telemetry.rejection_rate import RejectionRate


@dataclass(frozen=True, slots=True)
class SpoolStatistics:
    """Contents and size of the spool."""

    events: int = 0
    """Mapped events that are waiting, including those of calls in flight."""
    bytes: int = 0
    """Encoded size of those events."""
    dead_letters: int = 0
    """Dead letters that are stored."""
    size: int = 0
    """Bytes that the spool uses on disk, or in memory."""
    max_bytes: int = 0
    """Limit of `size`."""
    commits: int = 0
    """Transactions since the start."""
    dead_letter_bytes: int = 0
    """Estimated size of the stored dead letters."""
    purged: int = 0
    """Dead letters that were deleted because of their age or for space, or not stored for lack of it, since the
    start."""

    def __add__(self, other: SpoolStatistics) -> SpoolStatistics:
        return SpoolStatistics(
            self.events + other.events,
            self.bytes + other.bytes,
            self.dead_letters + other.dead_letters,
            self.size + other.size,
            self.max_bytes + other.max_bytes,
            self.commits + other.commits,
            self.dead_letter_bytes + other.dead_letter_bytes,
            self.purged + other.purged,
        )


@dataclass(frozen=True, slots=True)
class LaneStatistics:
    """State of one lane."""

    lane: Lane
    waiting_events: int
    """Mapped events in the spool, including those of batches in flight."""
    waiting_bytes: int
    """Size of the events that are not in a batch yet."""
    oldest_at: UnixSeconds | None
    """When the oldest event that is not acknowledged became durable; None when there is none."""
    in_flight: int
    """Calls in flight."""
    last_outcome: str | None
    """Name or code of the outcome of the last call."""
    calls_per_second: float
    """Rate of calls that is allowed now."""
    concurrency: int
    """Concurrent calls that are allowed now."""
    blocked: str | None
    """Why no call can succeed, such as `token`; None while the lane is not blocked."""
    throttled_until: UnixSeconds | None = None
    """When Meta's rate limits allow the next call; None if they allow one now, or within a second."""
    last_call_at: UnixSeconds | None = None
    """When the outcome of the last call was known; None before the first."""

    def __add__(self, other: LaneStatistics) -> LaneStatistics:
        """The state of one lane in two processes."""
        oldest = [at for at in (self.oldest_at, other.oldest_at) if at is not None]
        called = [at for at in (self.last_call_at, other.last_call_at) if at is not None]
        throttled = [at for at in (self.throttled_until, other.throttled_until) if at is not None]
        return LaneStatistics(
            lane=self.lane,
            waiting_events=self.waiting_events + other.waiting_events,
            waiting_bytes=self.waiting_bytes + other.waiting_bytes,
            oldest_at=min(oldest, default=None),
            in_flight=self.in_flight + other.in_flight,
            last_outcome=other.last_outcome or self.last_outcome,
            calls_per_second=self.calls_per_second + other.calls_per_second,
            concurrency=self.concurrency + other.concurrency,
            blocked=self.blocked or other.blocked,
            throttled_until=max(throttled, default=None),
            last_call_at=max(called, default=None),
        )


@dataclass(frozen=True, slots=True)
class KeyCoverage:
    """Counts of one match key."""

    present: int
    """Events with a usable value."""
    dropped: Mapping[str, int]
    """Events with a value that could not be used, by cause."""

    def __add__(self, other: KeyCoverage) -> KeyCoverage:
        return KeyCoverage(self.present + other.present, _sum(self.dropped, other.dropped))


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of the match keys of one destination."""

    events: int
    """Source events that were mapped, or rejected because of their match keys or event time."""
    keys: Mapping[str, KeyCoverage]
    notes: Mapping[str, int]
    """Other counts of the mapping, such as `default_value_used`."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Properties that were not sent because they look personal, by name."""

    def __add__(self, other: Coverage) -> Coverage:
        zero = KeyCoverage(0, {})
        return Coverage(
            self.events + other.events,
            {key: self.keys.get(key, zero) + other.keys.get(key, zero) for key in {**self.keys, **other.keys}},
            _sum(self.notes, other.notes),
            _sum(self.left_out, other.left_out),
        )


@dataclass(slots=True)
class Snapshot:
    """All counts and states of a gateway, or of one process of it."""

    started_at: UnixSeconds = 0.0
    reasons: Sequence[str] = ()
    """Why the gateway is not ready for requests; empty when it is."""
    ledger: Ledger = field(default_factory=Ledger)
    spool: SpoolStatistics = SpoolStatistics()
    lanes: Sequence[LaneStatistics] = ()
    coverage: Mapping[str, Coverage] = field(default_factory=dict)
    loop_lag: Histogram = field(default_factory=lambda: Histogram(LAG))
    """Delay of the event loop, in seconds."""
    orphans: Sequence[Backlog] = ()
    """Events that are waiting for destinations that are not in the settings. They are kept and not uploaded."""
    settings_at: UnixSeconds = 0.0
    """When the settings in use were read."""
    settings_errors: Sequence[str] = ()
    """Errors of the last reload, if it failed."""
    warnings: Mapping[str, str] = field(default_factory=dict)
    """By destination, Meta's last warning about the version of the Graph API that is called."""
    mapping: str = ""
    """Which path maps events: `native (...)`, or `python (...)` with the reason."""
    rejection_rates: Mapping[str, RejectionRate] = field(default_factory=dict)
    """By source, the rates of rejected events that are above the limit. Computed for all processes together, so they
    are not added."""
    workers: int = 1
    """Number of worker processes."""
    restarts: int = 0
    """Worker processes that ended unexpectedly and were restarted."""

    def counters(self) -> Snapshot:
        """The values that only grow while the process runs, and `orphans`."""
        return Snapshot(
            ledger=self.ledger,
            spool=SpoolStatistics(commits=self.spool.commits),
            coverage=self.coverage,
            loop_lag=self.loop_lag,
            orphans=self.orphans,
        )

    def gauges(self) -> Snapshot:
        """All values but those of `counters`."""
        return replace(
            self,
            ledger=Ledger(),
            spool=replace(self.spool, commits=0),
            coverage={},
            loop_lag=Histogram(LAG),
        )

    def add(self, other: Snapshot) -> None:
        """Add the snapshot of another process of the same gateway."""
        self.started_at = min(self.started_at, other.started_at) if self.started_at else other.started_at
        self.reasons = [*self.reasons, *(reason for reason in other.reasons if reason not in self.reasons)]
        self.ledger.add(other.ledger)
        self.spool += other.spool
        lanes = {statistics.lane: statistics for statistics in self.lanes}
        for theirs in other.lanes:
            lanes[theirs.lane] = lanes[theirs.lane] + theirs if theirs.lane in lanes else theirs
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
        self.mapping = self.mapping or other.mapping


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in sorted({**one, **other})}
