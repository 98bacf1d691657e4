"""A lane on Meta's good and bad days, on virtual time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.delivery import HttpResponse, NoResponse
from gateway.model import FlushReason, Lane, Stage
from gateway.spool import SpoolUnavailable
from gateway.spool.memory import MemorySpool
from tests.delivery.harness import FAR, LANE, START, Field, Seen, error, ok, well
from tests.delivery.virtual_time import run

OTHER = Lane("store", "2", "tag")


def in_turn(*answers: Any) -> Callable[[Seen], Any]:
    """These answers, then all is well."""
    remaining = list(answers)
    return lambda seen: remaining.pop(0) if remaining else well(seen)


async def one_batch(field: Field, count: int = 10) -> float:
    async with field.open():
        await field.accept(count)
        at = await field.settled()
        assert field.adds_up()
        return at


def test_a_full_batch_leaves_at_once_and_the_rest_with_its_age() -> None:
    async def work() -> None:
        field = Field(batch={"max_age": 60.0})
        async with field.open():
            await field.accept(2500)
            await asyncio.sleep(1.0)
            assert [len(call.events) for call in field.meta.calls] == [1000, 1000]
            await field.settled()
            assert [len(call.events) for call in field.meta.calls] == [1000, 1000, 500]
            assert field.meta.calls[2].at <= 60.1
            flushes = {reason: count for (_, reason), count in field.ledger.flushes.items()}
            assert flushes == {FlushReason.COUNT: 2, FlushReason.AGE: 1}

    run(work())


def test_many_small_commits_still_make_full_batches() -> None:
    async def work() -> None:
        field = Field(batch={"max_age": 60.0})
        async with field.open():
            for _ in range(100):
                await field.accept(37)
            await field.settled()
            assert [len(call.events) for call in field.meta.calls][:3] == [1000, 1000, 1000]

    run(work())


def test_a_batch_never_exceeds_its_bytes() -> None:
    async def work() -> None:
        field = Field(batch={"max_age": 60.0, "max_bytes": 2**16})
        async with field.open():
            await field.accept(5000)
            await field.settled()
            sizes = [len(call.body) for call in field.meta.calls]
            assert max(sizes) < 2**16 + 200
            assert sorted(n for call in field.meta.calls for n in call.events) == list(range(5000))

    run(work())


def test_the_request_carries_the_events_unchanged_and_the_token_in_the_body_only() -> None:
    async def work() -> None:
        field = Field(access_token="EAAB", app_secret="shh", partner_agent="acme", test_event_code="T1")
        await one_batch(field, 3)
        (call,) = field.meta.calls
        assert call.url == "https://graph.facebook.com/v25.0/1/events"
        assert call.events == [0, 1, 2]
        assert call.body.startswith(b'{"data":[{"n":0,')
        assert b'"upload_tag":"tag"' in call.body
        assert b'"partner_agent":"acme","test_event_code":"T1","access_token":"EAAB"' in call.body
        # hmac-sha256 of the token with the secret as its key (Meta: securing requests)
        assert hmac.new(b"shh", b"EAAB", hashlib.sha256).hexdigest().encode() in call.body

    run(work())


@pytest.mark.parametrize(
    "bad",
    [
        error(2, status=500, transient=True),
        error(1),
        HttpResponse(502, {}, b"<html>Bad gateway</html>"),
        HttpResponse(200, {}, b""),
        HttpResponse(200, {}, b'{"events_rec'),
        HttpResponse(503, {}, b""),
        NoResponse("no_connection", in_doubt=False),
        NoResponse("timeout", in_doubt=True),
        NoResponse("disconnected", in_doubt=True),
    ],
    ids=str,
)
def test_what_is_temporary_is_tried_again_with_the_same_bytes_until_it_passes(bad: Any) -> None:
    async def work() -> None:
        field = Field(in_turn(*[bad] * 20))
        await one_batch(field)
        assert len(field.meta.calls) == 21
        assert len({call.body for call in field.meta.calls}) == 1
        assert field.delivered == 10
        assert await field.letters() == []

    run(work())


def test_pauses_grow_and_are_bounded() -> None:
    async def work() -> None:
        field = Field(in_turn(*[error(2)] * 40), upload={"backoff_base": 1.0, "backoff_max": 60.0})
        await one_batch(field)
        gaps = [after.at - before.at for before, after in itertools.pairwise(field.meta.calls)]
        assert max(gaps[:3]) <= 4.2
        assert max(gaps) <= 60.2
        assert sum(gaps[10:]) / len(gaps[10:]) > 15

    run(work())


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (error(80004, headers={"X-Business-Use-Case-Usage": '{"1":[{"estimated_time_to_regain_access":7}]}'}), 420),
        (error(17, headers={"X-Ad-Account-Usage": '{"acc_id_util_pct":100,"reset_time_duration":90}'}), 90),
        (error(4), 60),
        (HttpResponse(429, {"Retry-After": "33"}, b""), 33),
    ],
    ids=["minutes", "seconds", "untold", "429"],
)
def test_a_throttle_is_honoured_to_the_second_and_nothing_of_it_is_lost(reply: HttpResponse, seconds: float) -> None:
    async def work() -> None:
        field = Field(in_turn(reply))
        await one_batch(field)
        first, second = field.meta.calls
        assert seconds <= second.at - first.at < seconds + 1
        assert field.delivered == 10

    run(work())


def test_throttles_that_follow_each_other_wait_longer_each_time() -> None:
    async def work() -> None:
        field = Field(in_turn(*[error(4)] * 4))
        await one_batch(field)
        gaps = [after.at - before.at for before, after in itertools.pairwise(field.meta.calls)]
        assert [round(gap / 60) for gap in gaps] == [1, 2, 4, 8]

    run(work())


def test_a_throttle_holds_every_lane_of_the_token() -> None:
    async def work() -> None:
        field = Field(in_turn(error(4)))
        async with field.open():
            await field.accept(10)
            await asyncio.sleep(2)
            await field.accept(10, OTHER)
            await field.settled()
            assert [call.at for call in field.meta.calls][1] > 60

    run(work())


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (error(190, 463, status=401), "token"),
        (error(200), "permission"),
        (error(100, 33), "object"),
        (error(2635), "version"),
        (error(368), "policy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_blocked_lane_keeps_everything_probes_ever_more_seldom_and_goes_on_by_itself(
    reply: HttpResponse, kind: str
) -> None:
    async def work() -> None:
        mended_at = 3600.0
        field = Field(lambda seen: reply if seen.at < mended_at else ok(len(seen.events)))
        async with field.open():
            await field.accept(5000)
            await asyncio.sleep(3599)
            (lane,) = field.delivery.statistics()
            assert (lane.blocked, field.ledger.waiting) == (kind, 5000)
            probes = [call.at for call in field.meta.calls]
            waits = [round(after - before) for before, after in itertools.pairwise(probes)]
            assert len(probes) < 20
            assert waits == sorted(waits)
            await field.accept(100)
            await field.settled(within=4 * 3600)
            assert field.delivered == 5100
            assert await field.letters() == []
            assert field.delivery.statistics()[0].blocked is None

    run(work())


def test_neighbours_of_a_blocked_lane_do_not_notice() -> None:
    async def work() -> None:
        field = Field(lambda seen: error(100, 33) if "/1/" in seen.url else ok(len(seen.events)))
        async with field.open():
            await field.accept(1000)
            await field.accept(3000, OTHER)
            await asyncio.sleep(5)
            assert field.ledger.lanes[OTHER].delivered == 3000
            assert field.ledger.lanes[LANE].delivered == 0

    run(work())


def test_a_token_that_was_replaced_in_its_file_is_used_at_the_next_probe(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")

    async def work() -> None:
        field = Field(
            lambda seen: ok(len(seen.events)) if seen.token == "new" else error(190, 463, status=401),
            access_token={"file": str(path)},
        )
        async with field.open():
            await field.accept(10)
            await asyncio.sleep(5)
            path.write_text("new\n")
            await field.settled()
            assert [call.token for call in field.meta.calls] == ["old", "new"]

    run(work())


def refusing(bad: set[int], *, names_index: bool) -> Callable[[Seen], HttpResponse]:
    """Refuses a whole call for a bad event; says which, or does not."""

    def answer(seen: Seen) -> HttpResponse:
        at = next((index for index, number in enumerate(seen.events) if number in bad), None)
        if at is None:
            return ok(len(seen.events))
        return error(100, 2804050, index=at if names_index else None)

    return answer


@pytest.mark.parametrize("names_index", [True, False], ids=["index known", "index unknown"])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_bad_events_among_a_thousand_cost_themselves_and_a_bounded_number_of_calls(
    count: int, names_index: bool
) -> None:
    async def work(seed: int) -> int:
        bad = set(Random(seed).sample(range(1000), count))
        field = Field(refusing(bad, names_index=names_index), batch={"max_age": 60.0})
        await one_batch(field, 1000)
        assert sorted(await field.dead()) == sorted(bad)
        assert field.delivered == 1000 - count
        letters = await field.letters()
        assert {(one.stage, one.code, one.fault and one.fault.subcode) for one in letters} == {
            (Stage.UPLOAD, "meta_100_2804050", 2804050)
        }
        return len(field.meta.calls)

    used = [run(work(seed)) for seed in range(5)]
    bound = count + 1 if names_index else count * (2 * math.ceil(math.log2(1000)) + 1) + 1
    print(f"{count} bad, {'named' if names_index else 'not named'}: {used} calls, at most {bound}")
    assert max(used) <= bound


def test_a_fault_of_every_event_is_noticed_before_it_costs_them_all() -> None:
    async def work() -> None:
        mended_at = 4000.0
        field = Field(lambda seen: error(100, 2804050, index=0) if seen.at < mended_at else ok(len(seen.events)))
        async with field.open():
            await field.accept(1000)
            await asyncio.sleep(3900)
            (lane,) = field.delivery.statistics()
            assert lane.blocked == "systemic"
            assert len(await field.letters()) < 25
            assert len(field.meta.calls) < 25
            await field.settled()
            assert field.delivered + len(await field.letters()) == 1000

    run(work())


def test_only_the_expired_event_of_a_batch_is_given_up_and_before_it_is_sent() -> None:
    async def work() -> None:
        field = Field()
        async with field.open():
            await field.accept(5)
            await field.accept(1, expires_at=int(START) + 200)
            await field.accept(5)
            await field.settled()
            assert await field.dead() == [5]
            assert [(one.stage, one.code) for one in await field.letters()] == [(Stage.EXPIRED, "expired")]
            assert [call.events for call in field.meta.calls] == [[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]]

    run(work())


def test_what_expires_while_meta_is_down_is_given_up_and_the_rest_is_delivered() -> None:
    async def work() -> None:
        field = Field(lambda seen: error(2) if seen.at < 5000 else ok(len(seen.events)))
        async with field.open():
            await field.accept(3, expires_at=int(START) + 2000)
            await field.accept(3, expires_at=FAR)
            await field.settled(within=20_000)
            assert await field.dead() == [0, 1, 2]
            assert field.meta.calls[-1].events == [3, 4, 5]
            assert field.adds_up()

    run(work())


def test_a_count_that_differs_is_counted_and_the_batch_is_delivered() -> None:
    async def work() -> None:
        field = Field(in_turn(ok(3)))
        await one_batch(field, 10)
        assert field.delivered == 10
        assert field.ledger.calls["store", "delivered_count_differs"] == 1
        assert sum(field.ledger.calls.values()) == 1

    run(work())


class Unwilling(MemorySpool):
    """Refuses every other call."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.turn = 0

    def _unwilling(self) -> None:
        self.turn += 1
        if self.turn % 2:
            raise SpoolUnavailable("an I/O error")

    async def read(self, *arguments: Any) -> Any:
        self._unwilling()
        return await super().read(*arguments)

    async def acknowledge(self, *arguments: Any, **named: Any) -> Any:
        self._unwilling()
        return await super().acknowledge(*arguments, **named)


