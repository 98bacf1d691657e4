"""All lanes of a process: how many there may be, what a reload keeps, and what happens when memory is short."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from gateway.delivery.rate_limit import TokenRateLimiter
from gateway.model import Lane
from gateway.spool.memory import MemorySpool
from tests.delivery.harness import LANE, START, DeliveryHarness, RecordedCall, error, success
from tests.delivery.virtual_time import run

DEFAULT_TAG = "RudderStack"


def lanes(harness: DeliveryHarness) -> list[Lane]:
    return sorted(one.lane for one in harness.delivery.statistics())


def test_many_new_upload_tags_in_one_commit_make_no_more_lanes_than_the_limit() -> None:
    """The lanes are admitted one after the other, before any of their events is stored."""

    async def work() -> None:
        harness = DeliveryHarness(max_lanes=10)
        async with harness.open():
            admitted = {harness.delivery.admit(Lane("store", "1", f"tag {number}")) for number in range(8000)}
            assert len(admitted) == 11
            assert Lane("store", "1", DEFAULT_TAG) in admitted
            assert len(lanes(harness)) == 10

    run(work())


def test_beyond_the_limit_events_with_a_new_tag_get_the_default_tag_and_are_counted() -> None:
    async def work() -> None:
        harness = DeliveryHarness(max_lanes=3)
        async with harness.open():
            for number in range(50):
                await harness.accept(2, Lane("store", "1", f"tag {number}"))
            await harness.accept(5, Lane("store", "2", "tag 0"))
            await harness.accept(7, Lane("store", "1", "tag 1"))
            await harness.wait_until_empty()
            assert lanes(harness) == sorted(
                [*(Lane("store", "1", f"tag {n}") for n in range(3)), *(Lane("store", s, DEFAULT_TAG) for s in "12")]
            )
            assert harness.ledger.retagged == {"store": 47 * 2 + 5}
            assert harness.ledger.lanes[Lane("store", "1", DEFAULT_TAG)].delivered == 94
            assert harness.ledger.lanes[Lane("store", "1", "tag 1")].delivered == 9
            assert harness.delivered == 112

    run(work())


def test_events_with_the_default_tag_of_the_destination_always_keep_it() -> None:
    async def work() -> None:
        harness = DeliveryHarness(max_lanes=1, upload_tag="mine")
        async with harness.open():
            assert harness.delivery.admit(LANE) == LANE
            for event_set in ("1", "2", "3"):
                default = Lane("store", event_set, "mine")
                assert harness.delivery.admit(default) == default
            assert harness.delivery.admit(Lane("store", "2", "tag")) == Lane("store", "2", "mine")

    run(work())


def test_a_lane_that_is_idle_makes_space_for_another_one() -> None:
    async def work() -> None:
        harness = DeliveryHarness(max_lanes=1)
        async with harness.open():
            await harness.accept(1)
            other = Lane("store", "1", "other")
            assert harness.delivery.admit(other).upload_tag == DEFAULT_TAG
            await asyncio.sleep(800)
            assert lanes(harness) == []
            assert harness.delivery.admit(other) == other
            assert harness.is_balanced()

    run(work())


def test_lanes_with_waiting_events_of_an_earlier_process_are_delivered_beyond_the_limit() -> None:
    async def work() -> None:
        spool = MemorySpool(max_bytes=2**30, clock=lambda: START)
        earlier = DeliveryHarness(lambda _: error(2), spool)
        async with earlier.open():
            for number in range(20):
                await earlier.accept(1, Lane("store", "1", f"tag {number}"))
        harness = DeliveryHarness(spool=spool, max_lanes=5)
        async with harness.open():
            await harness.wait_until_empty()
            assert harness.delivered == 20
            assert harness.ledger.retagged == {}

    run(work())


def test_the_log_names_the_limit_of_lanes_once_a_minute_and_never_the_tag(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        harness = DeliveryHarness(max_lanes=2)
        async with harness.open():
            for number in range(1000):
                harness.delivery.admit(Lane("store", "1", f"SECRET{number}"))
            await asyncio.sleep(59)
            harness.delivery.admit(Lane("store", "1", "SECRET"))
            assert len(caplog.records) == 1
            await asyncio.sleep(2)
            harness.delivery.admit(Lane("store", "1", "SECRET"))

    caplog.set_level(logging.WARNING, "gateway.delivery")
    run(work())
    first, second = caplog.records
    assert first.getMessage() == second.getMessage()
    assert first.getMessage() == (
        'events for destination "store", dataset 1 get the default upload tag: the limit of 2 lanes in this process '
        "(spool.max_lanes) is reached. Use fewer upload tags at a time, or raise the limit"
    )
    assert "SECRET" not in str([vars(record) for record in caplog.records])


def rate_limiters() -> int:
    """Objects in memory that hold the learnt rate of a token."""
    gc.collect()
    return sum(isinstance(one, TokenRateLimiter) for one in gc.get_objects())


def test_the_learnt_rates_of_tokens_that_no_destination_uses_are_forgotten() -> None:
    async def work() -> None:
        before = rate_limiters()
        harness = DeliveryHarness()
        async with harness.open():
            for number in range(100):
                await harness.accept(1)
                harness.delivery.reload({"store": harness.with_token(f"token-{number}")})
                await asyncio.sleep(5)
            assert rate_limiters() == before + 1
            await harness.wait_until_empty()

    run(work())


def test_a_reload_keeps_the_learnt_rate_of_a_token_that_is_still_used() -> None:
    def respond(call: RecordedCall) -> object:
        return success(len(call.events)) if call.at > 60 else error(4)

    async def work() -> None:
        harness = DeliveryHarness(respond)
        async with harness.open():
            await harness.accept(10)
            await asyncio.sleep(5)
            batch = harness.destination.batch.model_copy(update={"max_age": 2.0})
            harness.delivery.reload({"store": harness.destination.model_copy(update={"batch": batch})})
            await harness.wait_until_empty()
            assert harness.meta.calls[1].at > 60

    run(work())


def test_calls_that_wait_for_a_throttle_are_sent_at_once_with_a_token_that_a_reload_brings() -> None:
    def respond(call: RecordedCall) -> object:
        return success(len(call.events)) if call.token == "other" else error(4)

    async def work() -> None:
        harness = DeliveryHarness(respond)
        async with harness.open():
            await harness.accept(10)
            await asyncio.sleep(5)
            harness.delivery.reload({"store": harness.with_token("other")})
            assert await harness.wait_until_empty() < 8
            assert [call.token for call in harness.meta.calls] == ["token", "other"]

    run(work())


def test_the_cache_of_the_newest_events_is_cleared_when_requests_need_its_memory() -> None:
    async def work() -> None:
        harness = DeliveryHarness(batch={"max_age": 30.0})
        async with harness.open():
            for number in range(20):
                await harness.accept(10, Lane("store", "1", f"tag {number}"))
            assert harness.budget.cached > 20 * 10 * 50
            assert harness.budget.reserve(harness.budget.limit)
            assert harness.budget.cached == 0
            await harness.accept(10)
            assert harness.budget.cached == 0, "cached without memory"
            harness.budget.release(harness.budget.limit)
            await harness.wait_until_empty()
            assert sorted(n for call in harness.meta.calls for n in call.events) == list(range(210))
            assert harness.budget.cached == 0

    run(work())
