"""Events that deny consent: the sender gets success, nothing is kept, and they are counted under their own name."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.admin.status import status_of
from gateway.ingest.events import RequestResult, Source, map_event
from gateway.telemetry import Ledger, Snapshot
from gateway.telemetry.metrics import Families
from tests.mapping.builders import NOW, mapper, sale

NEEDS_ADS = mapper(consent={"categories": ["C0004"]})
NEEDS_NONE = mapper()
DENIED = sale(context={"consentManagement": {"deniedConsentIds": ["C0004"]}})


def result_of(event: Any, **mappers: Any) -> RequestResult:
    result = RequestResult()
    map_event(Source("shop", list(mappers.items())), event, 0, NOW, result, 32768)
    return result


def test_an_event_that_denies_consent_is_counted_and_not_kept() -> None:
    result = result_of(DENIED, store=NEEDS_ADS)

    assert (result.consent_denied, result.ignored, result.accepted) == ({"store": 1}, 1, 0)
    assert (result.mapped, result.dead_letters, result.rejected) == ([], [], [])


def test_other_destinations_receive_the_event() -> None:
    result = result_of(DENIED, store=NEEDS_ADS, other=NEEDS_NONE)

    assert (result.consent_denied, result.ignored, result.accepted) == ({"store": 1}, 0, 1)
    assert [event.lane.destination for event in result.mapped] == ["store"]  # the name with which it was compiled


@pytest.mark.parametrize("event", [{}, {"event": "Unmapped"}, {"event": "Order Completed"}])
def test_an_event_that_would_be_rejected_is_not_kept_either(event: Any) -> None:
    result = result_of(event | {"context": DENIED["context"]}, store=NEEDS_ADS)

    assert result.consent_denied == {"store": 1}
    assert result.dead_letters == []


def test_status_and_metrics_count_them() -> None:
    ledger = Ledger()
    ledger.consent_denied["shop", "store"] += 2
    snapshot = Snapshot(ledger=ledger)

    families = {family.name: family for family in Families(snapshot).collect()}

    assert status_of(snapshot, NOW)["consent_denied"] == 2
    [sample] = families["gateway_events_consent_denied"].samples
    assert (sample.labels, sample.value) == ({"source": "shop", "destination": "store"}, 2)