def test_a_spool_that_fails_now_and_then_costs_time_and_nothing_is_sent_twice() -> None:
    async def work() -> None:
        field = Field(spool=Unwilling(max_bytes=2**30, clock=lambda: START))
        async with field.open():
            await field.accept(3000)
            await field.settled()
            assert sorted(n for call in field.meta.calls for n in call.events) == list(range(3000))

    run(work())


def test_a_stop_in_the_middle_of_calls_leaves_everything_for_the_next_start() -> None:
    async def work() -> None:
        spool = MemorySpool(max_bytes=2**30, clock=lambda: START)
        field = Field(lambda _: 1000.0, spool=spool, upload={"concurrency": 2})
        async with field.open():
            await field.accept(5000)
            await asyncio.sleep(5)
            assert len(field.meta.calls) == 2
        after = Field(spool=spool)
        async with after.open():
            assert after.ledger.waiting == 5000
            await after.settled()
            assert sorted(n for call in after.meta.calls for n in call.events) == list(range(5000))

    run(work())


def test_a_drain_waits_for_no_company_and_returns_when_all_is_gone() -> None:
    async def work() -> None:
        field = Field(batch={"max_age": 3600.0})
        async with field.open():
            await field.accept(10)
            await field.accept(10, OTHER)
            await asyncio.sleep(1)
            assert field.meta.calls == []
            field.delivery.drain()
            await field.delivery.drained()
            assert asyncio.get_running_loop().time() < 2
            assert field.delivered == 20
            assert {reason for _, reason in field.ledger.flushes} == {FlushReason.DRAIN}

    run(work())


