"""Limits of calls in flight: waiting calls enter in order, and event sets share the calls of a destination fairly."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AbstractAsyncContextManager, suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.delivery import HttpResponse, NoResponse
from gateway.delivery.concurrency import AdaptiveConcurrencyLimit, FairCallLimit
from gateway.model import Lane
from tests.delivery.harness import DeliveryHarness, RecordedCall, success
from tests.delivery.virtual_time import run


async def settle() -> None:
    """Let all tasks run that can."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_new_call_does_not_overtake_one_that_waits() -> None:
    async def work() -> None:
        limit = AdaptiveConcurrencyLimit(1)
        entered: list[str] = []

        async def call(name: str) -> None:
            async with limit:
                entered.append(name)
                await asyncio.sleep(1)

        async with limit:
            waiting = asyncio.create_task(call("waiting"))
            await settle()
            newcomer = asyncio.create_task(call("newcomer"))  # runs before the waiting one learns of the free slot
        await asyncio.wait([waiting, newcomer])
        assert entered == ["waiting", "newcomer"]

    run(work())


@pytest.mark.parametrize("kind", ["of a lane", "of a destination"])
def test_a_call_that_is_cancelled_when_it_gets_its_slot_passes_it_on(kind: str) -> None:
    async def work() -> None:
        of_lane, of_destination = AdaptiveConcurrencyLimit(1), FairCallLimit(1)
        entered: list[str] = []

        def slot() -> AbstractAsyncContextManager[None]:
            return of_lane if kind == "of a lane" else of_destination.slot("1")

        async def call(name: str) -> None:
            async with slot():
                entered.append(name)

        async with slot():
            waiting = [asyncio.create_task(call(name)) for name in ("first", "second", "third")]
            await settle()
            waiting[1].cancel()
        waiting[0].cancel()  # it has the slot, and has not run since
        await asyncio.wait(waiting)
        assert entered == ["third"]
        await asyncio.wait_for(call("last"), 1)

    run(work())


class Calls:
    """Calls of several event sets through one limit, and the order in which they entered."""

    def __init__(self, limit: FairCallLimit) -> None:
        self.limit = limit
        self.started: dict[str, int] = Counter()
        self.waiting: list[tuple[str, int, asyncio.Task[None]]] = []
        self.running: list[tuple[str, int, asyncio.Event]] = []
        self.entered: list[tuple[str, int]] = []
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, event_set: str) -> None:
        number = self.started[event_set]
        self.started[event_set] += 1
        task = asyncio.create_task(self._call(event_set, number))
        self.tasks.append(task)
        self.waiting.append((event_set, number, task))

    async def _call(self, event_set: str, number: int) -> None:
        end = asyncio.Event()
        async with self.limit.slot(event_set):
            self.waiting = [one for one in self.waiting if one[:2] != (event_set, number)]
            self.running.append((event_set, number, end))
            self.entered.append((event_set, number))
            await end.wait()
            self.running = [one for one in self.running if one[:2] != (event_set, number)]

    def cancel(self, index: int) -> None:
        if self.waiting:
            _, _, task = self.waiting.pop(index % len(self.waiting))
            task.cancel()

    def finish(self, index: int) -> None:
        if self.running:
            self.running[index % len(self.running)][2].set()

    def in_flight(self) -> Counter[str]:
        return Counter(event_set for event_set, _, _ in self.running)

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        for task in self.tasks:
            with suppress(asyncio.CancelledError):
                await task


def share(maximum: int) -> int:
    """Slots that one event set may hold."""
    return maximum * 3 // 4 if maximum > 3 else maximum


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 9),
    st.lists(
        st.one_of(
            st.tuples(st.just("start"), st.sampled_from("AAAAABC")),
            st.tuples(st.just("finish"), st.integers(0, 20)),
            st.tuples(st.just("cancel"), st.integers(0, 20)),
            st.tuples(st.just("maximum"), st.integers(1, 9)),
        ),
        max_size=80,
    ),
)
def test_slots_are_never_exceeded_nor_left_free_and_calls_of_an_event_set_enter_in_order(
    maximum: int, operations: list[tuple[str, str | int]]
) -> None:
    async def work() -> None:
        calls = Calls(FairCallLimit(maximum))
        for operation, argument in operations:
            before = calls.in_flight()
            match operation, argument:
                case "start", str(event_set):
                    calls.start(event_set)
                case "finish", int(index):
                    calls.finish(index)
                case "cancel", int(index):
                    calls.cancel(index)
                case "maximum", int(new):
                    calls.limit.maximum = new
                case _:
                    raise AssertionError(operation)
            await settle()
            limit, now = calls.limit.maximum, calls.in_flight()
            assert now.total() <= max(limit, before.total())
            assert all(count <= max(share(limit), before[event_set]) for event_set, count in now.items())
            if now.total() < limit:
                assert all(now[event_set] >= share(limit) for event_set, _, _ in calls.waiting)
        for event_set in "ABC":
            numbers = [number for name, number in calls.entered if name == event_set]
            assert numbers == sorted(numbers)
        await calls.stop()
        # All slots were returned.
        again = Calls(calls.limit)
        for event_set in "ABC" * calls.limit.maximum:
            again.start(event_set)
        await settle()
        assert again.in_flight().total() == calls.limit.maximum
        await again.stop()

    run(work())


