"""What delivery reports to the event trace, for every way in which events leave a lane."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing

from gateway.model import StoredChunk
from gateway.trace import Ending, TracedEvent
from gateway.trace.store import add_chunks, add_ending, find
from tests.delivery.harness import LATE_EXPIRY, START, DeliveryHarness, RecordedCall, accept_all, error
from tests.delivery.virtual_time import run
from tests.trace.builders import trace


class Recorded:
    """A tracer that writes each report at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.endings: list[Ending] = []

    def stored(self, chunks: Sequence[StoredChunk], /) -> None:
        add_chunks(self.connection, chunks)

    def ended(self, ending: Ending, /) -> None:
        self.endings.append(ending)
        add_ending(self.connection, ending)

    def event(self, number: int) -> TracedEvent:
        (event,) = find(self.connection, f"m{number}").events
        return event


def deliver(respond: Callable[[RecordedCall], object], check: Callable[[Recorded, DeliveryHarness], None]) -> None:
    """Deliver ten events, accepted two at a time, and check what was traced of them."""
    with closing(trace()) as connection:
        recorded = Recorded(connection)

        async def work() -> None:
            harness = DeliveryHarness(respond, trace=recorded)
            async with harness.open():
                for _ in range(5):
                    await harness.accept(2)
                await harness.wait_until_empty()
            check(recorded, harness)

        run(work())


def test_a_delivered_event_has_the_call_that_carried_it() -> None:
    def check(recorded: Recorded, _: DeliveryHarness) -> None:
        (ending,) = recorded.endings
        assert ending.events is None
        for number in range(10):
            event = recorded.event(number)
            assert (event.state, event.attempts, event.meta_trace_id) == ("delivered", 1, "T")
            assert START < (event.ended_at or 0) < START + 5

    deliver(accept_all, check)


def test_the_calls_before_the_last_one_are_counted() -> None:
    remaining = [error(2, status=500), error(2, status=500)]

    def check(recorded: Recorded, _: DeliveryHarness) -> None:
        assert [recorded.event(number).attempts for number in range(10)] == [3] * 10

    deliver(lambda call: remaining.pop() if remaining else accept_all(call), check)


def test_a_refused_event_is_dead_and_the_others_are_delivered() -> None:
    def respond(call: RecordedCall) -> object:
        return error(100, 2804050, index=call.events.index(3)) if 3 in call.events else accept_all(call)

    def check(recorded: Recorded, _: DeliveryHarness) -> None:
        refused = recorded.event(3)
        assert (refused.state, refused.code, refused.meta_trace_id) == ("dead_lettered", "meta_100_2804050", "T")
        assert [recorded.event(number).state for number in range(10) if number != 3] == ["delivered"] * 9

    deliver(respond, check)


def test_every_event_of_a_batch_that_was_halved_has_its_own_end() -> None:
    def respond(call: RecordedCall) -> object:
        return error(100, 2804019) if {2, 7} & set(call.events) else accept_all(call)

    def check(recorded: Recorded, harness: DeliveryHarness) -> None:
        dead = [number for number in range(10) if recorded.event(number).state == "dead_lettered"]
        assert dead == [2, 7]
        assert len(harness.final_dead_letters) == 2
        assert [recorded.event(number).state for number in range(10) if number not in dead] == ["delivered"] * 8

    deliver(respond, check)


def test_an_event_that_expired_is_dead() -> None:
    def check(recorded: Recorded, _: DeliveryHarness) -> None:
        assert (recorded.event(0).state, recorded.event(0).code) == ("dead_lettered", "expired")
        assert recorded.event(1).state == "delivered"

    with closing(trace()) as connection:
        recorded = Recorded(connection)

        async def work() -> None:
            harness = DeliveryHarness(trace=recorded)
            async with harness.open():
                await harness.accept(1, expires_at=int(START) + 1)
                await harness.accept(1, expires_at=LATE_EXPIRY)
                await harness.wait_until_empty()
                check(recorded, harness)

        run(work())


def test_the_delivery_lag_is_measured_for_each_event() -> None:
    def check(_: Recorded, harness: DeliveryHarness) -> None:
        histogram = harness.ledger.delivery_lag["store"]
        assert histogram.count == 10
        assert 0 < histogram.total < 10 * 2.0

    deliver(accept_all, check)