def test_a_drain_of_nothing_is_over_at_once() -> None:
    async def work() -> None:
        field = Field()
        async with field.open():
            await field.accept(10)
            await field.settled()
            before = asyncio.get_running_loop().time()
            field.delivery.drain()
            await field.delivery.drained()
            assert asyncio.get_running_loop().time() - before < 0.001

    run(work())


def test_a_lone_event_leaves_after_its_age_without_another_coming() -> None:
    async def work() -> None:
        field = Field(batch={"max_age": 30.0})
        async with field.open():
            for _ in range(3):
                begun = asyncio.get_running_loop().time()
                await field.accept(1)
                assert await field.settled() - begun <= 30.5
                await asyncio.sleep(100)
            assert [len(call.events) for call in field.meta.calls] == [1, 1, 1]

    run(work())


def test_calls_are_paced_evenly_and_no_more_are_under_way_than_allowed() -> None:
    async def work() -> None:
        field = Field(lambda _: 3.0, upload={"requests_per_second": 2.0, "concurrency": 3})
        async with field.open():
            await field.accept(20_000)
            await field.settled()
            times = [call.at for call in field.meta.calls]
            assert min(after - before for before, after in itertools.pairwise(times)) >= 0.5 - 1e-6
            assert all(sum(at <= moment < at + 3.0 for at in times) <= 3 for moment in times)

    run(work())


