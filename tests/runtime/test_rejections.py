"""Watching rejections: the sentences of the log, the alerts of a source, and both with one process and with several."""

from __future__ import annotations

import pytest

from gateway.config import AlertSettings
from gateway.escaping import printable
from gateway.ingest import request_mapper
from gateway.ingest.events import INTERNAL_ERROR, UNKNOWN_TYPE
from gateway.mapping import REJECTIONS
from gateway.runtime.rejections import EXPLANATIONS, RejectionMonitor
from gateway.telemetry import Ledger
from gateway.telemetry.alerts import Alert, AlertType
from gateway.telemetry.rejection_rate import SAMPLE_SECONDS, WINDOW_SECONDS

NOW = 1_800_000_000.0


def test_every_code_of_a_rejection_has_a_sentence() -> None:
    others = [INTERNAL_ERROR, request_mapper.NOT_AN_OBJECT, UNKNOWN_TYPE, request_mapper.EVENT_TOO_LARGE]
    for code in [*REJECTIONS, *(rejection.code for rejection in others)]:
        assert EXPLANATIONS[code].endswith(".")


class Monitored:
    """A monitor with its ledger and the alerts that it sent."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.alerts: list[Alert] = []
        self.now = 0.0
        self.monitor = RejectionMonitor(
            AlertSettings(), self.alerts.append, clock=lambda: NOW, monotonic=lambda: self.now
        )

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.monitor.update([self.ledger])


@pytest.fixture
def given() -> Monitored:
    return Monitored()


def test_a_source_with_many_rejections_has_an_alert_when_it_begins_and_when_it_ends(
    given: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    given.ledger.received["shop"] += 200
    given.ledger.rejected["shop", "store", "unmapped_event"] += 30
    given.pass_time(SAMPLE_SECONDS)
    (high,) = given.alerts
    assert high.as_json() == {
        "text": '15.0% of the events of source "shop" were rejected in the last 5 minutes (30 of 200; limit 5.0%): '
        "unmapped_event (30). `gateway dead-letters list` shows them",
        "event": "rejection_rate_high",
        "source": "shop",
        "rejection_rate": 0.15,
        "events": 200,
        "rejected": 30,
        "codes": {"unmapped_event": 30},
        "limit": 0.05,
        "at": "2027-01-15T08:00:00+00:00",
    }
    assert high.as_json()["text"] in caplog.messages, "it is logged too, for gateways without a webhook"
    for _ in range(int(2 * WINDOW_SECONDS / SAMPLE_SECONDS)):
        given.pass_time(SAMPLE_SECONDS)
    assert [alert.alert_type for alert in given.alerts] == [
        AlertType.REJECTION_RATE_HIGH,
        AlertType.REJECTION_RATE_NORMAL,
    ]
    assert not given.monitor.above
    assert dict(given.alerts[1].subject) == {"source": "shop"}


def test_the_text_of_an_alert_is_printable(given: Monitored) -> None:
    given.ledger.received["a\x1b[2J\nb"] = 100
    given.ledger.rejected["a\x1b[2J\nb", "store", "unmapped_event"] = 100
    given.pass_time(SAMPLE_SECONDS)
    text = given.alerts[0].as_json()["text"]
    assert text == printable(text)


def test_rejections_are_logged_without_the_name_of_the_event(
    given: Monitored, caplog: pytest.LogCaptureFixture
) -> None:
    given.ledger.rejected["shop", "store", "unmapped_event"] = 3
    given.pass_time(1.0)
    given.monitor.flush([given.ledger])
    reason = REJECTIONS["unmapped_event"]
    assert caplog.messages == [
        f'rejected an event of source "shop" for destination "store": unmapped_event. {reason.meaning} {reason.remedy}',
        'source "shop": 2 more events rejected in the last minute: unmapped_event',
    ]
