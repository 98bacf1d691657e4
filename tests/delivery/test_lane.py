"""Delivery of a lane, on virtual time: batching, retries, throttling, blocks, refused and expired events, stops."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.delivery import HttpResponse, NoResponse
from gateway.delivery.explanations import EXPLANATIONS, format_code
from gateway.delivery.systemic_failure import SYSTEMIC
from gateway.meta import BlockCause
from gateway.model import FlushReason, Lane, Stage
from gateway.spool import SpoolUnavailable
from gateway.spool.memory import MemorySpool
from gateway.telemetry.alerts import AlertType
from tests.delivery.harness import LANE, LATE_EXPIRY, START, DeliveryHarness, RecordedCall, accept_all, error, success
from tests.delivery.virtual_time import run

OTHER_LANE = Lane("store", "2", "tag")


def respond_with(*responses: Any) -> Callable[[RecordedCall], Any]:
    """One of these responses for each call, in order; after them every call succeeds."""
    remaining = list(responses)
    return lambda call: remaining.pop(0) if remaining else accept_all(call)


async def deliver_one_batch(harness: DeliveryHarness, count: int = 10) -> None:
    async with harness.open():
        await harness.accept(count)
        await harness.wait_until_empty()
        assert harness.is_balanced()


def test_a_full_batch_is_sent_at_once_and_a_partial_one_after_max_age() -> None:
    async def work() -> None:
        harness = DeliveryHarness(batch={"max_age": 60.0})
        async with harness.open():
            await harness.accept(2500)
            await asyncio.sleep(1.0)
            assert [len(call.events) for call in harness.meta.calls] == [1000, 1000]
            await harness.wait_until_empty()
            assert [len(call.events) for call in harness.meta.calls] == [1000, 1000, 500]
            assert harness.meta.calls[2].at <= 60.1
            flushes = {reason: count for (_, reason), count in harness.ledger.flushes.items()}
            assert flushes == {FlushReason.COUNT: 2, FlushReason.AGE: 1}

    run(work())


def test_many_small_commits_form_full_batches() -> None:
    async def work() -> None:
        harness = DeliveryHarness(batch={"max_age": 60.0})
        async with harness.open():
            for _ in range(100):
                await harness.accept(37)
            await harness.wait_until_empty()
            assert [len(call.events) for call in harness.meta.calls][:3] == [1000, 1000, 1000]

    run(work())


def test_a_batch_never_exceeds_max_bytes() -> None:
    async def work() -> None:
        harness = DeliveryHarness(batch={"max_age": 60.0, "max_bytes": 2**16})
        async with harness.open():
            await harness.accept(5000)
            await harness.wait_until_empty()
            sizes = [len(call.body) for call in harness.meta.calls]
            assert max(sizes) < 2**16 + 200
            assert sorted(n for call in harness.meta.calls for n in call.events) == list(range(5000))

    run(work())


def test_the_request_contains_the_events_unchanged_and_the_token_only_in_its_body() -> None:
    async def work() -> None:
        harness = DeliveryHarness(access_token="EAAB", app_secret="shh", partner_agent="acme", test_event_code="T1")
        await deliver_one_batch(harness, 3)
        (call,) = harness.meta.calls
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
def test_a_temporary_failure_is_retried_with_the_same_bytes_until_the_call_succeeds(bad: Any) -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(*[bad] * 20))
        await deliver_one_batch(harness)
        assert len(harness.meta.calls) == 21
        assert len({call.body for call in harness.meta.calls}) == 1
        assert harness.delivered == 10
        assert await harness.dead_letters() == []

    run(work())


def test_retry_delays_grow_up_to_backoff_max() -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(*[error(2)] * 40), upload={"backoff_base": 1.0, "backoff_max": 60.0})
        await deliver_one_batch(harness)
        gaps = [after.at - before.at for before, after in itertools.pairwise(harness.meta.calls)]
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
    ids=["minutes", "seconds", "not named", "429"],
)
def test_a_throttled_call_is_repeated_after_the_time_that_meta_names_and_no_event_is_lost(
    reply: HttpResponse, seconds: float
) -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(reply))
        await deliver_one_batch(harness)
        first, second = harness.meta.calls
        assert seconds <= second.at - first.at < seconds + 1
        assert harness.delivered == 10

    run(work())


def test_the_delay_doubles_with_each_consecutive_throttle() -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(*[error(4)] * 4))
        await deliver_one_batch(harness)
        gaps = [after.at - before.at for before, after in itertools.pairwise(harness.meta.calls)]
        assert [round(gap / 60) for gap in gaps] == [1, 2, 4, 8]

    run(work())


def test_a_throttle_stops_every_lane_with_the_same_token() -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(error(4)))
        async with harness.open():
            await harness.accept(10)
            await asyncio.sleep(2)
            await harness.accept(10, OTHER_LANE)
            await harness.wait_until_empty()
            assert [call.at for call in harness.meta.calls][1] > 60

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
def test_a_blocked_lane_keeps_its_events_probes_at_growing_intervals_and_resumes_without_a_command(
    reply: HttpResponse, kind: str
) -> None:
    async def work() -> None:
        fixed_at = 3600.0
        harness = DeliveryHarness(lambda call: reply if call.at < fixed_at else success(len(call.events)))
        async with harness.open():
            await harness.accept(5000)
            stored_by = START + asyncio.get_running_loop().time()
            await asyncio.sleep(3599)
            (lane,) = harness.delivery.statistics()
            assert (lane.blocked, harness.ledger.waiting) == (kind, 5000)
            assert lane.oldest_at is not None
            assert lane.oldest_at <= stored_by, "also of events that are in a batch"
            probes = [call.at for call in harness.meta.calls]
            waits = [round(after - before) for before, after in itertools.pairwise(probes)]
            assert len(probes) < 20
            assert waits == sorted(waits)
            await harness.accept(100)
            await harness.wait_until_empty(within=4 * 3600)
            assert harness.delivered == 5100
            assert await harness.dead_letters() == []
            assert harness.delivery.statistics()[0].blocked is None

    run(work())


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "gateway.delivery"]


def test_the_log_states_why_uploads_stopped_and_when_they_resumed(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(error(100, 33), error(100, 33)))
        async with harness.open():
            await harness.accept(1204)
            await harness.wait_until_empty()
            assert [alert.alert_type for alert in harness.alerts] == [AlertType.BLOCKED, AlertType.RESUMED]

    caplog.set_level(logging.WARNING, "gateway.delivery")
    run(work())
    stopped, resumed = messages(caplog)
    assert stopped == (
        'uploads stopped for destination "store", dataset 1: Meta does not know the ID or the token has no access '
        "to it (100/33). 1,204 events are kept; the next probe is in 15 s. Check the ID and the token."
    )
    assert resumed == 'uploads resumed for destination "store", dataset 1: 1,204 events are waiting'
    assert {getattr(record, "lane", None) for record in caplog.records} == {str(LANE)}


def test_the_log_does_not_announce_a_probe_when_the_process_is_stopping(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        harness = DeliveryHarness(lambda _: error(2635), batch={"max_age": 3600.0})
        async with harness.open():
            await harness.accept(3)
            await asyncio.sleep(1)
            harness.delivery.drain()
            await harness.delivery.drained()

    caplog.set_level(logging.WARNING, "gateway.delivery")
    run(work())
    (message,) = messages(caplog)
    assert "3 events are kept; the next probe is after the next start." in message


def test_the_log_states_how_long_a_throttle_lasts(caplog: pytest.LogCaptureFixture) -> None:
    headers = {"X-Business-Use-Case-Usage": '{"1":[{"estimated_time_to_regain_access":7}]}'}
    caplog.set_level(logging.WARNING, "gateway.delivery")
    run(deliver_one_batch(DeliveryHarness(respond_with(error(80004, headers=headers)))))
    assert messages(caplog) == [
        "rate limited by Meta for 420 s (80004): no calls are made with this access token until then"
    ]


def test_every_kind_of_open_reason_has_an_explanation() -> None:
    assert set(EXPLANATIONS) == {*BlockCause, SYSTEMIC}


@pytest.mark.parametrize(("code", "text"), [("meta_190_463", "190/463"), ("meta_368", "368"), ("http_404", "HTTP 404")])
def test_codes_are_logged_as_metas_documentation_writes_them(code: str, text: str) -> None:
    assert format_code(code) == text


def test_a_blocked_lane_does_not_delay_other_lanes() -> None:
    async def work() -> None:
        harness = DeliveryHarness(lambda call: error(100, 33) if "/1/" in call.url else success(len(call.events)))
        async with harness.open():
            await harness.accept(1000)
            await harness.accept(3000, OTHER_LANE)
            await asyncio.sleep(5)
            assert harness.ledger.lanes[OTHER_LANE].delivered == 3000
            assert harness.ledger.lanes[LANE].delivered == 0

    run(work())


def test_a_token_replaced_in_its_file_is_used_by_the_next_probe(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")

    async def work() -> None:
        harness = DeliveryHarness(
            lambda call: success(len(call.events)) if call.token == "new" else error(190, 463, status=401),
            access_token={"file": str(path)},
        )
        async with harness.open():
            await harness.accept(10)
            await asyncio.sleep(5)
            path.write_text("new\n")
            await harness.wait_until_empty()
            assert [call.token for call in harness.meta.calls] == ["old", "new"]

    run(work())


def refusing(bad: set[int], *, names_index: bool) -> Callable[[RecordedCall], HttpResponse]:
    """Refuses every call with a bad event. `names_index`: the response names the first one."""

    def respond(call: RecordedCall) -> HttpResponse:
        bad_index = next((index for index, number in enumerate(call.events) if number in bad), None)
        if bad_index is None:
            return success(len(call.events))
        return error(100, 2804050, index=bad_index if names_index else None)

    return respond


@pytest.mark.parametrize("names_index", [True, False], ids=["index known", "index unknown"])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_only_the_bad_events_of_a_batch_are_dead_lettered_with_a_bounded_number_of_calls(
    count: int, names_index: bool
) -> None:
    async def work(seed: int) -> int:
        bad = set(Random(seed).sample(range(1000), count))
        harness = DeliveryHarness(refusing(bad, names_index=names_index), batch={"max_age": 60.0})
        await deliver_one_batch(harness, 1000)
        assert sorted(await harness.dead_numbers()) == sorted(bad)
        assert harness.delivered == 1000 - count
        letters = await harness.dead_letters()
        assert {(letter.stage, letter.code, letter.fault and letter.fault.subcode) for letter in letters} == {
            (Stage.UPLOAD, "meta_100_2804050", 2804050)
        }
        ids = {(letter.message_id, letter.order_id) for letter in letters}
        assert ids == {(f"m{number}", f"o{number}") for number in bad}
        return len(harness.meta.calls)

    calls = [run(work(seed)) for seed in range(5)]
    bound = count + 1 if names_index else count * (2 * math.ceil(math.log2(1000)) + 1) + 1
    print(f"{count} bad, {'named' if names_index else 'not named'}: {calls} calls, at most {bound}")
    assert max(calls) <= bound


def test_a_fault_that_affects_all_events_stops_the_uploads_after_few_dead_letters() -> None:
    async def work() -> None:
        fixed_at = 4000.0
        harness = DeliveryHarness(
            lambda call: error(100, 2804050, index=0) if call.at < fixed_at else success(len(call.events))
        )
        async with harness.open():
            await harness.accept(1000)
            await asyncio.sleep(3900)
            (lane,) = harness.delivery.statistics()
            assert lane.blocked == "systemic"
            assert len(await harness.dead_letters()) < 25
            assert len(harness.meta.calls) < 25
            await harness.wait_until_empty()
            assert harness.delivered + len(await harness.dead_letters()) == 1000

    run(work())


def test_only_the_expired_event_of_a_batch_is_dead_lettered_and_it_is_not_sent() -> None:
    async def work() -> None:
        harness = DeliveryHarness()
        async with harness.open():
            await harness.accept(5)
            await harness.accept(1, expires_at=int(START) + 200)
            await harness.accept(5)
            await harness.wait_until_empty()
            assert await harness.dead_numbers() == [5]
            letters = await harness.dead_letters()
            assert [(letter.stage, letter.code, letter.order_id) for letter in letters] == [
                (Stage.EXPIRED, "expired", "o5")
            ]
            assert [call.events for call in harness.meta.calls] == [[0, 1, 2, 3, 4, 6, 7, 8, 9, 10]]

    run(work())


def test_events_that_expire_during_an_outage_are_dead_lettered_and_the_others_are_delivered() -> None:
    async def work() -> None:
        harness = DeliveryHarness(lambda call: error(2) if call.at < 5000 else success(len(call.events)))
        async with harness.open():
            await harness.accept(3, expires_at=int(START) + 2000)
            await harness.accept(3, expires_at=LATE_EXPIRY)
            await harness.wait_until_empty(within=20_000)
            assert await harness.dead_numbers() == [0, 1, 2]
            assert harness.meta.calls[-1].events == [3, 4, 5]
            assert harness.is_balanced()

    run(work())


def test_a_response_with_a_larger_count_is_recorded_and_the_batch_counts_as_delivered() -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(success(11)))
        await deliver_one_batch(harness, 10)
        assert harness.delivered == 10
        assert harness.ledger.calls == {("store", "delivered_count_differs"): 1}

    run(work())


@pytest.mark.parametrize("received", [0, 9])
def test_a_call_of_which_meta_confirms_too_few_events_is_repeated_once_and_then_delivered(received: int) -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(success(received)))
        await deliver_one_batch(harness, 10)
        first, second = harness.meta.calls
        assert first.body == second.body
        assert second.at - first.at > 0.1, "without a backoff"
        assert harness.delivered == 10
        assert await harness.dead_letters() == []
        assert harness.ledger.calls == {("store", "count_mismatch"): 1, ("store", "delivered"): 1}

    run(work())


@pytest.mark.parametrize("between", [[], [error(2)], [NoResponse("timeout", in_doubt=True), error(190, 463)]])
def test_events_of_which_meta_confirms_too_few_twice_become_dead_letters_and_never_count_as_delivered(
    between: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(success(0), *between, success(7)))
        await deliver_one_batch(harness, 10)
        assert len(harness.meta.calls) == 2 + len(between)
        assert harness.delivered == 0
        assert sorted(await harness.dead_numbers()) == list(range(10))
        letters = await harness.dead_letters()
        assert {(letter.stage, letter.code, letter.attempts) for letter in letters} == {
            (Stage.UPLOAD, "count_mismatch", 2 + len(between))
        }
        (message,) = {letter.message for letter in letters}
        assert message == (
            "Meta confirmed only 7 of the 10 events of the call, also when it was repeated, and does not name them. "
            "Some may have been received, so a replay may repeat them."
        )
        assert harness.ledger.calls["store", "count_mismatch"] == 2

    caplog.set_level(logging.ERROR, "gateway.delivery")
    run(work())
    assert messages(caplog)[-1] == (
        'Meta confirmed only 7 of 10 events of a repeated call for destination "store", dataset 1: all of them are now '
        "dead letters with the code count_mismatch. Before a replay, which may repeat events, compare with the counts "
        "in Meta's Events Manager."
    )


def test_a_count_that_is_too_small_affects_only_its_part_of_a_split_batch() -> None:
    bad = {3}

    def respond(call: RecordedCall) -> HttpResponse:
        if bad & set(call.events):
            return error(100, 2804050)
        return success(0 if 0 in call.events else len(call.events))

    async def work() -> None:
        harness = DeliveryHarness(respond)
        await deliver_one_batch(harness, 8)
        codes = {letter.code for letter in await harness.dead_letters()}
        assert codes == {"count_mismatch", "meta_100_2804050"}
        assert sorted(await harness.dead_numbers()) == [0, 1, 3]
        assert harness.delivered == 5

    run(work())


def test_a_probe_of_which_meta_confirms_too_few_events_closes_the_circuit_breaker() -> None:
    async def work() -> None:
        harness = DeliveryHarness(respond_with(error(190), success(0)))
        await deliver_one_batch(harness, 10)
        assert [alert.alert_type for alert in harness.alerts] == [AlertType.BLOCKED, AlertType.RESUMED]
        _, probe, third = harness.meta.calls
        assert third.at - probe.at < 3, "as late as the next probe"
        assert harness.delivered == 10

    run(work())


class FailingSpool(MemorySpool):
    """Raises an error in every other call of `read` and `acknowledge`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.attempts = 0

    def _fail_every_other_time(self) -> None:
        self.attempts += 1
        if self.attempts % 2:
            raise SpoolUnavailable("an I/O error")

    async def read(self, *arguments: Any) -> Any:
        self._fail_every_other_time()
        return await super().read(*arguments)

    async def acknowledge(self, *arguments: Any, **keywords: Any) -> Any:
        self._fail_every_other_time()
        return await super().acknowledge(*arguments, **keywords)