@dataclass
class Allowance:
    """Meta's count of calls, with what it tells of it in whole percents; a call beyond it is refused."""

    calls: int
    window: float
    leaks: bool
    """Whether what is spent fades evenly, as points of the Marketing API do; otherwise a call counts for the window."""
    header: str = '{"call_count":%d,"total_time":1,"total_cputime":1}'
    passed: deque[float] = field(default_factory=deque)
    level: float = 0.0
    last: float = 0.0
    taken: int = 0
    beyond: int = 0

    def answer(self, seen: Seen) -> HttpResponse:
        now = asyncio.get_running_loop().time()
        while self.passed and self.passed[0] <= now - self.window:
            self.passed.popleft()
        self.level = max(0.0, self.level - (now - self.last) * self.calls / self.window)
        self.last = now
        used = ((self.level if self.leaks else len(self.passed)) + 1) / self.calls
        headers = {"X-App-Usage": self.header % int(100 * used + 1e-9)}
        if used > 1 + 1e-9:
            self.beyond += 1
            return error(4, headers=headers)
        self.passed.append(now)
        self.level += 1
        self.taken += 1
        return ok(len(seen.events), headers)


@pytest.mark.parametrize(
    ("calls", "window", "leaks", "rate", "lanes", "least"),
    [
        (180, 60.0, False, 20.0, 1, 0.9),
        (180, 60.0, False, 4.0, 1, 0.9),
        (180, 60.0, False, 20.0, 3, 0.9),
        (900, 300.0, True, 20.0, 1, 0.95),
        (3600, 3600.0, False, 10.0, 2, 0.95),
    ],
    ids=["sliding minute", "rate near the limit", "three lanes of one token", "fading points", "sliding hour"],
)
def test_a_throttled_hour_uses_most_of_what_is_allowed_and_never_more(
    calls: int, window: float, leaks: bool, rate: float, lanes: int, least: float
) -> None:
    async def work() -> Allowance:
        allowance = Allowance(calls, window, leaks)
        field = Field(allowance.answer, upload={"requests_per_second": rate}, batch={"max_events": 2})
        async with field.open():
            while asyncio.get_running_loop().time() < 3600:
                for number in range(lanes):
                    lane = Lane("store", str(number), "tag")
                    if field.ledger.lanes[lane].waiting < 200:
                        await field.accept(200, lane)
                await asyncio.sleep(1)
        return allowance

    allowance = run(work())
    share = allowance.taken / (3600 * calls / window)
    print(f"throttled hour, {calls} calls in {window:.0f} s: {share:.1%} used, {allowance.beyond} calls beyond it")
    assert allowance.beyond == 0
    assert share > least
