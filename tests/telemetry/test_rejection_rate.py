"""The rate of rejected events: its window, its limit and minimum, and when an alert begins and ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.config import AlertSettings
from gateway.telemetry import Ledger
from gateway.telemetry.rejection_rate import (
    SAMPLE_SECONDS,
    WINDOW_SECONDS,
    RejectionRate,
    RejectionRates,
    rejection_counts,
)


class Gateway:
    """A ledger and the rates computed from it, on a clock that only the test advances."""

    def __init__(self, rate: float = 0.05, min_events: int = 20) -> None:
        self.now = 1000.0
        self.ledger = Ledger()
        self.rates = RejectionRates(
            AlertSettings(rejection_rate=rate, rejection_min_events=min_events), lambda: self.now
        )

    def receive(self, events: int, rejected: int, code: str = "unmapped_event", destination: str = "store") -> None:
        self.ledger.received["shop"] += events
        self.ledger.rejected["shop", destination, code] += rejected

    def pass_time(self, seconds: float) -> tuple[Mapping[str, RejectionRate], Sequence[str]]:
        """Update once after this time. The rates that rose above the limit, and the sources that ended."""
        self.now += seconds
        return self.rates.update(rejection_counts([self.ledger]))


def test_a_rate_above_the_limit_begins_once_and_names_the_main_codes() -> None:
    gateway = Gateway()
    gateway.receive(100, 4)
    gateway.receive(0, 3, "no_match_key")
    begun, ended = gateway.pass_time(SAMPLE_SECONDS)
    assert dict(begun) == {"shop": RejectionRate(100, 7, {"unmapped_event": 4, "no_match_key": 3})}
    assert begun["shop"].value == 0.07
    assert begun["shop"].main_codes == "unmapped_event (4), no_match_key (3)"
    assert gateway.rates.above == begun
    assert (ended, gateway.pass_time(SAMPLE_SECONDS)) == ([], ({}, []))


def test_a_rate_at_the_limit_is_not_above_it() -> None:
    gateway = Gateway()
    gateway.receive(100, 5)
    assert gateway.pass_time(SAMPLE_SECONDS) == ({}, [])
    gateway.receive(0, 1)
    assert list(gateway.pass_time(SAMPLE_SECONDS)[0]) == ["shop"]


def test_few_events_are_never_above_the_limit() -> None:
    gateway = Gateway(min_events=20)
    gateway.receive(19, 19)
    assert gateway.pass_time(SAMPLE_SECONDS) == ({}, [])
    gateway.receive(1, 0)
    assert list(gateway.pass_time(SAMPLE_SECONDS)[0]) == ["shop"]


def test_the_rate_of_1_turns_the_alert_off() -> None:
    gateway = Gateway(rate=1)
    gateway.receive(100, 100)
    assert gateway.pass_time(SAMPLE_SECONDS) == ({}, [])


def test_events_of_more_than_five_minutes_ago_do_not_count() -> None:
    gateway = Gateway()
    gateway.receive(100, 50)
    gateway.pass_time(SAMPLE_SECONDS)
    for _ in range(int(WINDOW_SECONDS / SAMPLE_SECONDS)):
        assert gateway.rates.above
        gateway.receive(10, 0)
        gateway.pass_time(SAMPLE_SECONDS)
    assert not gateway.rates.above
    assert gateway.rates.of("shop") == RejectionRate(300, 0, {})


def test_an_alert_ends_when_the_rate_was_not_above_the_limit_for_five_minutes() -> None:
    gateway = Gateway()
    gateway.receive(100, 50)
    assert gateway.pass_time(SAMPLE_SECONDS)[0]
    changes = []
    for second in range(0, 900, 10):
        gateway.receive(10, 0)
        begun, ended = gateway.pass_time(10)
        changes += [(second + 10, list(begun), list(ended))] if begun or ended else []
    above_for = WINDOW_SECONDS - 10  # the rejections leave the window
    assert changes == [(above_for + WINDOW_SECONDS, [], ["shop"])]


def test_a_rate_that_varies_around_the_limit_is_one_alert() -> None:
    gateway = Gateway()
    begun_at = []
    for second in range(0, 3600, 10):
        gateway.receive(10, 10 if second % 240 == 0 else 0)
        begun, ended = gateway.pass_time(10)
        begun_at += [second] * len(begun)
        assert not ended
    assert begun_at == [10]


def test_of_several_destinations_the_one_that_rejects_most_counts() -> None:
    gateway = Gateway()
    gateway.receive(100, 30)
    gateway.receive(0, 40, "no_match_key", "legacy")
    rates, _ = gateway.pass_time(SAMPLE_SECONDS)
    assert dict(rates) == {"shop": RejectionRate(100, 40, {"no_match_key": 40})}


def test_calls_that_are_no_conversions_do_not_lower_the_rate() -> None:
    gateway = Gateway()
    gateway.receive(1000, 10)
    gateway.ledger.ignored["shop"] += 900
    rates, _ = gateway.pass_time(SAMPLE_SECONDS)
    assert rates["shop"].value == 0.1


def test_the_counts_of_several_processes_are_one_rate() -> None:
    ledgers = [Ledger(), Ledger()]
    for ledger in ledgers:
        ledger.received["shop"] = 50
        ledger.rejected["shop", "store", "unmapped_event"] = 4
    counts = rejection_counts(ledgers)
    assert (counts.events["shop"], dict(counts.rejected)) == (100, {("shop", "store", "unmapped_event"): 8})


def test_the_samples_are_bounded() -> None:
    gateway = Gateway()
    for _ in range(3000):
        gateway.pass_time(1)
    assert len(gateway.rates._samples) <= WINDOW_SECONDS / SAMPLE_SECONDS + 1


def test_other_limits_apply_from_the_next_sample_on() -> None:
    gateway = Gateway(rate=0.5)
    gateway.receive(100, 30)
    assert not gateway.pass_time(SAMPLE_SECONDS)[0]
    gateway.rates.reload(AlertSettings(rejection_rate=0.2))
    assert list(gateway.pass_time(SAMPLE_SECONDS)[0]) == ["shop"]