def test_errors_of_the_spool_delay_delivery_but_no_event_is_sent_twice() -> None:
    async def work() -> None:
        harness = DeliveryHarness(spool=FailingSpool(max_bytes=2**30, clock=lambda: START))
        async with harness.open():
            await harness.accept(3000)
            await harness.wait_until_empty()
            assert sorted(n for call in harness.meta.calls for n in call.events) == list(range(3000))

    run(work())


def test_events_in_flight_at_a_stop_are_sent_after_the_next_start() -> None:
    async def work() -> None:
        spool = MemorySpool(max_bytes=2**30, clock=lambda: START)
        harness = DeliveryHarness(lambda _: 1000.0, spool=spool, upload={"concurrency": 2})
        async with harness.open():
            await harness.accept(5000)
            await asyncio.sleep(5)
            assert len(harness.meta.calls) == 2
        restarted = DeliveryHarness(spool=spool)
        async with restarted.open():
            assert restarted.ledger.waiting == 5000
            await restarted.wait_until_empty()
            assert sorted(n for call in restarted.meta.calls for n in call.events) == list(range(5000))

    run(work())


def test_a_drain_sends_partial_batches_at_once_and_returns_when_all_are_delivered() -> None:
    async def work() -> None:
        harness = DeliveryHarness(batch={"max_age": 3600.0})
        async with harness.open():
            await harness.accept(10)
            await harness.accept(10, OTHER_LANE)
            await asyncio.sleep(1)
            assert harness.meta.calls == []
            harness.delivery.drain()
            await harness.delivery.drained()
            assert asyncio.get_running_loop().time() < 2
            assert harness.delivered == 20
            assert {reason for _, reason in harness.ledger.flushes} == {FlushReason.DRAIN}

    run(work())


