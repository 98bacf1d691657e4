"""Waits for Meta's rate limits: bounded, whatever Meta's responses say, shown, and ended by a resume."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from gateway.delivery import HttpResponse
from gateway.model import Lane
from tests.delivery.harness import LANE, START, DeliveryHarness, RecordedCall, error, success
from tests.delivery.virtual_time import run

OTHER_LANE = Lane("store", "2", "tag")


def usage(percent: object) -> dict[str, str]:
    return {"X-App-Usage": f'{{"call_count":{percent},"total_time":1}}'}


def named(minutes: float) -> dict[str, str]:
    return {"X-Business-Use-Case-Usage": f'{{"1":[{{"estimated_time_to_regain_access":{minutes}}}]}}'}


FOR_EVER: dict[str, HttpResponse] = {
    "Retry-After of three years": HttpResponse(429, {"Retry-After": "99999999"}, b""),
    "access regained in a year": error(80004, headers=named(525_600)),
    "access regained never": error(80004, headers=named(1e308)),
    "reset in a day": error(17, headers={"X-Ad-Account-Usage": '{"acc_id_util_pct":100,"reset_time_duration":86400}'}),
    "no time named": error(4),
}


def gaps(harness: DeliveryHarness) -> list[float]:
    return [after.at - before.at for before, after in itertools.pairwise(harness.meta.calls)]


@pytest.mark.parametrize("response", FOR_EVER.values(), ids=FOR_EVER)
def test_no_throttle_delays_a_call_by_more_than_ten_minutes(response: HttpResponse) -> None:
    async def work() -> None:
        harness = DeliveryHarness(lambda call: response if call.at < 7200 else success(len(call.events)))
        async with harness.open():
            await harness.accept(10)
            await harness.wait_until_empty(within=4 * 3600)
            assert 590 < max(gaps(harness)) < 602

    run(work())


@pytest.mark.parametrize("percent", ["1e6", "1e300", "100", "1000", str(10**18)])
def test_a_usage_of_any_size_delays_calls_for_a_few_minutes_at_most_and_is_forgotten(percent: str) -> None:
    """One response with a high usage, then responses without one: the rate recovers by itself."""

    def respond(call: RecordedCall) -> HttpResponse:
        return success(len(call.events), usage(percent) if call.at < 1.0 else None)

    async def work() -> None:
        harness = DeliveryHarness(respond, batch={"max_age": 0.5}, upload={"requests_per_second": 10.0})
        async with harness.open():
            await harness.accept(10)
            await asyncio.sleep(5)
            for _ in range(60):
                await harness.accept(1)
                await asyncio.sleep(60)
            assert max(gaps(harness)) < 601
            late = [call for call in harness.meta.calls if call.at > 1200]
            assert len(late) >= 35, "the usage was not forgotten"

    run(work())


def test_a_usage_that_is_too_high_does_not_slow_later_calls_once_a_usual_one_is_reported() -> None:
    """The cost of a call that the jump suggests is not believed: with half of the limit used, calls still flow."""

    def respond(call: RecordedCall) -> HttpResponse:
        return success(len(call.events), usage(5 if call.at < 5 else 1e300 if call.at < 6 else 55))

    async def work() -> None:
        harness = DeliveryHarness(respond, batch={"max_age": 0.5, "max_events": 1}, upload={"requests_per_second": 5.0})
        async with harness.open():
            for _ in range(10):
                await harness.accept(1)
                await asyncio.sleep(1)
            await asyncio.sleep(300)
            before = len(harness.meta.calls)
            await harness.accept(200)
            await asyncio.sleep(600)
            assert len(harness.meta.calls) - before >= 30

    run(work())


def lane_of(harness: DeliveryHarness, lane: Lane) -> Any:
    return next(one for one in harness.delivery.statistics() if one.lane == lane)


def test_a_throttle_shows_until_when_it_lasts_for_every_lane_of_the_token() -> None:
    async def work() -> None:
        harness = DeliveryHarness(lambda call: error(4) if call.at < 30 else success(len(call.events)))
        async with harness.open():
            await harness.accept(10)
            await asyncio.sleep(5)
            await harness.accept(10, OTHER_LANE)
            await asyncio.sleep(1)
            at = harness.meta.calls[0].at + 0.1 + 60
            for lane in (LANE, OTHER_LANE):
                assert lane_of(harness, lane).throttled_until == pytest.approx(START + at, abs=0.01)
            await harness.wait_until_empty()
            await asyncio.sleep(30)
            assert lane_of(harness, LANE).throttled_until is None

    run(work())


def once(response: HttpResponse) -> Callable[[RecordedCall], HttpResponse]:
    """This response for the calls of the first two seconds; then every call succeeds."""
    return lambda call: response if call.at < 2 else success(len(call.events))


@pytest.mark.parametrize(
    "response",
    [*FOR_EVER.values(), success(10, usage(1e300)), success(10, usage(100))],
    ids=[*FOR_EVER, "absurd usage", "usage at the limit"],
)
def test_resume_ends_the_wait_for_metas_rate_limits_and_counts_the_lanes_that_waited(response: HttpResponse) -> None:
    async def work() -> None:
        harness = DeliveryHarness(once(response), batch={"max_events": 10})
        async with harness.open():
            await harness.accept(10)
            await asyncio.sleep(3)
            await harness.accept(20)
            await harness.accept(10, OTHER_LANE)
            await asyncio.sleep(5)
            assert lane_of(harness, LANE).throttled_until is not None
            assert harness.delivery.resume("another") == 0
            assert harness.delivery.resume("store") == 2
            await harness.wait_until_empty(within=5)
            assert lane_of(harness, LANE).throttled_until is None
            assert harness.delivery.resume("store") == 0

    run(work())


def test_resume_counts_a_lane_once_that_is_both_blocked_and_throttled() -> None:
    responses = {"1": error(190), "2": HttpResponse(429, {"Retry-After": "600"}, b"")}

    async def work() -> None:
        harness = DeliveryHarness(lambda call: responses[call.event_set] if call.at < 5 else success(len(call.events)))
        async with harness.open():
            await harness.accept(10)
            await asyncio.sleep(2)
            await harness.accept(10, OTHER_LANE)
            await asyncio.sleep(4)
            assert lane_of(harness, LANE).blocked == "token"
            assert harness.delivery.resume(event_set="1") == 1
            await harness.wait_until_empty(within=15)

    run(work())