@pytest.mark.parametrize("maximum", [1, 2, 3, 4, 64])
def test_a_free_slot_goes_to_the_event_set_with_the_fewest_calls_in_flight(maximum: int) -> None:
    async def work() -> None:
        calls = Calls(FairCallLimit(maximum))
        for event_set in "ABC" * 200:
            calls.start(event_set)
        await settle()
        for _ in range(600):
            calls.finish(0)
            await settle()
            counts = [
                calls.in_flight()[event_set] for event_set in "ABC" if any(w[0] == event_set for w in calls.waiting)
            ]
            assert not counts or max(counts) - min(counts) <= 1
        assert Counter(event_set for event_set, _ in calls.entered) == {"A": 200, "B": 200, "C": 200}
        first = Counter(event_set for event_set, _ in calls.entered[:300])
        assert max(first.values()) - min(first.values()) <= 1, "an event set was served less than the others"
        await calls.stop()

    run(work())


def test_one_event_set_leaves_a_quarter_of_the_slots_free() -> None:
    async def work() -> None:
        for maximum, most in ((1, 1), (3, 3), (4, 3), (5, 3), (64, 48)):
            calls = Calls(FairCallLimit(maximum))
            for _ in range(100):
                calls.start("A")
            await settle()
            assert calls.in_flight() == {"A": most}
            await calls.stop()

    run(work())


TAGS = 1000


def test_a_thousand_lanes_whose_calls_time_out_do_not_delay_another_event_set() -> None:
    """A thousand upload tags of event set 1, whose calls time out after 30 s, beside a healthy event set 2."""
    delivered: dict[int, float] = {}

    async def time_out() -> NoResponse:
        await asyncio.sleep(30.0)
        return NoResponse("timeout", in_doubt=True)

    def respond(call: RecordedCall) -> object:
        if call.event_set == "1":
            return time_out()
        for number in call.events:
            delivered[number] = asyncio.get_running_loop().time()
        return success(len(call.events))

    async def work() -> tuple[int, list[float]]:
        harness = DeliveryHarness(respond, upload={"backoff_max": 5.0})
        accepted: dict[int, float] = {}
        async with harness.open():
            for tag in range(TAGS):
                await harness.accept(1, Lane("store", "1", f"tag {tag}"))
            while (now := asyncio.get_running_loop().time()) < 600:
                for number in await harness.accept(3, Lane("store", "2", "tag")):
                    accepted[number] = now
                await asyncio.sleep(1.0)
            await asyncio.sleep(5.0)
            assert harness.meta.most_in_flight <= 64
            failing = sum(call.event_set == "1" for call in harness.meta.calls)
        return failing, [delivered[number] - at for number, at in accepted.items()]

    failing, delays = run(work())
    print(f"{failing} calls timed out; the longest delay of the other event set was {max(delays):.2f} s")
    assert failing > 48 * 15, "the slots were not used"
    assert max(delays) < 3.0


def test_a_changed_limit_applies_to_the_next_call_after_a_reload() -> None:
    async def work() -> None:
        harness = DeliveryHarness(lambda _: 10.0, upload={"max_connections": 2, "concurrency": 8})
        async with harness.open():
            await harness.accept(8000)
            await asyncio.sleep(2.0)
            assert harness.meta.in_flight.total() == 2
            upload = harness.destination.upload.model_copy(update={"max_connections": 8})
            harness.delivery.reload({"store": harness.destination.model_copy(update={"upload": upload})})
            await asyncio.sleep(2.0)
            assert harness.meta.in_flight.total() == 6  # three quarters
            await harness.wait_until_empty()

    run(work())


def test_a_call_that_waited_for_a_slot_is_not_sent_during_a_throttle_that_began_meanwhile() -> None:
    async def work() -> None:
        throttled: list[float] = []

        def respond(call: RecordedCall) -> HttpResponse:
            if call.at < 1.5 and call.event_set == "1":
                throttled.append(asyncio.get_running_loop().time())
                return HttpResponse(429, {"Retry-After": "300"}, b"")
            return success(len(call.events))

        harness = DeliveryHarness(respond, upload={"max_connections": 1})
        harness.meta.latency = 1.0
        async with harness.open():
            for event_set in ("1", "2", "3"):
                await harness.accept(1000, Lane("store", event_set, "tag"))
            await harness.wait_until_empty()
            (at,) = throttled
            assert harness.meta.most_in_flight == 1
            assert [call.at for call in harness.meta.calls if at < call.at < at + 300] == []

    run(work())