def test_a_drain_without_waiting_events_returns_at_once() -> None:
    async def work() -> None:
        harness = DeliveryHarness()
        async with harness.open():
            await harness.accept(10)
            await harness.wait_until_empty()
            before = asyncio.get_running_loop().time()
            harness.delivery.drain()
            await harness.delivery.drained()
            assert asyncio.get_running_loop().time() - before < 0.001

    run(work())


def test_a_single_event_is_sent_after_max_age_without_further_events() -> None:
    async def work() -> None:
        harness = DeliveryHarness(batch={"max_age": 30.0})
        async with harness.open():
            for _ in range(3):
                stored_at = asyncio.get_running_loop().time()
                await harness.accept(1)
                assert await harness.wait_until_empty() - stored_at <= 30.5
                await asyncio.sleep(100)
            assert [len(call.events) for call in harness.meta.calls] == [1, 1, 1]

    run(work())


def test_calls_have_an_even_rate_and_at_most_concurrency_are_in_flight() -> None:
    async def work() -> None:
        harness = DeliveryHarness(lambda _: 3.0, upload={"requests_per_second": 2.0, "concurrency": 3})
        async with harness.open():
            await harness.accept(20_000)
            await harness.wait_until_empty()
            times = [call.at for call in harness.meta.calls]
            assert min(after - before for before, after in itertools.pairwise(times)) >= 0.5 - 1e-6
            assert all(sum(at <= moment < at + 3.0 for at in times) <= 3 for moment in times)

    run(work())


