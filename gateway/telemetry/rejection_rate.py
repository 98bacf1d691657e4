"""The rate of rejected events of each source over the last five minutes, and when it is above the limit.

The counters of the ledger are sampled every ten seconds; a rate is the difference between the newest sample and one
that is five minutes old. Of a source with several destinations, the one that rejects most events counts, so that an
event is not counted twice.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.config import AlertSettings
from gateway.model import JsonObject
from gateway.telemetry.ledger import Ledger

WINDOW_SECONDS = 300.0
"""Seconds over which the rate is computed."""
SAMPLE_SECONDS = 10.0
"""Seconds between two samples."""
MAX_MAIN_CODES = 3
"""Codes that a rate names: the most frequent ones."""


@dataclass(frozen=True, slots=True)
class RejectionRate:
    """How many events of one source were rejected in the last five minutes."""

    events: int
    """Source events that a destination accepted or rejected. Others, such as `identify` calls, do not count."""
    rejected: int
    codes: Mapping[str, int]
    """The most frequent codes, at most `MAX_MAIN_CODES`, with their counts."""

    @property
    def value(self) -> float:
        """The share of rejected events, 0 to 1."""
        return self.rejected / self.events if self.events else 0.0

    @property
    def main_codes(self) -> str:
        """The most frequent codes with their counts, as a text."""
        return ", ".join(f"{code} ({count:,})" for code, count in self.codes.items())

    def as_json(self) -> JsonObject:
        """The rate in `/status` and in an alert."""
        return {
            "rejection_rate": round(self.value, 4),
            "events": self.events,
            "rejected": self.rejected,
            "codes": dict(self.codes),
        }


@dataclass(frozen=True, slots=True)
class RejectionCounts:
    """Counts of source events since the start."""

    events: Mapping[str, int] = field(default_factory=dict)
    """Events that a destination accepted or rejected, by source."""
    rejected: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    """By (source, destination, code)."""


def rejection_counts(ledgers: Iterable[Ledger]) -> RejectionCounts:
    """The counts of one gateway from the ledgers of its processes."""
    events: Counter[str] = Counter()
    rejected: Counter[tuple[str, str, str]] = Counter()
    for ledger in ledgers:
        events.update(ledger.received)
        events.subtract(ledger.ignored)
        rejected.update(ledger.rejected)
    return RejectionCounts(events, rejected)


class RejectionRates:
    """Computes the rates, and decides when the rate of a source begins and ends to be above the limit.

    It ends when the rate has not been above the limit for `WINDOW_SECONDS`: a rate that varies around the limit would
    otherwise begin and end all the time.
    """

    def __init__(self, settings: AlertSettings, clock: Callable[[], float]) -> None:
        """`clock` returns monotonic seconds. The counters must be 0 at this time."""
        self._settings = settings
        self._clock = clock
        # One of them is at least `WINDOW_SECONDS` old, unless the gateway is younger: about thirty.
        self._samples = deque([(clock(), RejectionCounts())])
        self._above_at: dict[str, float] = {}  # by source, when its rate was last above the limit; until it ends
        self.above: Mapping[str, RejectionRate] = {}
        """The rates that are above the limit now, by source."""

    def reload(self, settings: AlertSettings) -> None:
        """Use other limits from the next sample on."""
        self._settings = settings

    def update(self, counts: RejectionCounts) -> tuple[Mapping[str, RejectionRate], Sequence[str]]:
        """Take a sample if one is due. The rates that rose above the limit, by source, and the sources that ended."""
        now = self._clock()
        if now - self._samples[-1][0] < SAMPLE_SECONDS:
            return {}, ()
        self._samples.append((now, counts))
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()
        rates = _rates(self._samples[0][1], counts)
        self.above = {source: rate for source, rate in rates.items() if self._is_above(rate)}
        begun = {source: rate for source, rate in self.above.items() if source not in self._above_at}
        self._above_at.update(dict.fromkeys(self.above, now))
        ended = [source for source, at in self._above_at.items() if now - at >= WINDOW_SECONDS]
        for source in ended:
            del self._above_at[source]
        return begun, ended

    def of(self, source: str) -> RejectionRate:
        """The rate of a source at the last sample."""
        return _rates(self._samples[0][1], self._samples[-1][1]).get(source, RejectionRate(0, 0, {}))

    def _is_above(self, rate: RejectionRate) -> bool:
        return rate.events >= self._settings.rejection_min_events and rate.value > self._settings.rejection_rate


def _rates(before: RejectionCounts, now: RejectionCounts) -> dict[str, RejectionRate]:
    """The rate of each source between two samples."""
    by_destination: dict[str, dict[str, Counter[str]]] = {}
    for (source, destination, code), count in now.rejected.items():
        rejected = count - before.rejected.get((source, destination, code), 0)
        by_destination.setdefault(source, {}).setdefault(destination, Counter())[code] += rejected
    rates = {}
    for source, events in now.events.items():
        codes = max(by_destination.get(source, {}).values(), key=Counter.total, default=Counter[str]())
        main = {code: count for code, count in codes.most_common(MAX_MAIN_CODES) if count > 0}
        rates[source] = RejectionRate(events - before.events.get(source, 0), codes.total(), main)
    return rates
