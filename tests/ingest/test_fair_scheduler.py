"""FairScheduler: events for each iteration of the event loop, the order of turns, and progress of every request."""

from __future__ import annotations

import asyncio

from gateway.ingest.fair_scheduler import FairScheduler


class IterationCounter:
    """Counts the iterations of the event loop."""

    def __init__(self) -> None:
        self.number = 0
        self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._next)

    def _next(self) -> None:
        self.number += 1
        self._loop.call_soon(self._next)


async def test_requests_that_are_ready_at_once_run_in_several_iterations_in_order_of_arrival() -> None:
    scheduler, iterations = FairScheduler(100), IterationCounter()
    ran: list[tuple[int, int]] = []

    async def request(number: int) -> None:
        if turn := scheduler.acquire(50):
            await turn
        ran.append((iterations.number, number))

    await asyncio.gather(*(request(number) for number in range(11)))

    assert [number for _, number in ran] == list(range(11))
    ran_in = [iteration for iteration, _ in ran]
    assert max(ran_in.count(iteration) for iteration in ran_in) == 2
    assert ran_in[-1] - ran_in[0] <= 6  # no iteration is left unused, except the first


async def test_a_turn_larger_than_the_limit_is_granted() -> None:
    scheduler = FairScheduler(10)
    assert scheduler.acquire(1000) is None
    assert scheduler.acquire(1000) is not None


async def test_a_new_request_does_not_overtake_a_waiting_one() -> None:
    scheduler = FairScheduler(10)
    scheduler.acquire(10)
    first = scheduler.acquire(10)
    await asyncio.sleep(0)  # the iteration in which the first is granted
    second = scheduler.acquire(1)
    assert first is not None
    assert first.done()
    assert second is not None
    assert not second.done()
    await second


async def test_a_cancelled_request_does_not_use_up_a_turn() -> None:
    scheduler = FairScheduler(1)
    scheduler.acquire(1)
    cancelled, waiting = scheduler.acquire(1), scheduler.acquire(1)
    assert cancelled is not None
    assert waiting is not None
    cancelled.cancel()
    await asyncio.sleep(0)
    assert waiting.done()


async def test_the_scheduler_schedules_no_callbacks_while_it_is_idle() -> None:
    scheduler = FairScheduler(10)
    scheduler.acquire(3)
    for _ in range(3):
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    assert not loop._ready  # type: ignore[attr-defined] # the queue of the default loop
    assert scheduler.acquire(10) is None