@dataclass
class MetaRateLimit:
    """Meta's rate limit: responses report its usage in whole percents, and a call that exceeds it is throttled."""

    calls: int
    window: float
    leaks: bool
    """True: usage decreases evenly, as points of the Marketing API do. False: a call counts for the whole window."""
    header: str = '{"call_count":%d,"total_time":1,"total_cputime":1}'
    admitted: deque[float] = field(default_factory=deque)
    level: float = 0.0
    last: float = 0.0
    accepted: int = 0
    exceeded: int = 0

    def respond(self, call: RecordedCall) -> HttpResponse:
        now = asyncio.get_running_loop().time()
        while self.admitted and self.admitted[0] <= now - self.window:
            self.admitted.popleft()
        self.level = max(0.0, self.level - (now - self.last) * self.calls / self.window)
        self.last = now
        used = ((self.level if self.leaks else len(self.admitted)) + 1) / self.calls
        headers = {"X-App-Usage": self.header % int(100 * used + 1e-9)}
        if used > 1 + 1e-9:
            self.exceeded += 1
            return error(4, headers=headers)
        self.admitted.append(now)
        self.level += 1
        self.accepted += 1
        return success(len(call.events), headers)


@pytest.mark.parametrize(
    ("calls", "window", "leaks", "rate", "lanes", "least"),
    [
        (180, 60.0, False, 20.0, 1, 0.9),
        (180, 60.0, False, 4.0, 1, 0.9),
        (180, 60.0, False, 20.0, 3, 0.9),
        (900, 300.0, True, 20.0, 1, 0.95),
        (3600, 3600.0, False, 10.0, 2, 0.95),
    ],
    ids=["sliding minute", "rate near the limit", "three lanes of one token", "leaking points", "sliding hour"],
)
def test_the_rate_limiter_uses_most_of_metas_limit_and_never_exceeds_it(
    calls: int, window: float, leaks: bool, rate: float, lanes: int, least: float
) -> None:
    async def work() -> MetaRateLimit:
        limit = MetaRateLimit(calls, window, leaks)
        harness = DeliveryHarness(limit.respond, upload={"requests_per_second": rate}, batch={"max_events": 2})
        async with harness.open():
            while asyncio.get_running_loop().time() < 3600:
                for number in range(lanes):
                    lane = Lane("store", str(number), "tag")
                    if harness.ledger.lanes[lane].waiting < 200:
                        await harness.accept(200, lane)
                await asyncio.sleep(1)
        return limit

    limit = run(work())
    share = limit.accepted / (3600 * calls / window)
    print(f"an hour with a limit of {calls} calls in {window:.0f} s: {share:.1%} used, exceeded {limit.exceeded} times")
    assert limit.exceeded == 0
    assert share > least
